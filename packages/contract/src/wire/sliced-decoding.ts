import { type DescMessage, type MessageShape, create, fromBinary, mergeFromBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { InvalidArgumentError, type MessageCodec, type MessageList, inside } from "./message-codec.js";

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
