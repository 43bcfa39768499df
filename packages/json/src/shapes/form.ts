/** A JSON value. A bigint is an integer that a double may not represent. */
export type JsonValue =
  null | boolean | number | bigint | string | readonly JsonValue[] | { readonly [name: string]: JsonValue };

export type JsonObject = Readonly<Record<string, JsonValue>>;

/**
 * The description of what a shape reads, as data. The JSON Schemas, the smallest examples and the random documents of tests are
 * made from it.
 */
export type Form = ValueForm | ListForm | MapForm | ObjectForm | TaggedForm | AdjacentForm | ExternalForm | ChoiceForm;

/** A value that JSON Schema describes without the help of other forms. */
export interface ValueForm {
  readonly kind: "value";
  readonly schema: JsonObject;
  /** A short value of this form, for readers. */
  readonly example: JsonValue;
  /** The name of the definition in a schema. Without a name, the schema stands at each use. */
  readonly name?: string;
}

export interface ListForm {
  readonly kind: "list";
  readonly element: Form;
}

/** An object with members of any name that `names` accepts. */
export interface MapForm {
  readonly kind: "map";
  readonly names: Form;
  readonly item: Form;
}

/** An object with known members. It accepts unknown ones unless it is closed. */
export interface ObjectForm {
  readonly kind: "object";
  readonly label: string;
  readonly members: readonly MemberForm[];
  readonly isClosed: boolean;
}

export interface MemberForm {
  readonly name: string;
  readonly value: Form;
  readonly isRequired: boolean;
  /** Whether `null` is accepted too, and means that the member is absent. */
  readonly isNullAbsent: boolean;
  /** The value that a missing member has. */
  readonly defaultValue?: JsonValue;
  /** Whether the value is not kept: writing computes it. */
  readonly isComputed: boolean;
  /** The only accepted values. */
  readonly accepted?: readonly JsonValue[];
  /** Whether the members of the value are members of this object. */
  readonly isFlattened: boolean;
}

/** One variant of a union. Reading accepts all of its names; writing uses the first. */
export interface VariantForm {
  readonly names: readonly string[];
  readonly content: ObjectForm;
}

/** An object with a tag among the members of the variant (serde: internally tagged). */
export interface TaggedForm {
  readonly kind: "tagged";
  readonly label: string;
  readonly tag: string;
  readonly variants: readonly VariantForm[];
}

/** An object with a tag and a member that holds the variant (serde: adjacently tagged). */
export interface AdjacentForm {
  readonly kind: "adjacent";
  readonly label: string;
  readonly tag: string;
  readonly contentName: string;
  readonly variants: readonly VariantForm[];
}

/** A name, or an object whose only member has the name and holds the variant (serde: externally tagged). */
export interface ExternalForm {
  readonly kind: "external";
  readonly label: string;
  readonly names: Form;
  readonly variants: readonly VariantForm[];
}

/** A value of one of several forms. The first is the one that examples use. */
export interface ChoiceForm {
  readonly kind: "choice";
  readonly options: readonly Form[];
  readonly name?: string;
}

/** Describes a value by its JSON Schema. */
export function valueForm(schema: JsonObject, example: JsonValue, name?: string): ValueForm {
  return name === undefined ? { kind: "value", schema, example } : { kind: "value", schema, example, name };
}
