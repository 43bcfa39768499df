import { type DescField, type DescMessage, type Message, type MessageShape, create } from "@bufbuild/protobuf";
import type { GenEnum } from "@bufbuild/protobuf/codegenv2";
import { shown } from "@bolthole/json";
import { expectedIn, refuseOthers, requireList, requireObject } from "./field-types.js";
import { InvalidArgumentError, inside, withField } from "./invalid-argument.js";

export { InvalidArgumentError, inside };

/** Returns the value of a message field. Throws an `InvalidArgumentError` when the field is absent. */
export function requireField<T>(value: T | undefined, field: string): T {
  if (value === undefined || value === null) throw new InvalidArgumentError(field, "a value", "none");
  return value;
}

/**
 * A conversion between the wire form and the model form of a value, in both directions.
 *
 * Both functions throw an `InvalidArgumentError` whose path starts at the converted value. The codec of the surrounding
 * value catches it and adds the first step of the path. Therefore paths cost nothing as long as there is no error.
 */
export interface Codec<Wire, Model> {
  readonly toModel: (wire: Wire) => Model;
  readonly toWire: (model: Model) => Wire;
  /**
   * Throws for a member of a model that has no place in the message: `toWire` would drop it. The model must be one that `toWire`
   * accepts. Absent for a value without members.
   */
  readonly refuseUnknown?: ((model: Model) => void) | undefined;
}

export type MessageListField = DescField & { readonly fieldKind: "list"; readonly listKind: "message" };

/** A list of messages in a message, as `modelInSlices` needs it. */
export interface MessageList {
  readonly field: MessageListField;
  /** The name of the list in the model. */
  readonly modelName: string;
  readonly item: Codec<unknown, unknown>;
}

/** The codec of a message type. */
export interface MessageCodec<M extends Message, Model> extends Codec<M, Model> {
  /** The lists of messages among its members. */
  readonly lists: readonly MessageList[];
}

/** The codec of a list. */
interface ListCodec<Wire, Model> extends Codec<Wire[], readonly Model[]> {
  readonly item: Codec<Wire, Model>;
}

/** The names of the fields and oneofs of a message. */
type MemberName<M extends Message> = Exclude<keyof M, keyof Message>;
/** The names of message members for model members with another name. */
type WireNames<M extends Message, Model> = { readonly [K in keyof Model]?: MemberName<M> };
type WireName<Names, K> = K extends keyof Names ? Names[K] : K;

/**
 * One codec for each member of a model value. The member of the message has the same name, or the one in `Names`. To leave
 * out a member of the model or of the message is a compile error, also for an optional one. `WireOnly` names the members of the
 * message that the model does not have.
 */
export type MemberCodecs<M extends Message, Model, Names = unknown, WireOnly = never> = {
  readonly [K in keyof Model]-?: WireName<Names, K> extends MemberName<M>
    ? Codec<M[WireName<Names, K>], Model[K]>
    : never;
} & { readonly [K in Exclude<MemberName<M>, keyof Model | Names[keyof Names] | WireOnly>]: never };

/** The conversion of a whole message: a table of its members, or a codec for messages that need code. */
export type MessageConversion<M extends Message, Model> = Codec<M, Model> | MemberCodecs<M, Model>;

type AnyCodec = Codec<unknown, unknown>;
type AnyRecord = Record<string, unknown>;

/** One member of a message. All instances have the same shape, which keeps the loops below fast. */
class Member {
  constructor(
    readonly modelName: string,
    readonly wireName: string,
    /** The name in the proto file, for the paths of errors. */
    readonly protoName: string,
    /** Undefined when the value is the same in both forms. */
    readonly toModel: AnyCodec["toModel"] | undefined,
    readonly toWire: AnyCodec["toWire"] | undefined,
    readonly refuseUnknown: AnyCodec["refuseUnknown"],
    /** The value of the message's member when the model has none. */
    readonly zero: unknown,
    /** What the model must have when its value is the same on the wire and the message cannot be without it. */
    readonly expected: string | undefined,
  ) {}
}

/**
 * Returns the codec of a message type from the codecs of its members. Throws at load time for a member that the message
 * does not have.
 *
 * A model value has all members, absent ones as undefined. A message is complete, with the zero values of absent members,
 * so that protobuf-es serialises it without making a copy first. Input rows pass through here by the thousand: about 20 ns
 * for each member.
 */
export function message<
  D extends DescMessage,
  Model,
  const Names extends WireNames<MessageShape<D>, Model> = object,
  WireOnly extends MemberName<MessageShape<D>> = never,
>(
  desc: D,
  codecs: MemberCodecs<MessageShape<D>, NoInfer<Model>, Names, NoInfer<WireOnly>>,
  wireNames?: Names,
  wireOnly: readonly WireOnly[] = [],
): MessageCodec<MessageShape<D>, Model> {
  const lists: MessageList[] = [];
  const zeros = create(desc) as unknown as AnyRecord;
  const members = Object.entries(codecs as Record<string, AnyCodec>).map(([modelName, codec]) => {
    const wireName = (wireNames as Readonly<Record<string, string>> | undefined)?.[modelName] ?? modelName;
    const member = desc.members.find(({ localName }) => localName === wireName);
    if (!member) throw new TypeError(`${desc.typeName} has no member ${wireName}`);
    if ("item" in codec && member.kind === "field" && member.fieldKind === "list" && member.listKind === "message") {
      lists.push({ field: member, modelName, item: (codec as ListCodec<unknown, unknown>).item });
    }
    const { toModel, toWire, refuseUnknown } = codec === same ? ({} as Partial<AnyCodec>) : codec;
    const zero = zeros[wireName];
    const expected =
      toWire === undefined && zero !== undefined && member.kind === "field" ? expectedIn(member) : undefined;
    return new Member(modelName, wireName, member.name, toModel, toWire, refuseUnknown, zero, expected);
  });
  const names = new Set(members.map(({ modelName }) => modelName));
  const withMembers = members.filter(({ refuseUnknown }) => refuseUnknown !== undefined);
  const others = (wireOnly as readonly string[]).flatMap((name) =>
    zeros[name] === undefined ? [] : [[name, zeros[name]] as const],
  );
  return {
    lists,
    toModel(wire) {
      const source = wire as unknown as AnyRecord;
      const model: AnyRecord = {};
      let invalid: InvalidArgumentError | undefined;
      for (const { modelName, wireName, protoName, toModel } of members) {
        const value = source[wireName];
        try {
          model[modelName] = toModel === undefined ? value : toModel(value);
        } catch (error) {
          invalid = withField(invalid, error, protoName);
        }
      }
      if (invalid) throw invalid;
      return model as Model;
    },
    toWire(model) {
      requireObject(model);
      const source = model as AnyRecord;
      const wire: AnyRecord = { $typeName: desc.typeName };
      for (const [name, zero] of others) wire[name] = zero;
      let step = "";
      try {
        for (const { modelName, wireName, protoName, toWire, zero, expected } of members) {
          step = protoName;
          const from = source[modelName];
          if (from === undefined && expected !== undefined) throw new InvalidArgumentError("", expected, "none");
          const value = toWire === undefined ? from : toWire(from);
          const sent = value === undefined ? zero : value;
          if (sent !== undefined) wire[wireName] = sent;
        }
      } catch (error) {
        throw inside(step, error);
      }
      return wire as unknown as MessageShape<D>;
    },
    refuseUnknown(model) {
      refuseOthers(model as object, names);
      for (const { modelName, protoName, refuseUnknown } of withMembers) {
        const value = (model as AnyRecord)[modelName];
        if (value === undefined) continue;
        try {
          refuseUnknown?.(value);
        } catch (error) {
          throw inside(protoName, error);
        }
      }
    },
  };
}

/** Returns the codec of a conversion. A conversion that needs code has no known lists. */
export const messageCodec = <D extends DescMessage, Model>(
  desc: D,
  conversion: MessageConversion<MessageShape<D>, Model>,
): MessageCodec<MessageShape<D>, Model> =>
  "toModel" in conversion ? { lists: [], ...conversion } : message(desc, conversion as never);

/** The tags of a model union. */
type KindOf<Model> = Model extends { readonly kind: infer K extends string } ? K : never;
type CamelCase<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;
/** A oneof in the form of protobuf-es. */
interface AnyOneof {
  readonly case: string | undefined;
  readonly value?: unknown;
}
type MessageOfCase<Oneof, Case> = Extract<Extract<Oneof, { case: Case }>, { value: Message }>["value"];

/** One conversion for each kind of a model union. The case of the oneof has the name of the kind in camel case. */
type VariantConversions<Oneof extends AnyOneof, Model> = {
  readonly [K in KindOf<Model>]: MessageConversion<
    MessageOfCase<Oneof, CamelCase<K>>,
    Omit<Extract<Model, { readonly kind: K }>, "kind">
  >;
} & { readonly [K in Exclude<Oneof["case"], CamelCase<KindOf<Model>> | undefined>]: never };

/** Returns the codec of a message with a single oneof, which is a union with the tag `kind` in the model. */
export function union<D extends DescMessage, O extends MemberName<MessageShape<D>>, Model>(
  desc: D,
  oneof: O,
  conversions: VariantConversions<Extract<MessageShape<D>[O], AnyOneof>, Model>,
): Codec<MessageShape<D>, Model> {
  const byKind = conversions as Readonly<Record<string, MessageConversion<Message, object>>>;
  const variants = Object.entries(byKind).map(([kind, conversion]) => {
    const field = desc.fields.find(({ name }) => name === kind);
    if (!field?.message) throw new TypeError(`${desc.typeName} has no member ${kind}`);
    return { kind, case: field.localName, codec: messageCodec(field.message, conversion) };
  });
  const expected = `one of ${variants.map(({ kind }) => kind).join(", ")}`;
  return {
    toModel(wire) {
      const { case: name, value } = (wire as unknown as AnyRecord)[oneof as string] as AnyOneof;
      const variant = variants.find((candidate) => candidate.case === name);
      if (!variant) throw new InvalidArgumentError("", expected, "none");
      const { kind, codec } = variant;
      return { kind, ...at(kind, () => codec.toModel(value as Message)) } as Model;
    },
    toWire(model) {
      requireObject(model);
      const { kind } = model as { readonly kind: string };
      const variant = variants.find((candidate) => candidate.kind === kind);
      if (!variant) throw new InvalidArgumentError("", expected, shown(kind));
      const value = at(kind, () => variant.codec.toWire(model as object));
      return { $typeName: desc.typeName, [oneof]: { case: variant.case, value } } as unknown as MessageShape<D>;
    },
    refuseUnknown(model) {
      const { kind, ...members } = model as { readonly kind: string };
      const variant = variants.find((candidate) => candidate.kind === kind);
      at(kind, () => variant?.codec.refuseUnknown?.(members));
    },
  };
}

/** Runs a conversion and adds `step` in front of the path of its error. */
export function at<T>(step: string, convert: () => T): T {
  try {
    return convert();
  } catch (error) {
    throw inside(step, error);
  }
}

interface Same {
  readonly toModel: <T>(wire: T) => T;
  readonly toWire: <T>(model: T) => T;
}

/** A value that is the same in both forms. */
export const same: Same = { toModel: (wire) => wire, toWire: (model) => model };

/** A flag that is optional in the model. Absent means false. */
export const flag: Codec<boolean, boolean | undefined> = { toModel: (wire) => wire, toWire: (value = false) => value };

/** A value that may be absent in both forms. */
export const optional = <Wire, Model>(codec: Codec<Wire, Model>): Codec<Wire | undefined, Model | undefined> => ({
  toModel: (wire) => (wire === undefined ? undefined : codec.toModel(wire)),
  toWire: (model) => (model === undefined ? undefined : codec.toWire(model)),
  refuseUnknown: codec.refuseUnknown as Codec<Wire, Model | undefined>["refuseUnknown"],
});

/** A value that the message type allows to be absent, and that must be present. */
export const required = <Wire, Model>(codec: Codec<Wire, Model>): Codec<Wire | undefined, Model> => ({
  toModel: (wire) => codec.toModel(requireField(wire, "")),
  toWire: (model) => codec.toWire(requireField(model, "")),
  refuseUnknown: codec.refuseUnknown,
});

/** A list of values. */
export const list = <Wire, Model>(codec: Codec<Wire, Model>): ListCodec<Wire, Model> => ({
  item: codec,
  toModel: (wires) => convertEach(wires, codec.toModel),
  toWire: (models) => {
    requireList(models);
    return convertEach(models, codec.toWire);
  },
  refuseUnknown: each(codec.refuseUnknown, (models, check) => convertEach(models, check)),
});

/** A list of strings. It is copied for a message, because the list of the model is read-only. */
export const strings: Codec<string[], readonly string[]> = {
  toModel: (wire) => wire,
  toWire: (model) => {
    requireList(model);
    return [...model];
  },
};

/** A map from strings to values. */
export const map = <Wire, Model>(
  codec: Codec<Wire, Model>,
): Codec<Record<string, Wire>, Readonly<Record<string, Model>>> => ({
  toModel: (wires) => convertValues(wires, codec.toModel),
  toWire: (models) => {
    requireObject(models);
    return convertValues(models, codec.toWire);
  },
  refuseUnknown: each(codec.refuseUnknown, (models, check) => convertValues(models, check)),
});

/** Returns the check of all values of a collection, if its values have one. */
const each = <Model, Models>(
  check: ((model: Model) => void) | undefined,
  forEach: (models: Models, check: (model: Model) => void) => unknown,
): ((models: Models) => void) | undefined => check && ((models) => void forEach(models, check));

function convertEach<From, To>(values: readonly From[], convert: (value: From) => To): To[] {
  const converted: To[] = [];
  let invalid: InvalidArgumentError | undefined;
  let index = 0;
  for (const value of values) {
    try {
      converted.push(convert(value));
    } catch (error) {
      invalid = withField(invalid, error, `[${String(index)}]`);
    }
    index += 1;
  }
  if (invalid) throw invalid;
  return converted;
}

function convertValues<From, To>(
  values: Readonly<Record<string, From>>,
  convert: (value: From) => To,
): Record<string, To> {
  let step = "";
  try {
    const converted: [string, To][] = [];
    for (const [key, value] of Object.entries(values)) {
      step = key;
      converted.push([key, convert(value)]);
    }
    return Object.fromEntries(converted);
  } catch (error) {
    throw inside(`[${step}]`, error);
  }
}

/** A number of bytes. Numbers above 2^53 - 1 are refused, because a double is not exact there. */
export const byteCount: Codec<bigint, number> = {
  toModel: (wire) => {
    if (wire > BigInt(Number.MAX_SAFE_INTEGER)) throw new InvalidArgumentError("", "at most 2^53 - 1", wire.toString());
    return Number(wire);
  },
  toWire: wholeNumber,
};

/** A number that programs show or compare with a limit. It is rounded above 2^53. */
export const roundedNumber: Codec<bigint, number> = { toModel: Number, toWire: wholeNumber };

function wholeNumber(value: number): bigint {
  if (Number.isInteger(value) && value >= 0) return BigInt(value);
  throw new InvalidArgumentError("", "a whole number, at least 0", shown(value));
}

const UNSPECIFIED = 0;

/** A protobuf enum as texts of the model: `INPUT_LIFECYCLE_STATE_QUEUED` is "queued". UNSPECIFIED is refused. */
export interface Enumeration<E extends number, T extends string> extends Codec<E, T> {
  /** The same enum where UNSPECIFIED means that the value is absent. */
  readonly optional: Codec<E, T | undefined>;
  /** Returns the text of a number, or undefined for UNSPECIFIED and for numbers that this version does not know. */
  find(value: number): T | undefined;
}

/** Returns the codec of an enum. Throws at load time unless `texts` are all its values other than UNSPECIFIED. */
export function enumeration<T extends string, E extends number>(
  desc: GenEnum<E>,
  texts: readonly T[],
): Enumeration<E, T> {
  const byNumber: (T | undefined)[] = [];
  const byText = new Map<string, E>();
  for (const text of texts) {
    const value = desc.values.find((candidate) => candidate.localName === text.toUpperCase());
    if (!value) throw new TypeError(`${desc.typeName} has no value ${text}`);
    byNumber[value.number] = text;
    byText.set(text, value.number as E);
  }
  if (desc.values.length !== texts.length + 1) throw new TypeError(`${desc.typeName} has values without a text`);
  const names = desc.values.slice(1).map(({ name }) => name);
  const expected = `one of ${names.join(", ")}`;
  const expectedText = `one of ${texts.map(shown).join(", ")}`;
  const toModel = (value: number): T => {
    const text = byNumber[value];
    if (text === undefined) {
      const name = desc.values.find(({ number }) => number === value)?.name;
      throw new InvalidArgumentError("", expected, name ?? String(value));
    }
    return text;
  };
  const toWire = (text: T): E => {
    const value = byText.get(text);
    // Callers without types may pass any text.
    if (value === undefined) throw new InvalidArgumentError("", expectedText, shown(text));
    return value;
  };
  return {
    toModel,
    toWire,
    optional: {
      toModel: (value) => (value === UNSPECIFIED ? undefined : toModel(value)),
      toWire: (text) => (text === undefined ? (UNSPECIFIED as E) : toWire(text)),
    },
    find: (value) => byNumber[value],
  };
}
