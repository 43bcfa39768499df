import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/*
 * A message of a few bytes can be an object of a hundred: a list of empty messages needs fifty times the memory of its bytes. The figures
 * are those of V8 for the messages of protobuf-es, rounded up.
 */
const MESSAGE_BYTES = 112;
const MEMBER_BYTES = 8;
const LIST_BYTES = 40;
const LIST_ENTRY_BYTES = 8;
const MAP_ENTRY_BYTES = 96;
const STRING_BYTES = 32;
/** A view of the bytes of the message. */
const VIEW_BYTES = 144;
const BIGINT_BYTES = 32;
/** A field that the type of the message does not have is kept with its number. */
const UNKNOWN_FIELD_BYTES = 176;

/** What the objects of one message type need. */
interface Structure {
  /** The memory of a message without fields, in bytes. */
  readonly bytes: number;
  readonly fields: ReadonlyMap<number, FieldStructure>;
}

interface FieldStructure {
  readonly wireType: WireType;
  /** The memory of one occurrence of the field, without its message, in bytes. */
  readonly bytes: number;
  /** The memory for each byte of the value: a text is copied, and a packed list may have an element in each byte. */
  readonly byteBytes: number;
  /** Whether its elements may be packed into one occurrence. */
  readonly isPackable: boolean;
  /** Returns the structure of its message. */
  readonly message: (() => Structure) | undefined;
}

const structures = new Map<DescMessage, Structure>();

function structureOf(desc: DescMessage): Structure {
  const known = structures.get(desc);
  if (known) return known;
  const bytes = desc.fields.reduce(
    (sum, { fieldKind }) => sum + MEMBER_BYTES + (fieldKind === "list" || fieldKind === "map" ? LIST_BYTES : 0),
    MESSAGE_BYTES,
  );
  const structure = { bytes, fields: new Map(desc.fields.map((field) => [field.number, fieldStructure(field)])) };
  structures.set(desc, structure);
  return structure;
}

function fieldStructure(field: DescField): FieldStructure {
  const { message, scalar } = field;
  const inList = field.fieldKind === "list" ? LIST_ENTRY_BYTES : 0;
  if (field.fieldKind === "map") {
    const entry: Structure = {
      bytes: MAP_ENTRY_BYTES,
      fields: new Map([[MAP_VALUE, valueStructure(message, scalar, 0)]]),
    };
    return { wireType: WireType.LengthDelimited, bytes: 0, byteBytes: 0, isPackable: false, message: () => entry };
  }
  const structure = valueStructure(message, scalar, inList);
  const isPackable = field.fieldKind === "list" && structure.wireType !== WireType.LengthDelimited;
  return isPackable ? { ...structure, isPackable, byteBytes: structure.bytes } : structure;
}

/** The number of the field of a value in an entry of a map. */
const MAP_VALUE = 2;

const valueStructure = (
  message: DescMessage | undefined,
  scalar: ScalarType | undefined,
  inList: number,
): FieldStructure => ({
  wireType: message ? WireType.LengthDelimited : wireTypeOf(scalar),
  bytes: inList + (message ? 0 : scalarBytes(scalar)),
  byteBytes: scalar === ScalarType.STRING && !message ? 1 : 0,
  isPackable: false,
  message: message && ((): Structure => structureOf(message)),
});

const WIRE_TYPES: Partial<Record<ScalarType, WireType>> = {
  [ScalarType.STRING]: WireType.LengthDelimited,
  [ScalarType.BYTES]: WireType.LengthDelimited,
  [ScalarType.DOUBLE]: WireType.Bit64,
  [ScalarType.FIXED64]: WireType.Bit64,
  [ScalarType.SFIXED64]: WireType.Bit64,
  [ScalarType.FLOAT]: WireType.Bit32,
  [ScalarType.FIXED32]: WireType.Bit32,
  [ScalarType.SFIXED32]: WireType.Bit32,
};

/** Returns the wire type of a scalar. An enum has no scalar, and is a number. */
const wireTypeOf = (scalar: ScalarType | undefined): WireType =>
  (scalar === undefined ? undefined : WIRE_TYPES[scalar]) ?? WireType.Varint;

const LONG_NUMBERS: readonly (ScalarType | undefined)[] = [
  ScalarType.INT64,
  ScalarType.UINT64,
  ScalarType.SINT64,
  ScalarType.FIXED64,
  ScalarType.SFIXED64,
];

function scalarBytes(scalar: ScalarType | undefined): number {
  if (scalar === ScalarType.STRING) return STRING_BYTES;
  if (scalar === ScalarType.BYTES) return VIEW_BYTES;
  return LONG_NUMBERS.includes(scalar) ? BIGINT_BYTES : MEMBER_BYTES;
}

/** Returns about how many bytes a message without fields needs in memory. */
export const emptyMessageBytes = (desc: DescMessage): number => structureOf(desc).bytes;

/**
 * Returns about how many bytes the objects of a message need in memory, beside its own bytes. `bytes` are fields of the message, which is
 * not decoded. Throws when they are no fields.
 */
export function structureBytes(desc: DescMessage, bytes: Uint8Array): number {
  const reader = new BinaryReader(bytes);
  return fieldBytes(structureOf(desc), reader, reader.len);
}

function fieldBytes({ fields }: Structure, reader: BinaryReader, end: number): number {
  let sum = 0;
  while (reader.pos < end) {
    const [number, wireType] = reader.tag();
    const field = fields.get(number);
    if (!field) {
      reader.skip(wireType, number);
      sum += UNKNOWN_FIELD_BYTES;
    } else if (wireType !== field.wireType && !(field.isPackable && wireType === WireType.LengthDelimited)) {
      // protobuf-es reads such a field as if it had the right wire type, and so finds other bytes than those that are counted.
      throw new RangeError(`field ${String(number)} has the wire type ${String(wireType)}`);
    } else if (wireType !== WireType.LengthDelimited) {
      reader.skip(wireType, number);
      sum += field.bytes;
    } else {
      sum += lengthDelimitedBytes(field, reader, end);
    }
  }
  return sum;
}

function lengthDelimitedBytes(
  { bytes, byteBytes, message }: FieldStructure,
  reader: BinaryReader,
  end: number,
): number {
  const length = reader.uint32();
  const next = reader.pos + length;
  if (next > end) throw new RangeError("premature EOF");
  if (!message) {
    reader.pos = next;
    return bytes + byteBytes * length;
  }
  const structure = message();
  return bytes + structure.bytes + fieldBytes(structure, reader, next);
}
