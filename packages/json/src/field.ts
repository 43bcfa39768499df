import type { MemberShape, Shape } from "./shape.js";

/** One member of a struct: its name, its shape, and what absence means. */
export interface Field<T> {
  readonly name: string;
  readonly shape: Shape<NonNullable<T>>;
  /** What reading makes of a missing member. */
  readonly onMissing: "refused" | "absent" | "fallback";
  /** What reading makes of an explicit null. */
  readonly onNull: "for the shape" | "absent";
  /** What writing makes of an absent value. */
  readonly onAbsent: "refused" | "omitted" | "null";
  /** A value for which writing omits the member although it is there. */
  isEmpty?(value: unknown): boolean;
  readonly defaultValue?: T;
  /** The members of `shape` stand among those of this struct; `name` is unused. */
  readonly isFlattened?: boolean;
  /** A member without a place in the model: checked when everything else has been read, computed for writing. */
  readonly hidden?: { verdict?(value: T): string | undefined; compute(owner: object): T };
}

export function required<T>(name: string, shape: Shape<NonNullable<T>>): Field<T> {
  return { name, shape, onMissing: "refused", onNull: "for the shape", onAbsent: "refused" };
}

/** Missing and null both mean absent; omitted on write. */
export function optional<T>(name: string, shape: Shape<NonNullable<T>>): Field<T> {
  return { name, shape, onMissing: "absent", onNull: "absent", onAbsent: "omitted" };
}

/** Missing and null both mean absent; written as null. */
export function nullable<T>(name: string, shape: Shape<NonNullable<T>>): Field<T> {
  return { name, shape, onMissing: "absent", onNull: "absent", onAbsent: "null" };
}

/** Must be there, but may be null. */
export function requiredNullable<T>(name: string, shape: Shape<NonNullable<T>>): Field<T> {
  return { name, shape, onMissing: "refused", onNull: "absent", onAbsent: "null" };
}

/** Missing means the fallback, null is refused; always written. */
export function defaulted<T>(name: string, shape: Shape<NonNullable<T>>, fallback: NoInfer<T>): Field<T> {
  return { name, shape, onMissing: "fallback", onNull: "for the shape", onAbsent: "refused", defaultValue: fallback };
}

/** Missing means an empty list, null is refused; omitted when empty. */
export function omittedWhenEmpty<E>(name: string, shape: Shape<readonly E[]>): Field<readonly E[]> {
  return {
    ...defaulted<readonly E[]>(name, shape, []),
    isEmpty: (value) => Array.isArray(value) && value.length === 0,
  };
}

/** Missing means absent, null is refused; omitted when absent or when `isEmpty` says so. */
export function optionalUnless<T>(
  name: string,
  shape: Shape<NonNullable<T>>,
  isEmpty: (value: unknown) => boolean,
): Field<T> {
  return { name, shape, onMissing: "absent", onNull: "for the shape", onAbsent: "omitted", isEmpty };
}

/** The members of another object, standing among this struct's own. */
export function flattened<T>(shape: MemberShape<NonNullable<T>>): Field<T> {
  return { ...required<T>("", shape), isFlattened: true };
}

/** A member that the model does not show; `verdict` gives the fixed text of a refusal. */
export function hidden<T>(field: Field<T>, rules: NonNullable<Field<T>["hidden"]>): Field<T> {
  return { ...field, hidden: rules };
}

/** One field for each member of the model, in the order of writing; names with an underscore are hidden members. */
export type Fields<T> = { readonly [K in keyof T]-?: Field<T[K]> } & {
  readonly [name: `_${string}`]: Field<unknown>;
};
