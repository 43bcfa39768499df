import {
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
  ScalarType,
  create,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { InvalidArgumentError } from "./invalid-argument.js";

/** grpc-js takes nothing but a Buffer: wrap the bytes, never copy them. */
export const toBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Gives memory of so many bytes. */
export type Allocate = (bytes: number) => Buffer;

/** From here on a field is long: copying it costs more than writing it apart. */
const LONG_BYTES = 16 * 1024;
const NO_BYTES = new Uint8Array();

/**
 * A message's bytes. The encoder makes its memory larger and larger as it goes and then copies all of it: a long field of bytes
 * is written apart, behind the others, whose order is free, and into memory that the caller may give.
 */
export function toBytes<D extends DescMessage>(
  desc: D,
  message: MessageShape<D>,
  allocate: Allocate = Buffer.allocUnsafeSlow,
): Buffer {
  for (const field of desc.fields) {
    if (field.scalar !== ScalarType.BYTES || field.fieldKind !== "scalar" || field.oneof) continue;
    const value = (message as Record<string, unknown>)[field.localName];
    if (!(value instanceof Uint8Array) || value.length < LONG_BYTES) continue;
    const rest = toBinary(desc, { ...message, [field.localName]: NO_BYTES });
    const head = new BinaryWriter().tag(field.number, WireType.LengthDelimited).uint32(value.length).finish();
    const bytes = allocate(rest.length + head.length + value.length);
    bytes.set(rest);
    bytes.set(head, rest.length);
    bytes.set(value, rest.length + head.length);
    return bytes;
  }
  return toBuffer(toBinary(desc, message));
}

/** A message's bytes; an `InvalidArgument` that names the field when a value has no form on the wire. */
export function encodeMessage<D extends DescMessage>(desc: D, init: MessageInitShape<D>): Buffer {
  refuseLoneSurrogates(init, "");
  try {
    return toBytes(desc, create(desc, init));
  } catch (error) {
    const [, field = desc.name, problem = ""] =
      /cannot encode field \S*?(\w+) to binary: (.*)/s.exec((error as Error).message) ?? [];
    throw new InvalidArgumentError(field, "a value of the field's type", problem);
  }
}

/** The encoder would write such a text as another one, and an id must never become another id. */
function refuseLoneSurrogates(value: unknown, path: string): void {
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new InvalidArgumentError(path, "well-formed Unicode", "a lone surrogate");
  } else if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) refuseLoneSurrogates(item, `${path}[${String(index)}]`);
  } else if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value)) {
    for (const [name, member] of Object.entries(value)) {
      if (member === undefined) continue;
      refuseLoneSurrogates(name, path);
      const step = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      refuseLoneSurrogates(member, path === "" ? step : `${path}.${step}`);
    }
  }
}
