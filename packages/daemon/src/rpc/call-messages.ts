import { setImmediate as nextLoopIteration } from "node:timers/promises";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { ServerReadableStream, ServerWritableStream } from "@grpc/grpc-js";
import { readFailed, writeFailed } from "@bolthole/contract";
import {
  type Allocate,
  type Pause,
  type TakeMemory,
  type UnaryCodec,
  decodeMessage,
  decodeMessageInSlices,
  decodedBytes,
} from "@bolthole/contract/wire";
import { LongMessage } from "./long-message.js";
import type { ResponseBudget, TakenMemory, Wait } from "./response-budget.js";
import { type RequestMemory, requestMemoryOf } from "./request-memory.js";
import { MessageBlocks, PREFIX_BYTES, ResponseStream, http2StreamOf } from "./response-stream.js";

/** The number of messages that may be on their way to one client: while one is sent, the next is encoded. */
const MESSAGES_AHEAD = 2;
const RECEIVER_TIMEOUT_MS = 30_000;
const SENDER_TIMEOUT_MS = 60_000;
const MIN_BYTES_PER_SECOND = 16 * 1024;
/** A longer timer would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The objects of a shorter message need little memory, whatever is in it. */
const SHORT_REQUEST_BYTES = 128;
/** A request message of this size or above is decoded in slices, between which the event loop runs. */
const LONG_REQUEST_BYTES = 64 * 1024;

/** A request message whose bytes are not decoded yet. */
export interface ReceivedMessage<D extends DescMessage = DescMessage> {
  readonly desc: D;
  readonly content: Buffer | LongMessage;
}

/**
 * Returns the deserializer of a request message. Decoding is left to the handler, because grpc-js reports every error of a
 * deserializer with INTERNAL.
 */
export const receive =
  <D extends DescMessage>(desc: D) =>
  (buffer: Buffer): ReceivedMessage<D> => ({ desc, content: LongMessage.find(buffer) ?? buffer });

/** Divides long work into slices, between which the event loop runs. */
export interface Slices {
  readonly spend: Pause;
  /** Lets the event loop run now. */
  yield(): Promise<void>;
}

const bytesOf = ({ content }: ReceivedMessage): number =>
  content instanceof LongMessage ? content.bytes : content.length;

/** Whether a message is decoded in slices. */
const isLong = (received: ReceivedMessage): boolean => bytesOf(received) >= LONG_REQUEST_BYTES;

/**
 * Decodes a message. Takes memory for its objects before they are made, which is the more the shorter its fields are. Throws an
 * InvalidArgumentError, and what `take` throws.
 */
export function decoded<D extends DescMessage>(
  received: ReceivedMessage<D>,
  newSlices: () => Slices,
  take: TakeMemory,
): MessageShape<D> | Promise<MessageShape<D>> {
  const { desc, content } = received;
  if (content instanceof LongMessage || isLong(received)) return decodedInSlices(received, newSlices(), take);
  if (content.length >= SHORT_REQUEST_BYTES) take(decodedBytes(desc, content));
  return decodeMessage(desc, content);
}

async function decodedInSlices<D extends DescMessage>(
  { desc, content }: ReceivedMessage<D>,
  slices: Slices,
  take: TakeMemory,
): Promise<MessageShape<D>> {
  const bytes = content instanceof LongMessage ? await content.assemble(slices.spend) : content;
  return decodeMessageInSlices(desc, bytes, slices.spend, take);
}

/** Returns the request of a unary call with this message. Throws an InvalidArgumentError. */
export const requestOf = <Request, Response>(
  codec: UnaryCodec<Request, Response>,
  received: ReceivedMessage,
  message: MessageShape<DescMessage>,
  newSlices: () => Slices,
): Request | Promise<Request> =>
  isLong(received) ? codec.decodeLongRequest(message, newSlices().spend) : codec.decodeRequest(message);

/** Yields the messages of a request stream. Fails with CANCELLED when no message arrives in time or the client is gone. */
export async function* receiveAll(
  call: ServerReadableStream<ReceivedMessage, object>,
  newSlices: () => Slices,
): AsyncGenerator<MessageShape<DescMessage>> {
  const memory = new MemoryOfMessages(requestMemoryOf(http2StreamOf(call)));
  const pace = new SenderPace();
  const expectMessage = (): NodeJS.Timeout =>
    setTimeout(() => {
      call.destroy(readFailed("CANCELLED", pace.describe()));
    }, pace.wait());
  let timeout = expectMessage();
  try {
    for await (const received of call as AsyncIterable<ReceivedMessage>) {
      // The time that the reader takes for a message is none of the client's.
      clearTimeout(timeout);
      pace.received(bytesOf(received));
      yield await decoded(received, newSlices, memory.take);
      memory.next();
      timeout = expectMessage();
    }
    if (call.cancelled) throw readFailed("CANCELLED", "the client cancelled the call");
  } catch (error) {
    const isCutOff = (error as NodeJS.ErrnoException).code === "ERR_STREAM_PREMATURE_CLOSE";
    throw isCutOff ? readFailed("CANCELLED", "the client closed the request stream early", { cause: error }) : error;
  } finally {
    clearTimeout(timeout);
  }
}

/**
 * The time that the daemon has waited for a client to send. A client may rest for SENDER_TIMEOUT_MS in the whole of its request stream, and
 * a second more for each MIN_BYTES_PER_SECOND that it has sent: one that sends next to nothing does not keep its place.
 */
class SenderPace {
  private bytes = 0;
  private waitedMs = 0;
  private waitsSince = 0;

  /** Begins to wait for the next message. Returns the milliseconds that it may take. */
  wait(): number {
    this.waitsSince = performance.now();
    const left = SENDER_TIMEOUT_MS + (this.bytes / MIN_BYTES_PER_SECOND) * 1000 - this.waitedMs;
    return Math.min(LONGEST_TIMER_MS, Math.max(0, left));
  }

  received(bytes: number): void {
    this.bytes += bytes;
    this.waitedMs += performance.now() - this.waitsSince;
  }

  describe(): string {
    const seconds = Math.round((this.waitedMs + performance.now() - this.waitsSince) / 1000);
    return `the client sent ${String(this.bytes)} bytes in the ${String(seconds)} s that the daemon waited for it`;
  }
}

/** The memory of the messages of a request stream. Its receiver has no more than the last two. */
class MemoryOfMessages {
  private last = 0;
  private secondLast = 0;

  constructor(private readonly memory: RequestMemory | undefined) {}

  readonly take: TakeMemory = (bytes) => {
    this.memory?.takeDecoded(bytes, writeFailed);
    this.last += bytes;
  };

  /** Call it when the receiver asks for the next message. */
  next(): void {
    if (this.secondLast > 0) this.memory?.giveBackDecoded(this.secondLast);
    this.secondLast = this.last;
    this.last = 0;
  }
}

/** The blocks for the messages of all calls. */
const blocks = new MessageBlocks();

/** The memory of a call that sends a long document: what it reads ahead, and the messages that its client has not received yet. */
const READER_BYTES = 4 * 1024 * 1024;
/** A shorter document is in memory as often as this while it is sent. */
const COPIES = 3;
/** A longer message is sent from a block: until it is received, ordinary memory would be divided by it, and stay with the process. */
const BLOCK_MESSAGE_BYTES = 64 * 1024;
/** The memory of a response beside that of its document. */
const MARGIN_BYTES = 4096;

/** Sends the messages of a response to one client. At most MESSAGES_AHEAD are held for a slow one. */
export class MessageSender {
  private unsent = 0;
  private proceed: (() => void) | undefined;
  private memory: TakenMemory | undefined;
  private readonly stream: ResponseStream;
  private readonly wait: Wait = {};

  private readonly budget: ResponseBudget;
  private readonly newSlices: () => Slices;

  constructor(
    private readonly call: ServerWritableStream<unknown, object>,
    { responses, newSlices }: { readonly responses: ResponseBudget; readonly newSlices: () => Slices },
  ) {
    this.budget = responses;
    this.newSlices = newSlices;
    this.stream = new ResponseStream(call);
    call.once("cancelled", () => {
      this.proceed?.();
      this.wait.cancel?.();
    });
  }

  /**
   * Takes memory for the response until the client has received all of it. Call it before the response is made: a document that is open
   * keeps its version in the store. Resolves to false when the client is gone, and fails with BUSY when it waits too long. Calls that have
   * waited go on in iterations of the event loop of their own.
   */
  async takeMemory(): Promise<boolean> {
    if (this.stream.isOver()) return false;
    const { session } = this.stream;
    let memory = this.budget.takeNow(session, READER_BYTES);
    if (!memory) {
      memory = await this.budget.take(session, READER_BYTES, this.wait);
      if (!memory) return false;
      await this.newSlices().yield();
    }
    this.memory = memory;
    this.stream.onceClosed(() => {
      memory.giveBack();
    });
    return !this.stream.isOver();
  }

  /**
   * Sends the messages of a response, and then ends the call. `documentBytes` is the size of the document that the messages carry
   * together, if it is known. Ends without an error when the client is gone, and fails with CANCELLED when it receives nothing for too long.
   */
  async sendAll<Message>(
    messages: AsyncIterable<Message>,
    encode: (message: Message, allocate: Allocate) => Buffer,
    documentBytes = Infinity,
  ): Promise<void> {
    this.memory?.shrinkTo(COPIES * documentBytes + MARGIN_BYTES);
    for await (const message of messages) {
      const isWanted = await this.send((allocate) => encode(message, allocate));
      if (!isWanted) return;
    }
    this.call.end();
  }

  /**
   * Sends the only message of a response, ends the call, and does not wait until the client has received it. While others wait for memory, a
   * client that does not receive it is cut off.
   */
  sendOne(encode: (allocate: Allocate) => Buffer): void {
    if (this.stream.isOver()) return;
    const bytes = this.write(encode);
    this.call.end();
    if (bytes < BLOCK_MESSAGE_BYTES) {
      this.memory?.shrinkTo(bytes + MARGIN_BYTES);
      return;
    }
    // A long message keeps all that was taken: the next load, which costs as much, does not begin before a client has received one.
    const endStall = this.budget.noteStall(() => {
      this.stream.cutOff();
    });
    this.stream.onceClosed(endStall);
  }

  /** Resolves to true when the next message may be sent, or to false when the client is gone. */
  private async send(encode: (allocate: Allocate) => Buffer): Promise<boolean> {
    if (this.stream.isOver()) return false;
    this.write(encode);
    // The message is written to the socket after this iteration of the event loop, so the next one is encoded while it is sent.
    await nextLoopIteration();
    while (this.unsent >= MESSAGES_AHEAD && !this.stream.isOver()) await this.progress();
    return !this.stream.isOver();
  }

  /** Writes a message, and returns its size. */
  private write(encode: (allocate: Allocate) => Buffer): number {
    let block: Buffer | undefined;
    const message = encode((bytes) => {
      block = blocks.take(PREFIX_BYTES + bytes);
      return block.subarray(PREFIX_BYTES, PREFIX_BYTES + bytes);
    });
    // Only a message with a long input row is longer than the memory that is taken.
    this.memory?.growTo(MESSAGES_AHEAD * message.length);
    this.unsent += 1;
    block ??= message.length >= BLOCK_MESSAGE_BYTES ? blocks.take(PREFIX_BYTES + message.length) : undefined;
    this.stream.write(withPrefix(message, block), (error) => {
      if (block && !error && !this.stream.isDestroyed) blocks.giveBack(block);
      this.unsent -= 1;
      this.proceed?.();
    });
    return message.length;
  }

  private async progress(): Promise<void> {
    const since = Date.now();
    let timeout: NodeJS.Timeout | undefined;
    let endStall: (() => void) | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        this.proceed = resolve;
        const cutOff = (): void => {
          const seconds = Math.round((Date.now() - since) / 1000);
          this.stream.cutOff();
          reject(readFailed("CANCELLED", `the client received nothing for ${String(seconds)} s`));
        };
        timeout = setTimeout(cutOff, RECEIVER_TIMEOUT_MS);
        endStall = this.budget.noteStall(cutOff);
      });
    } finally {
      clearTimeout(timeout);
      endStall?.();
      this.proceed = undefined;
    }
  }
}

/** Returns a message with space for its prefix: in its block, where it may be already, or in new memory. */
function withPrefix(message: Buffer, block: Buffer = Buffer.allocUnsafe(PREFIX_BYTES + message.length)): Buffer {
  const framed = block.subarray(0, PREFIX_BYTES + message.length);
  if (message.buffer !== block.buffer) framed.set(message, PREFIX_BYTES);
  return framed;
}
