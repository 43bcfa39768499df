import {
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  type MessageShape,
  ScalarType,
  create,
  fromBinary,
  mergeFromBinary,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { InvalidArgumentError, type MessageCodec, type MessageList, inside } from "./message-codec.js";

/** Returns memory for a serialised message. */
export type Allocate = (bytes: number) => Buffer;

/** Fields of this size and above are copied apart from the other fields: copying them once saves more than it costs. */
const LONG_BYTES = 16 * 1024;
const NO_BYTES = new Uint8Array();

// grpc-js accepts only a Buffer. This one shares the memory of the bytes.
const toBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/**
 * Returns the bytes of a message. protobuf-es grows its memory while it writes and copies all of it at the end. Therefore
 * a long field of bytes is written apart, after the other fields (their order is free), into memory of `allocate`.
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

/** Returns the bytes of a request. Throws an `InvalidArgumentError` that names the field without a form on the wire. */
export function encodeMessage<D extends DescMessage>(desc: D, init: MessageInitShape<D>): Buffer {
  refuseLoneSurrogates(init);
  try {
    return toBytes(desc, create(desc, init));
  } catch (error) {
    const [, field = desc.name, problem = ""] =
      /cannot encode field \S*?(\w+) to binary: (.*)/s.exec((error as Error).message) ?? [];
    throw new InvalidArgumentError(field, "a value of the field's type", problem);
  }
}

/** Returns the message in these bytes. Throws an `InvalidArgumentError` when they are not such a message. */
export const decodeMessage = <D extends DescMessage>(desc: D, bytes: Uint8Array): MessageShape<D> =>
  parsing(desc, () => fromBinary(desc, bytes));

function parsing<T>(request: DescMessage, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new InvalidArgumentError("request", `a ${request.typeName} message`, (error as Error).message);
  }
}

/** Called between two steps of long work. Returns a promise when the event loop should run before the next step. */
export type Pause = () => Promise<void> | undefined;

/**
 * Returns the model value of the message in these bytes. Each element of a list of messages is decoded and converted in a step
 * of its own, with a pause between two steps: protobuf-es decodes a whole message without any.
 */
export async function decodeInSlices<D extends DescMessage, Model>(
  desc: D,
  codec: MessageCodec<MessageShape<D>, Model>,
  bytes: Uint8Array,
  pause: Pause,
): Promise<Model> {
  const { message, elements } = parsing(desc, () => separateLists(desc, codec.lists, bytes));
  const model = codec.toModel(message) as Record<string, unknown>;
  for (const { field, modelName, item } of codec.lists) {
    const items: unknown[] = [];
    for (const element of elements.get(field.number) ?? []) {
      const wire = parsing(desc, () => fromBinary(field.message, element));
      try {
        items.push(item.toModel(wire));
      } catch (error) {
        throw inside(field.name, inside(`[${String(items.length)}]`, error));
      }
      const wait = pause();
      if (wait) await wait;
    }
    model[modelName] = items;
  }
  return model as Model;
}

/** Returns a message without its lists of messages, and the bytes of their elements by the number of the field. */
function separateLists<D extends DescMessage>(
  desc: D,
  lists: readonly MessageList[],
  bytes: Uint8Array,
): { message: MessageShape<D>; elements: ReadonlyMap<number, readonly Uint8Array[]> } {
  const elements = new Map<number, Uint8Array[]>(lists.map(({ field }) => [field.number, []]));
  const message = create(desc);
  const reader = new BinaryReader(bytes);
  let start = 0;
  const mergeOthers = (end: number): void => {
    // Merging the parts of a message one after the other is the same as decoding them together.
    if (end > start) mergeFromBinary(desc, message, bytes.subarray(start, end));
    start = reader.pos;
  };
  while (reader.pos < reader.len) {
    const position = reader.pos;
    const [number, wireType] = reader.tag();
    const list = elements.get(number);
    if (list) {
      list.push(reader.bytes());
      mergeOthers(position);
    } else {
      reader.skip(wireType, number);
    }
  }
  mergeOthers(reader.pos);
  return { message, elements };
}

/** protobuf-es replaces a lone surrogate by another character, and an id must never become another id. */
function refuseLoneSurrogates(value: unknown): void {
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new InvalidArgumentError("", "well-formed Unicode", "a lone surrogate");
    return;
  }
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return;
  const isList = Array.isArray(value);
  for (const [name, member] of Object.entries(value)) {
    if (!isList) refuseLoneSurrogates(name);
    try {
      refuseLoneSurrogates(member);
    } catch (error) {
      throw inside(isList ? `[${name}]` : snakeCase(name), error);
    }
  }
}

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** The path of one RPC and the serialisation of its messages, in the form that grpc-js needs. */
export interface GrpcMethod<I extends DescMessage, O extends DescMessage> {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (request: MessageInitShape<I>) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => MessageShape<I>;
  readonly responseSerialize: (response: MessageInitShape<O>, allocate?: Allocate) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => MessageShape<O>;
}

/** Returns the definition of an RPC for a grpc-js client or server. */
export function grpcMethod<I extends DescMessage, O extends DescMessage>(
  method: DescMethod & { readonly input: I; readonly output: O },
): GrpcMethod<I, O> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
    responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
    requestSerialize: serializer(method.input),
    requestDeserialize: deserializer(method.input),
    responseSerialize: serializer(method.output),
    responseDeserialize: deserializer(method.output),
  };
}

const serializer =
  <D extends DescMessage>(desc: D) =>
  (init: MessageInitShape<D>, allocate?: Allocate): Buffer =>
    toBytes(desc, create(desc, init), allocate);

const deserializer =
  <D extends DescMessage>(desc: D) =>
  (bytes: Buffer): MessageShape<D> =>
    fromBinary(desc, bytes);
