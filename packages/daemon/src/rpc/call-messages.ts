import { setImmediate as nextLoopIteration } from "node:timers/promises";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { ServerReadableStream, ServerWritableStream } from "@grpc/grpc-js";
import { readFailed } from "@bolthole/contract";
import { type Allocate, type Pause, type UnaryCodec, decodeMessage } from "@bolthole/contract/wire";
import { MessageBlocks, PREFIX_BYTES, ResponseStream } from "./response-stream.js";

/** The number of messages that may be on their way to one client: while one is sent, the next is encoded. */
const MESSAGES_AHEAD = 2;
const RECEIVER_TIMEOUT_MS = 30_000;
const SENDER_TIMEOUT_MS = 60_000;

/** A request message of this size or above is decoded in slices, between which the event loop runs. */
const LONG_REQUEST_BYTES = 64 * 1024;

/** A request message whose bytes are not decoded yet. */
export interface ReceivedMessage<D extends DescMessage = DescMessage> {
  readonly bytes: number;
  readonly buffer: Buffer;
  /** Decodes the message. Throws an InvalidArgumentError when the bytes are not such a message. */
  message(): MessageShape<D>;
}

/**
 * Returns the deserializer of a request message. Decoding is left to the handler, because grpc-js reports every error of a
 * deserializer with INTERNAL.
 */
export const receive =
  <D extends DescMessage>(desc: D) =>
  (buffer: Buffer): ReceivedMessage<D> => ({
    bytes: buffer.length,
    buffer,
    message: () => decodeMessage(desc, buffer),
  });

/** Divides long work into slices, between which the event loop runs. */
export interface Slices {
  readonly spend: Pause;
  /** Lets the event loop run now. */
  yield(): Promise<void>;
}

/** Returns the request of a unary call. Throws an InvalidArgumentError. */
export const requestOf = <Request, Response>(
  codec: UnaryCodec<Request, Response>,
  received: ReceivedMessage,
  newSlices: () => Slices,
): Request | Promise<Request> =>
  received.bytes < LONG_REQUEST_BYTES
    ? codec.decodeRequest(received.message())
    : longRequestOf(codec, received, newSlices());

async function longRequestOf<Request, Response>(
  codec: UnaryCodec<Request, Response>,
  { buffer }: ReceivedMessage,
  slices: Slices,
): Promise<Request> {
  // grpc-js has just put the message together, which takes about 1 ms for each MiB.
  await slices.yield();
  return codec.decodeLongRequest(buffer, slices.spend);
}

/** Yields the messages of a request stream. Fails with CANCELLED when no message arrives in time or the client is gone. */
export async function* receiveAll(
  call: ServerReadableStream<ReceivedMessage, object>,
): AsyncGenerator<MessageShape<DescMessage>> {
  const timeout = setTimeout(() => {
    call.destroy(readFailed("CANCELLED", `the client sent nothing for ${String(SENDER_TIMEOUT_MS / 1000)} s`));
  }, SENDER_TIMEOUT_MS);
  try {
    for await (const received of call as AsyncIterable<ReceivedMessage>) {
      timeout.refresh();
      yield received.message();
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
 * Sends the messages of a response, and then ends the call. Ends without an error when the client is gone, and fails with CANCELLED
 * when the client receives nothing for too long.
 */
export async function sendAll<Message>(
  call: ServerWritableStream<unknown, object>,
  messages: AsyncIterable<Message>,
  encode: (message: Message, allocate: Allocate) => Buffer,
): Promise<void> {
  const sender = new MessageSender(call);
  for await (const message of messages) {
    const isWanted = await sender.send((allocate) => encode(message, allocate));
    if (!isWanted) return;
  }
  call.end();
}

/** The memory of the messages of all calls. */
const blocks = new MessageBlocks();

/** The messages that are on their way to one client. At most MESSAGES_AHEAD are held for a slow one. */
class MessageSender {
  private unsent = 0;
  private proceed: (() => void) | undefined;
  private readonly stream: ResponseStream;

  constructor(call: ServerWritableStream<unknown, object>) {
    this.stream = new ResponseStream(call);
    call.once("cancelled", () => this.proceed?.());
  }

  /** Resolves to true when the next message may be sent, or to false when the client is gone. */
  async send(encode: (allocate: Allocate) => Buffer): Promise<boolean> {
    if (this.stream.isOver()) return false;
    let block: Buffer | undefined;
    const message = encode((bytes) => {
      block = blocks.take(PREFIX_BYTES + bytes);
      return block.subarray(PREFIX_BYTES, PREFIX_BYTES + bytes);
    });
    this.unsent += 1;
    this.stream.write(block?.subarray(0, PREFIX_BYTES + message.length) ?? withPrefix(message), (error) => {
      // After an error, HTTP/2 may still be sending the memory.
      if (block && !error) blocks.giveBack(block);
      this.unsent -= 1;
      this.proceed?.();
    });
    // The message is written to the socket after this iteration of the event loop, so the next one is encoded while it is sent.
    await nextLoopIteration();
    while (this.unsent >= MESSAGES_AHEAD && !this.stream.isOver()) await this.progress();
    return !this.stream.isOver();
  }

  private async progress(): Promise<void> {
    let timeout: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        this.proceed = resolve;
        timeout = setTimeout(() => {
          reject(readFailed("CANCELLED", `the client received nothing for ${String(RECEIVER_TIMEOUT_MS / 1000)} s`));
        }, RECEIVER_TIMEOUT_MS);
      });
    } finally {
      clearTimeout(timeout);
      this.proceed = undefined;
    }
  }
}

/** Returns a copy of a message with space for its prefix. */
function withPrefix(message: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  framed.set(message, PREFIX_BYTES);
  return framed;
}
