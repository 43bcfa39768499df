import { type DescMessage, type MessageInitShape, create, toBinary } from "@bufbuild/protobuf";
import { InvalidArgument } from "./invalid-argument.js";

/** grpc-js takes nothing but a Buffer: wrap the bytes, never copy them. */
export const toBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A message's bytes; an `InvalidArgument` that names the field when a value has no form on the wire. */
export function encodeMessage<D extends DescMessage>(desc: D, init: MessageInitShape<D>): Buffer {
  refuseLoneSurrogates(init, "");
  try {
    return toBuffer(toBinary(desc, create(desc, init)));
  } catch (error) {
    const [, field = desc.name, problem = ""] =
      /cannot encode field \S*?(\w+) to binary: (.*)/s.exec((error as Error).message) ?? [];
    throw new InvalidArgument(field, "a value of the field's type", problem);
  }
}

/** The encoder would write such a text as another one, and an id must never become another id. */
function refuseLoneSurrogates(value: unknown, path: string): void {
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new InvalidArgument(path, "well-formed Unicode", "a lone surrogate");
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
