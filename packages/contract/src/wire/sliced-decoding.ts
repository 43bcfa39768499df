import {
  type DescField,
  type DescMessage,
  type Message,
  type MessageShape,
  create,
  fromBinary,
  mergeFromBinary,
} from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { InvalidArgumentError, type MessageCodec, inside } from "./message-codec.js";
import { emptyMessageBytes, structureBytes } from "./structure-size.js";

/** Returns the message in these bytes. Throws an `InvalidArgumentError` when they are not such a message. */
export const decodeMessage = <D extends DescMessage>(desc: D, bytes: Uint8Array): MessageShape<D> =>
  parsing(desc, () => fromBinary(desc, bytes));

/**
 * Returns about how many bytes the objects of a message need in memory, beside its own bytes. Throws an `InvalidArgumentError` when the
 * bytes are not such a message.
 */
export const decodedBytes = (desc: DescMessage, bytes: Uint8Array): number =>
  parsing(desc, () => emptyMessageBytes(desc) + structureBytes(desc, bytes));

function parsing<T>(request: DescMessage, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new InvalidArgumentError("request", `a ${request.typeName} message`, (error as Error).message);
  }
}

/** Called between two steps of long work. Returns a promise when the event loop should run before the next step. */
export type Pause = () => Promise<void> | undefined;

/** Called with the bytes that the next objects need in memory, before they are made. May throw. */
export type TakeMemory = (bytes: number) => void;

/** The bytes that are decoded in one step. One text or field of bytes may be longer: it is no work. */
export const STEP_BYTES = 16 * 1024;

/**
 * Decodes a message as `decodeMessage` does, in steps of STEP_BYTES with a pause after each. `take` is called with the memory of all objects
 * before the first of them is made.
 */
export async function decodeMessageInSlices<D extends DescMessage>(
  desc: D,
  bytes: Uint8Array,
  pause: Pause,
  take: TakeMemory = () => undefined,
): Promise<MessageShape<D>> {
  const parse: Parse = (act) => parsing(desc, act);
  take(emptyMessageBytes(desc));
  await walkInSlices(bytes, measuring(desc, parse, take), parse, pause);
  const message = create(desc);
  await walkInSlices(bytes, merging(desc, parse, message), parse, pause);
  return message;
}

/** Calls a function that throws when bytes are no fields. Throws an `InvalidArgumentError` then. */
type Parse = <T>(act: () => T) => T;

/** What is done with the fields of one message. */
interface Visitor {
  readonly desc: DescMessage;
  /** Called with the bytes of some fields, in their order. */
  readonly visit: (fields: Uint8Array) => void;
  /** Returns the visitor of a long message in a field. */
  readonly enter: (field: MessageField) => Visitor;
}

const measuring = (desc: DescMessage, parse: Parse, take: TakeMemory): Visitor => ({
  desc,
  visit: (fields) => {
    take(parse(() => structureBytes(desc, fields)));
  },
  enter: (field) => {
    take(emptyMessageBytes(field.message));
    return measuring(field.message, parse, take);
  },
});

/** To merge the parts of a message one after the other is the same as to decode them together. */
const merging = (desc: DescMessage, parse: Parse, message: Message): Visitor => ({
  desc,
  visit: (fields) => {
    parse(() => mergeFromBinary(desc, message, fields));
  },
  enter: (field) => merging(field.message, parse, messageOf(message, field)),
});

/** Visits the fields of a message in steps, with a pause after each. */
async function walkInSlices(
  bytes: Uint8Array,
  { desc, visit, enter }: Visitor,
  parse: Parse,
  pause: Pause,
): Promise<void> {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const { end, long } = parse(() => nextStep(desc, reader, bytes));
    if (end > start) visit(bytes.subarray(start, end));
    if (long) await walkInSlices(long.bytes, enter(long.field), parse, pause);
    const wait = pause();
    if (wait) await wait;
  }
}

type MessageField = DescField & { readonly message: DescMessage };

/** A long message in a field, in the bytes of the message around it. */
interface LongField {
  readonly field: MessageField;
  readonly bytes: Uint8Array;
}

/** Finds the end of the next step, or the next long message before it, and moves the reader behind both. */
function nextStep(
  desc: DescMessage,
  reader: BinaryReader,
  bytes: Uint8Array,
): { readonly end: number; readonly long?: LongField } {
  const fields = messageFieldsOf(desc);
  const start = reader.pos;
  while (reader.pos < reader.len && reader.pos - start < STEP_BYTES) {
    const end = reader.pos;
    const [number, wireType] = reader.tag();
    const field = wireType === WireType.LengthDelimited ? fields.get(number) : undefined;
    if (!field) {
      reader.skip(wireType, number);
      continue;
    }
    const length = reader.uint32();
    const from = reader.pos;
    if (from + length > reader.len) throw new RangeError("premature EOF");
    reader.pos += length;
    if (length >= STEP_BYTES) return { end, long: { field, bytes: bytes.subarray(from, reader.pos) } };
  }
  return { end: reader.pos };
}

const messageFields = new Map<DescMessage, ReadonlyMap<number, MessageField>>();

/** Returns the fields that are messages, or lists of messages, by their numbers. The messages of a map are decoded with their map. */
function messageFieldsOf(desc: DescMessage): ReadonlyMap<number, MessageField> {
  const known = messageFields.get(desc);
  if (known) return known;
  const fields = desc.fields.filter(
    (field): field is MessageField => field.fieldKind !== "map" && field.message !== undefined,
  );
  const found = new Map(fields.map((field) => [field.number, field]));
  messageFields.set(desc, found);
  return found;
}

/** Returns the message in a field of a message, or a new one. A list gets a new one at its end. */
function messageOf(message: Message, field: MessageField): Message {
  const members = message as unknown as Record<string, unknown>;
  const { localName } = field;
  if (field.fieldKind === "list") {
    const added = create(field.message);
    (members[localName] as Message[]).push(added);
    return added;
  }
  if (field.oneof) {
    const oneof = members[field.oneof.localName] as { readonly case?: string; readonly value?: Message };
    if (oneof.case === localName && oneof.value) return oneof.value;
    const value = create(field.message);
    members[field.oneof.localName] = { case: localName, value };
    return value;
  }
  return (members[localName] ??= create(field.message)) as Message;
}

/** Returns the model value of a message, with a pause after each element of a list of messages. The lists of the message are emptied. */
export async function modelInSlices<D extends DescMessage, Model>(
  codec: MessageCodec<MessageShape<D>, Model>,
  message: MessageShape<D>,
  pause: Pause,
): Promise<Model> {
  const members = message as Record<string, unknown>;
  const lists = codec.lists.map((list) => ({ ...list, elements: members[list.field.localName] as unknown[] }));
  for (const { field } of lists) members[field.localName] = [];
  const model = codec.toModel(message) as Record<string, unknown>;
  for (const { field, modelName, item, elements } of lists) {
    const items: unknown[] = [];
    for (const [index, element] of elements.entries()) {
      // The memory of the element is free as soon as the model has its value.
      elements[index] = undefined;
      try {
        items.push(item.toModel(element));
      } catch (error) {
        throw inside(field.name, inside(`[${String(index)}]`, error));
      }
      const wait = pause();
      if (wait) await wait;
    }
    model[modelName] = items;
  }
  return model as Model;
}
