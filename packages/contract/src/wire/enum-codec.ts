import type { GenEnum } from "@bufbuild/protobuf/codegenv2";
import { InvalidArgumentError } from "./invalid-argument.js";

/** A protobuf enum as the reference's spellings: `INPUT_LIFECYCLE_STATE_QUEUED` is "queued". */
export interface EnumCodec<T extends string, E extends number> {
  /** Refuses UNSPECIFIED and numbers that this version does not know. */
  toModel(value: number, field: string): T;
  /** UNSPECIFIED means absent. */
  toOptionalModel(value: number, field: string): T | undefined;
  /** A text that is none of the enum comes from a caller without types. */
  toWire(text: T, field?: string): E;
  /** Absent is UNSPECIFIED. */
  toOptionalWire(text: T | undefined, field?: string): E;
}

const UNSPECIFIED = 0;

/** `texts` must be all the enum's values but UNSPECIFIED; a difference is a mistake of the program, found at the first load. */
export function enumCodec<T extends string, E extends number>(desc: GenEnum<E>, texts: readonly T[]): EnumCodec<T, E> {
  const byNumber: (T | undefined)[] = [];
  const byText = new Map<string, E>();
  for (const text of texts) {
    const value = desc.values.find((candidate) => candidate.localName === text.toUpperCase());
    if (!value) throw new TypeError(`${desc.typeName} has no value ${text}`);
    byNumber[value.number] = text;
    byText.set(text, value.number as E);
  }
  if (desc.values.length !== texts.length + 1) throw new TypeError(`${desc.typeName} has values without a text`);
  const expected = `one of ${desc.values
    .slice(1)
    .map((value) => value.name)
    .join(", ")}`;
  const toModel = (value: number, field: string): T => {
    const text = byNumber[value];
    if (text === undefined)
      throw new InvalidArgumentError(
        field,
        expected,
        desc.values.find(({ number }) => number === value)?.name ?? String(value),
      );
    return text;
  };
  const toWire = (text: T, field: string = desc.name): E => {
    const value = byText.get(text);
    if (value === undefined) throw new InvalidArgumentError(field, expected, text);
    return value;
  };
  return {
    toModel,
    toOptionalModel: (value, field) => (value === UNSPECIFIED ? undefined : toModel(value, field)),
    toWire,
    toOptionalWire: (text, field) => (text === undefined ? (UNSPECIFIED as E) : toWire(text, field)),
  };
}
