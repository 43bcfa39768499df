import type { Random } from "../random.js";

/** One field of an encoded protobuf message. */
interface WireField {
  readonly number: number;
  readonly wireType: number;
  /** The bytes after the tag, and after the length when there is one. */
  readonly value: Buffer;
}

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** Reads the fields of a message; undefined when the bytes are not a message. */
export function readFields(bytes: Buffer): WireField[] | undefined {
  const fields: WireField[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = readVarint(bytes, at);
    if (!tag || tag.value < 8) return undefined;
    const wireType = tag.value & 7;
    const extent = extentOf(bytes, tag.end, wireType);
    if (!extent || extent.end > bytes.length) return undefined;
    fields.push({ number: tag.value >>> 3, wireType, value: bytes.subarray(extent.start, extent.end) });
    at = extent.end;
  }
  return fields;
}

export const writeFields = (fields: readonly WireField[]): Buffer =>
  Buffer.concat(
    fields.flatMap(({ number, wireType, value }) => {
      const tag = writeVarint(BigInt(((number << 3) | wireType) >>> 0));
      return wireType === LENGTH_DELIMITED ? [tag, writeVarint(BigInt(value.length)), value] : [tag, value];
    }),
  );

function writeVarint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

function extentOf(bytes: Buffer, at: number, wireType: number): { start: number; end: number } | undefined {
  switch (wireType) {
    case VARINT: {
      const varint = readVarint(bytes, at);
      return varint && { start: at, end: varint.end };
    }
    case FIXED64:
      return { start: at, end: at + 8 };
    case FIXED32:
      return { start: at, end: at + 4 };
    case LENGTH_DELIMITED: {
      const length = readVarint(bytes, at);
      return length && { start: length.end, end: length.end + length.value };
    }
    default:
      return undefined;
  }
}

/** Reads the lowest 32 bits of a number, which is enough for tags and lengths. */
function readVarint(bytes: Buffer, from: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let index = 0; index < 10; index += 1) {
    const byte = bytes[from + index];
    if (byte === undefined) return undefined;
    if (index < 5) value |= (byte & 127) << (7 * index);
    if (byte < 128) return { value: value >>> 0, end: from + index + 1 };
  }
  return undefined;
}

const MOST_CHANGES = 3;
const VARINTS = [0n, 1n, 127n, 128n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];

/** Texts that readers often handle wrongly. */
const NASTY = [
  "",
  "\0",
  "\ufeff",
  "../../etc/passwd",
  "__proto__",
  "00000000-0000-0000-0000-000000000000",
  "not-a-uuid",
  "9999-99-99T99:99:99Z",
  "{}",
  "null",
  '{"a":'.repeat(500),
  "[".repeat(5000),
  '"\\ud800"',
  "1e999999999",
  "x".repeat(9000),
  "é".repeat(4096),
].map((text) => Buffer.from(text));
/** Bytes that are not valid UTF-8. */
const NOT_UTF8 = [Buffer.from("c328", "hex"), Buffer.from("ffffffff", "hex"), Buffer.from("eda080", "hex")];

/** Returns a valid message with one to three changes, to its fields or to its bytes. */
export function mutated(message: Buffer, other: Buffer, random: Random): Buffer {
  let result = message;
  for (let count = 1 + random.below(MOST_CHANGES); count > 0; count -= 1) {
    result = random.oneIn(4) ? changedBytes(result, other, random) : changedFields(result, other, random);
  }
  return result;
}

function changedFields(message: Buffer, other: Buffer, random: Random): Buffer {
  const fields = readFields(message);
  if (!fields || fields.length === 0) return changedBytes(message, other, random);
  const at = random.below(fields.length);
  const field = fields[at] as WireField;
  const isText = field.wireType === LENGTH_DELIMITED;
  if (isText && !random.oneIn(3) && (readFields(field.value)?.length ?? 0) > 0) {
    fields[at] = { ...field, value: changedFields(field.value, other, random) };
    return writeFields(fields);
  }
  switch (random.weighted({ value: 8, drop: 2, twice: 2, retag: 1, retype: 1, splice: 2, nest: 1, move: 1 })) {
    case "value":
      fields[at] = { ...field, value: changedValue(field, random) };
      break;
    case "drop":
      fields.splice(at, 1);
      break;
    case "twice":
      fields.splice(random.below(fields.length + 1), 0, field);
      break;
    case "retag":
      fields[at] = { ...field, number: random.oneIn(2) ? 1 + random.below(16) : 1 + random.below(1 << 28) };
      break;
    case "retype":
      fields[at] = { ...field, wireType: random.below(8) };
      break;
    case "splice":
      fields.splice(at, random.below(2), ...(readFields(other)?.slice(0, 3) ?? []));
      break;
    case "nest":
      fields[at] = { ...field, wireType: LENGTH_DELIMITED, value: nested(field, 1 + random.below(200)) };
      break;
    case "move":
      fields.push(...fields.splice(at, 1));
      break;
  }
  return writeFields(fields);
}

function nested(field: WireField, depth: number): Buffer {
  let value = field.value;
  for (let level = 0; level < depth; level += 1) {
    value = writeFields([{ number: field.number, wireType: LENGTH_DELIMITED, value }]);
  }
  return value;
}

function changedValue({ wireType, value }: WireField, random: Random): Buffer {
  if (wireType === 0) return writeVarint(VARINTS[random.below(VARINTS.length)] ?? 0n);
  if (wireType !== LENGTH_DELIMITED || random.oneIn(3)) return changedBytes(value, value, random);
  const nasty = random.oneIn(4) ? NOT_UTF8 : NASTY;
  return nasty[random.below(nasty.length)] ?? value;
}

function changedBytes(bytes: Buffer, other: Buffer, random: Random): Buffer {
  const at = random.below(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + random.below(16));
  const before = bytes.subarray(0, at);
  switch (random.weighted({ flip: 4, set: 2, remove: 2, repeat: 1, insert: 2, truncate: 1, splice: 1 })) {
    case "flip": {
      const copy = Buffer.from(bytes);
      if (at < copy.length) copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
      return copy;
    }
    case "set": {
      const copy = Buffer.from(bytes);
      if (at < copy.length) copy[at] = random.pick([0, 1, 0x22, 0x7f, 0x80, 0xff]);
      return copy;
    }
    case "remove":
      return Buffer.concat([before, bytes.subarray(end)]);
    case "repeat":
      return Buffer.concat([before, bytes.subarray(at, end), bytes.subarray(at)]);
    case "insert":
      return Buffer.concat([before, randomBytes(random, 1 + random.below(8)), bytes.subarray(at)]);
    case "truncate":
      return before;
    case "splice":
      return Buffer.concat([before, other.subarray(random.below(other.length + 1))]);
  }
}

export const randomBytes = (random: Random, length: number): Buffer =>
  Buffer.from(Array.from({ length }, () => random.below(256)));
