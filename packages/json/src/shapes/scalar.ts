import { Buffer } from "node:buffer";

import { QUOTE, ZERO, MINUS, hexValue } from "../text/characters.js";
import { JsonError } from "../text/json-error.js";
import { formatFloat32, readFloat32 } from "../text/numbers.js";
import type { JsonReader } from "../text/reader.js";
import { shown } from "../text/shown.js";
import type { JsonWriter } from "../text/writer.js";
import { type ValueForm, valueForm } from "./form.js";
import type { Shape } from "./shape.js";

/** Any text that UTF-8 can express. */
export const STRING: Shape<string> = {
  label: "a string",
  read: (reader) => reader.readString(),
  write(value, out) {
    if (typeof value !== "string") throw JsonError.at("expected a string");
    out.writeString(value);
  },
  skipCanonical: (reader) => reader.skipCanonicalString(),
  form: () => valueForm({ type: "string" }, "example"),
};

/** A canonical string that is not decoded: a range of a text, which must not change while the slice is in use. */
export class StringSlice {
  constructor(
    readonly bytes: Buffer,
    /** The byte range with the quotes. */
    readonly start: number,
    readonly end: number,
  ) {}

  toString(): string {
    return JSON.parse(this.bytes.toString("utf8", this.start, this.end)) as string;
  }
}

/** Any text. Reading does not decode it, which is faster when it is only written again. */
export const STRING_SLICE: Shape<string | StringSlice> = {
  ...STRING,
  read(reader) {
    reader.scanValidString();
    return reader.tokenIsCanonical()
      ? new StringSlice(reader.bytes, reader.tokenStart - 1, reader.tokenEnd + 1)
      : reader.tokenText();
  },
  write(value, out) {
    if (value instanceof StringSlice) out.writeRaw(value.bytes, value.start, value.end);
    else STRING.write(value, out);
  },
};

/**
 * A string with one canonical spelling among several accepted ones, all of ASCII characters. `canonical` returns the canonical
 * spelling, or undefined for a text that is not accepted. `canonicalLength` returns the length of the canonical spelling that
 * begins at a byte, or 0 when there is none or `canonical` must decide; it saves the call of `canonical` in the common case.
 * `form` describes the texts for which `canonical` returns a spelling.
 */
export function spelledString(
  label: string,
  canonicalLength: (bytes: Uint8Array, at: number) => number,
  canonical: (text: string) => string | undefined,
  form: ValueForm,
): Shape<string> {
  const lengthAt = (reader: JsonReader): number => {
    if (reader.bytes[reader.position] !== QUOTE) return 0;
    const length = canonicalLength(reader.bytes, reader.position + 1);
    return reader.bytes[reader.position + 1 + length] === QUOTE ? length : 0;
  };
  return {
    label,
    read(reader) {
      reader.peek();
      const length = lengthAt(reader);
      if (length > 0) return reader.takeAsciiString(length);
      const spelled = reader.readString();
      const text = canonical(spelled);
      if (text === undefined) throw reader.error(`expected ${label}, found ${shown(spelled)}`, reader.tokenStart);
      return text;
    },
    write(value, out) {
      if (typeof value !== "string") throw JsonError.at(`expected ${label}, found ${shown(value)}`);
      const start = out.length;
      const isAscii = out.writeQuoted(value);
      if (isAscii && value !== "" && canonicalLength(out.bytes, start + 1) === value.length) return;
      out.length = start;
      const text = canonical(value);
      if (text === undefined) throw JsonError.at(`expected ${label}, found ${shown(value)}`);
      out.writeQuoted(text);
    },
    skipCanonical(reader) {
      const length = lengthAt(reader);
      reader.position += length + 2;
      return length > 0;
    },
    form: () => form,
  };
}

const TRUE = Buffer.from("true");
const FALSE = Buffer.from("false");

export const BOOLEAN: Shape<boolean> = {
  label: "true or false",
  read: (reader) => reader.readBoolean(),
  write(value, out) {
    if (typeof value !== "boolean") throw JsonError.at("expected true or false");
    out.writeLiteral(value ? TRUE : FALSE);
  },
  skipCanonical: (reader) => reader.skipLiteral(TRUE) || reader.skipLiteral(FALSE),
  form: () => valueForm({ type: "boolean" }, false),
};

function unsignedNumber(max: number): Shape<number> {
  const label = `an integer from 0 to ${max}`;
  return {
    label,
    read(reader) {
      const value = readDigits(reader, label);
      if (value === undefined || value > max) throw reader.error(`expected ${label}`, reader.tokenStart);
      return value;
    },
    write(value, out) {
      if (!Number.isInteger(value) || value < 0 || value > max) throw JsonError.at(`expected ${label}`);
      out.writeUnsigned(value);
    },
    skipCanonical(reader) {
      const value = reader.isDigitNext() ? readDigits(reader, label) : undefined;
      return value !== undefined && value <= max;
    },
    form: () => integerForm(max),
  };
}

export const U16 = unsignedNumber(0xffff);
export const U32 = unsignedNumber(0xffffffff);

const U64_MAX = 0xffffffffffffffffn;
const U64_LABEL = "an integer from 0 to 2^64-1";

export const U64: Shape<bigint> = {
  label: U64_LABEL,
  read(reader) {
    const small = readDigits(reader, U64_LABEL);
    if (small !== undefined) return BigInt(small);
    const value = reader.tokenEnd - reader.tokenStart > 20 ? undefined : BigInt(reader.tokenText());
    if (value === undefined || value > U64_MAX) throw reader.error(`expected ${U64_LABEL}`, reader.tokenStart);
    return value;
  },
  write(value, out) {
    if (typeof value !== "bigint" || value < 0n || value > U64_MAX) throw JsonError.at(`expected ${U64_LABEL}`);
    if (value <= 0xffffffffn) out.writeUnsigned(Number(value));
    else out.writeAscii(String(value));
  },
  skipCanonical: (reader) => reader.isDigitNext() && U64.read(reader) >= 0n,
  form: () => integerForm(U64_MAX),
};

/** Describes an integer from 0 to `max`. JSON Schema accepts `1.0` and `1e2` as integers; the reader does not. */
export function integerForm(max: number | bigint): ValueForm {
  return valueForm({ type: "integer", minimum: 0, maximum: max }, 0);
}

/** Reads a number of digits only. Returns undefined when it has more digits than a double always represents exactly. */
function readDigits(reader: JsonReader, label: string): number | undefined {
  if (reader.scanNumber() !== "digits") throw reader.error(`expected ${label}`, reader.tokenStart);
  if (reader.tokenEnd - reader.tokenStart > 15) return undefined;
  let value = 0;
  for (let at = reader.tokenStart; at < reader.tokenEnd; at++) value = value * 10 + ((reader.bytes[at] ?? 0) - ZERO);
  return value;
}

/** A 32-bit float. A number too large for it becomes an infinity, which is written as null, as the reference does. */
export const FLOAT32: Shape<number> = {
  label: "a number",
  read(reader) {
    reader.scanNumber();
    const value = readFloat32(reader.tokenText());
    if (value === undefined) throw reader.error("expected a number that fits a 64-bit float", reader.tokenStart);
    return value;
  },
  write(value, out) {
    if (typeof value !== "number") throw JsonError.at("expected a number");
    out.writeAscii(formatFloat32(Math.fround(value)));
  },
  skipCanonical(reader) {
    const start = reader.position;
    reader.scanNumber();
    const text = reader.tokenText();
    const value = readFloat32(text);
    return reader.tokenStart === start && value !== undefined && formatFloat32(value) === text;
  },
  form: () => valueForm({ type: "number" }, 0),
};

/** One of a few names, which need no escapes. */
export function enumeration<const V extends string>(values: readonly V[]): Shape<V> {
  const names = values.map((value) => ({ value, bytes: Buffer.from(`"${value}"`) }));
  const bytesOf = new Map<string, Uint8Array>(names.map(({ value, bytes }) => [value, bytes]));
  const label = `one of ${values.join(", ")}`;
  return {
    label,
    read(reader: JsonReader): V {
      if (reader.peek() !== QUOTE) throw reader.error(`expected ${label}`);
      for (const name of names) if (reader.skipLiteral(name.bytes)) return name.value;
      // The name may be written with escapes.
      const text = reader.readString();
      const value = values.find((candidate) => candidate === text);
      if (value === undefined) throw reader.error(`expected ${label}, found ${shown(text)}`, reader.tokenStart);
      return value;
    },
    write(value: V, out: JsonWriter): void {
      const bytes = bytesOf.get(value);
      if (bytes === undefined) throw JsonError.at(`expected ${label}, found ${shown(value)}`);
      out.writeLiteral(bytes);
    },
    skipCanonical(reader: JsonReader): boolean {
      for (const name of names) if (reader.skipLiteral(name.bytes)) return true;
      return false;
    },
    form: () => valueForm({ type: "string", enum: values }, values[0] ?? null),
  };
}

/** A UUID in its canonical form: lower case, with hyphens. Every version and the nil UUID are accepted (contract 1.3). */
export type Uuid = string;

const HYPHENATED = 36;
const SIMPLE = 32;
const URN_PREFIX = "urn:uuid:";

const HEX_GROUPS = "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}";

export const UUID: Shape<Uuid> = spelledString(
  "a UUID",
  canonicalUuidLength,
  canonicalUuid,
  valueForm(
    {
      description: "A UUID of any version. The store writes it in lower case and with hyphens.",
      type: "string",
      pattern: `^(?:(?:urn:uuid:)?${HEX_GROUPS}|\\{${HEX_GROUPS}\\}|[0-9a-fA-F]{32})$`,
    },
    "0198f0a0-0000-7000-8000-000000000001",
    "Uuid",
  ),
);

/**
 * Returns the canonical form of a UUID in any spelling that the reference accepts (contract 1.3): with hyphens in any
 * case, the same in braces or after a lower-case `urn:uuid:`, or 32 digits. Undefined for any other text.
 */
export function canonicalUuid(text: string): Uuid | undefined {
  if (text.length === HYPHENATED) {
    if (isHyphenated(text, 0, true)) return text;
    return isHyphenated(text, 0, false) ? text.toLowerCase() : undefined;
  }
  if (text.length === SIMPLE) {
    return /^[0-9a-f]{32}$/i.test(text) ? withHyphens(text.toLowerCase()) : undefined;
  }
  const isInBraces = text.length === HYPHENATED + 2 && text.startsWith("{") && text.endsWith("}");
  const isUrn = text.length === HYPHENATED + URN_PREFIX.length && text.startsWith(URN_PREFIX);
  if (!isInBraces && !isUrn) return undefined;
  const start = isInBraces ? 1 : URN_PREFIX.length;
  return isHyphenated(text, start, false) ? text.slice(start, start + HYPHENATED).toLowerCase() : undefined;
}

/** Returns the 16 bytes of a UUID in any accepted spelling. Throws a `RangeError` for any other text. */
export function uuidToBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  writeUuid(text, bytes, 0);
  return bytes;
}

/** Writes the 16 bytes of a UUID in any accepted spelling to `bytes`, from `start` on. Throws a `RangeError` for any other text. */
export function writeUuid(text: string, bytes: Uint8Array, start: number): void {
  const canonical = canonicalUuid(text);
  if (canonical === undefined) throw new RangeError(`expected a UUID, found ${JSON.stringify(text)}`);
  let at = start;
  for (let i = 0; i < HYPHENATED; i += 2) {
    if (isHyphenPlace(i)) i++;
    bytes[at++] = hexValue(canonical.charCodeAt(i)) * 16 + hexValue(canonical.charCodeAt(i + 1));
  }
}

/** Returns the canonical form of a UUID. Throws a `RangeError` unless there are 16 bytes. */
export function uuidFromBytes(bytes: Uint8Array): Uuid {
  if (bytes.length !== 16) throw new RangeError(`expected the 16 bytes of a UUID, found ${bytes.length}`);
  return withHyphens(Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString("hex"));
}

/** Returns 36 when the bytes from `at` on are a canonical UUID, otherwise 0. */
function canonicalUuidLength(bytes: Uint8Array, at: number): number {
  for (let i = 0; i < HYPHENATED; i++) {
    const code = bytes[at + i] ?? 0;
    if (isHyphenPlace(i) ? code !== MINUS : !isLowerHex(code)) return 0;
  }
  return HYPHENATED;
}

function isHyphenated(text: string, start: number, isLowerOnly: boolean): boolean {
  for (let i = 0; i < HYPHENATED; i++) {
    const code = text.charCodeAt(start + i);
    if (isHyphenPlace(i)) {
      if (code !== MINUS) return false;
    } else if (!isLowerHex(code) && (isLowerOnly || hexValue(code) < 0)) {
      return false;
    }
  }
  return true;
}

function isLowerHex(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x66);
}

function isHyphenPlace(index: number): boolean {
  return index === 8 || index === 13 || index === 18 || index === 23;
}

function withHyphens(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
