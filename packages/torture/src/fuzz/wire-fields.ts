/** One field of a protobuf message as it lies on the wire. */
export interface WireField {
  readonly number: number;
  readonly wireType: number;
  /** Without the tag; of a length-delimited field without the length. */
  readonly value: Buffer;
}

const VARINT = 0;
const FIXED64 = 1;
export const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** The fields of a message, or undefined when the bytes are none. */
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

export function writeVarint(value: bigint): Buffer {
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

/** A number of more than 32 bits has its lowest 32 only: tags and lengths have no more. */
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
