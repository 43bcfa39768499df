import { isUint8Array } from "node:util/types";
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { isPlainObject, shown } from "@bolthole/json";
import { InvalidArgumentError, inside } from "./invalid-argument.js";

/*
 * The types of the values in a message. TypeScript checks them for its own callers, but a program in JavaScript, or with a wrong
 * cast, may pass anything. protobuf-es writes some wrong values without an error (a Uint16Array as bytes, a number as text), and
 * reports others without the name of the field.
 */

/** What values a scalar may have, and what is expected instead of others. */
interface ValueType {
  readonly expected: string;
  accepts(value: unknown): boolean;
}

/** Whether the memory of bytes was transferred, to a worker for example, so that they can no longer be read. */
function isDetached({ buffer }: Uint8Array): boolean {
  if (buffer.byteLength > 0) return false;
  try {
    // The only test that Node.js 20 has.
    return new Uint8Array(buffer).length > 0;
  } catch {
    return true;
  }
}

const bigintBetween = (least: bigint, most: bigint): ValueType => ({
  expected: `a bigint from ${String(least)} to ${String(most)}`,
  accepts: (value) => typeof value === "bigint" && value >= least && value <= most,
});

const integerBetween = (least: number, most: number): ValueType => ({
  expected: `an integer from ${String(least)} to ${String(most)}`,
  accepts: (value) => Number.isInteger(value) && (value as number) >= least && (value as number) <= most,
});

const TEXT: ValueType = { expected: "text (a string)", accepts: (value) => typeof value === "string" };
const BYTES: ValueType = {
  expected: "bytes (a Uint8Array)",
  accepts: (value) => isUint8Array(value) && !isDetached(value),
};
const BOOLEAN: ValueType = { expected: "true or false", accepts: (value) => typeof value === "boolean" };
const NUMBER: ValueType = { expected: "a number", accepts: (value) => typeof value === "number" };
const INT_32 = integerBetween(-(2 ** 31), 2 ** 31 - 1);
const UINT_32 = integerBetween(0, 2 ** 32 - 1);
const INT_64 = bigintBetween(-(2n ** 63n), 2n ** 63n - 1n);
const UINT_64 = bigintBetween(0n, 2n ** 64n - 1n);
const TYPES: Readonly<Record<ScalarType, ValueType>> = {
  [ScalarType.STRING]: TEXT,
  [ScalarType.BYTES]: BYTES,
  [ScalarType.BOOL]: BOOLEAN,
  [ScalarType.DOUBLE]: NUMBER,
  [ScalarType.FLOAT]: NUMBER,
  [ScalarType.INT32]: INT_32,
  [ScalarType.SINT32]: INT_32,
  [ScalarType.SFIXED32]: INT_32,
  [ScalarType.UINT32]: UINT_32,
  [ScalarType.FIXED32]: UINT_32,
  [ScalarType.INT64]: INT_64,
  [ScalarType.SINT64]: INT_64,
  [ScalarType.SFIXED64]: INT_64,
  [ScalarType.UINT64]: UINT_64,
  [ScalarType.FIXED64]: UINT_64,
};

/** Returns what a field expects, for the error of a missing value. */
export const expectedIn = (field: DescField): string =>
  field.fieldKind === "scalar" ? TYPES[field.scalar].expected : "a value";

/** Throws an `InvalidArgumentError` unless a value is an object with members. */
export function requireObject(value: unknown): void {
  if (!isPlainObject(value)) throw new InvalidArgumentError("", "an object", shown(value));
}

/**
 * Throws an `InvalidArgumentError` for a member of an object that is not one of these names. A misspelled member would be dropped:
 * a condition would not be checked, and an id or a fact would not be stored. A member that is undefined says nothing.
 */
export function refuseOthers(value: object, names: ReadonlySet<string>): void {
  // Input rows pass through here by the thousand, and this loop makes no list of the names.
  for (const name in value) {
    if (names.has(name) || !Object.hasOwn(value, name)) continue;
    if ((value as Readonly<Record<string, unknown>>)[name] === undefined) continue;
    throw new InvalidArgumentError(name, `no member of this name, only ${[...names].join(", ")}`);
  }
}

/** Throws an `InvalidArgumentError` unless a value is a bigint that an unsigned integer of 64 bits can hold. */
export const requireUint64 = (value: unknown): void => {
  typeCheck(UINT_64)(value);
};

/** Throws an `InvalidArgumentError` unless a value has bytes. */
export function requireBytes(value: unknown): void {
  if (!BYTES.accepts(value)) throw new InvalidArgumentError("", BYTES.expected, shownValue(value));
}

/** Throws an `InvalidArgumentError` unless a value is a list. */
export function requireList(value: unknown): void {
  if (!Array.isArray(value)) throw new InvalidArgumentError("", "a list", shown(value));
}

/** The check of one field. All instances have the same shape, which keeps the loop over them fast. */
class FieldCheck {
  constructor(
    readonly name: string,
    readonly localName: string,
    readonly oneof: string | undefined,
    readonly check: (value: unknown) => void,
  ) {}
}

const checks = new WeakMap<DescMessage, readonly FieldCheck[]>();

function checksOf(desc: DescMessage): readonly FieldCheck[] {
  const known = checks.get(desc);
  if (known) return known;
  const made = desc.fields.map(
    (field) => new FieldCheck(field.name, field.localName, field.oneof?.localName, checkOf(field)),
  );
  checks.set(desc, made);
  return made;
}

function checkOf(field: DescField): (value: unknown) => void {
  switch (field.fieldKind) {
    case "scalar":
      return typeCheck(TYPES[field.scalar]);
    case "enum":
      return typeCheck(INT_32);
    case "message":
      return messageCheck(field.message);
    case "list": {
      const check =
        field.listKind === "message"
          ? messageCheck(field.message)
          : typeCheck(field.listKind === "enum" ? INT_32 : TYPES[field.scalar]);
      return (value) => {
        checkEach(value, check);
      };
    }
    case "map": {
      const check =
        field.mapKind === "message"
          ? messageCheck(field.message)
          : typeCheck(field.mapKind === "enum" ? INT_32 : TYPES[field.scalar]);
      return (value) => {
        checkMembers(value, check);
      };
    }
  }
}

const typeCheck =
  ({ accepts, expected }: ValueType) =>
  (value: unknown): void => {
    if (!accepts(value)) throw new InvalidArgumentError("", expected, shownValue(value));
    if (typeof value === "string") requireWellFormed(value);
  };

const shownValue = (value: unknown): string =>
  isUint8Array(value) && isDetached(value) ? "one whose memory was transferred" : shown(value);

/** protobuf-es replaces a lone surrogate by another character, and an id must never become another id. */
function requireWellFormed(text: string): void {
  if (!text.isWellFormed()) throw new InvalidArgumentError("", "well-formed Unicode", "a lone surrogate");
}

const messageCheck =
  (desc: DescMessage) =>
  (value: unknown): void => {
    checkFields(desc, value);
  };

function checkEach(values: unknown, check: (value: unknown) => void): void {
  requireList(values);
  for (const [index, value] of (values as readonly unknown[]).entries()) {
    try {
      check(value);
    } catch (error) {
      throw inside(`[${String(index)}]`, error);
    }
  }
}

function checkMembers(values: unknown, check: (value: unknown) => void): void {
  requireObject(values);
  for (const [name, value] of Object.entries(values as object)) {
    requireWellFormed(name);
    try {
      check(value);
    } catch (error) {
      throw inside(`[${name}]`, error);
    }
  }
}

/** Throws an `InvalidArgumentError` for the first field whose value has another type than the field, and names the field. */
export function checkFields(desc: DescMessage, message: unknown): void {
  requireObject(message);
  const source = message as Readonly<Record<string, unknown>>;
  for (const { name, localName, oneof, check } of checksOf(desc)) {
    const value = oneof === undefined ? source[localName] : valueOfCase(source[oneof], localName);
    if (value === undefined) continue;
    try {
      check(value);
    } catch (error) {
      throw inside(name, error);
    }
  }
}

function valueOfCase(oneof: unknown, localName: string): unknown {
  const chosen = oneof as { readonly case?: string; readonly value?: unknown } | undefined;
  if (chosen?.case !== localName) return undefined;
  // In a oneof that was chosen, a value is never absent.
  return chosen.value ?? null;
}
