import type { Http2Session, ServerHttp2Stream } from "node:http2";
import { Metadata, type ServerWritableStream } from "@grpc/grpc-js";
import { allocatePages } from "@bolthole/contract/wire";
import { cutOff } from "./cut-off.js";

/** The bytes before a message on the wire: whether it is compressed, and its length. */
export const PREFIX_BYTES = 5;

/** The size of a block: a message with a chunk of 1 MiB. */
const BLOCK_BYTES = (1 << 20) + 4096;
/** The most blocks that are kept for the next messages. */
const MAX_SPARE_BLOCKS = 4;

/**
 * Blocks of memory for response messages, which all calls share. A block that is used again costs no garbage: V8 counts the memory of
 * buffers when it decides to collect, and one load of a long document in new memory is enough for a collection of the whole heap.
 */
export class MessageBlocks {
  private readonly spare: Buffer[] = [];

  /** Returns memory of at least this size. */
  take(bytes: number): Buffer {
    if (bytes > BLOCK_BYTES) return allocatePages(bytes);
    return this.spare.pop() ?? allocatePages(BLOCK_BYTES);
  }

  /** Takes memory back that nothing will read any more. */
  giveBack(block: Buffer): void {
    if (block.length === BLOCK_BYTES && this.spare.length < MAX_SPARE_BLOCKS) this.spare.push(block);
  }
}

/** Returns the headers of a response. Those of grpc-js would say that compressed messages are accepted. */
export function responseMetadata(): Metadata {
  const metadata = new Metadata();
  metadata.set("grpc-accept-encoding", "identity");
  return metadata;
}

/** A call of grpc-js, or an interceptor around one. An outer one has the next inner one, and the innermost has the stream. */
interface InnerCall {
  readonly call?: InnerCall;
  readonly nextCall?: InnerCall;
  readonly stream?: ServerHttp2Stream;
}

/**
 * Returns the HTTP/2 stream of a call. grpc-js has no method for it. Returns undefined for a version of grpc-js that keeps it
 * elsewhere; a test fails then.
 */
export function http2StreamOf(call: object): ServerHttp2Stream | undefined {
  let inner: InnerCall | undefined = call;
  while (inner && !inner.stream) inner = inner.call ?? inner.nextCall;
  return typeof inner?.stream?.respond === "function" ? inner.stream : undefined;
}

/**
 * Writes the messages of a response to the HTTP/2 stream of the call. `write` of the call copies every message into new memory to
 * put its prefix before it, and that memory can neither be chosen nor used again. Everything else is left to grpc-js:
 * the headers, the status, the deadline and the end of the stream. Interceptors do not see the messages; the daemon has none that reads them.
 */
export class ResponseStream {
  /** The stream, when messages are written to it directly. */
  private stream: ServerHttp2Stream | undefined;
  private isOpen = false;
  private readonly http2Stream: ServerHttp2Stream | undefined;

  constructor(private readonly call: ServerWritableStream<unknown, object>) {
    this.http2Stream = http2StreamOf(call);
  }

  /** The connection of the client, where it is known. */
  get session(): Http2Session | undefined {
    return this.http2Stream?.session;
  }

  /** Whether messages are written without a copy. Known after the first message. */
  get isDirect(): boolean {
    return this.stream !== undefined;
  }

  /** Whether memory that was written and sent may be used again. After its end, HTTP/2 may still be sending it. */
  get isDestroyed(): boolean {
    return this.http2Stream?.destroyed !== false;
  }

  /** Ends the call of a client that does not receive its response. */
  cutOff(): void {
    if (this.http2Stream) cutOff(this.http2Stream);
  }

  /** Calls this when the stream of the response is closed, or now if it is. */
  onceClosed(onClosed: () => void): void {
    if (!this.http2Stream || this.http2Stream.destroyed) onClosed();
    else this.http2Stream.once("close", onClosed);
  }

  /** Whether no further message can be sent: the client is gone, or the call has ended. */
  isOver(): boolean {
    return this.call.cancelled || this.stream?.writable === false;
  }

  /**
   * Sends the message that begins at PREFIX_BYTES of `framed`, and writes its prefix. `onSent` is called when the memory is not needed
   * any more, or with the error that ended the stream.
   */
  write(framed: Buffer, onSent: (error?: Error | null) => void): void {
    this.open();
    if (!this.stream) {
      this.call.write(framed.subarray(PREFIX_BYTES), onSent);
      return;
    }
    framed.writeUInt8(0, 0);
    framed.writeUInt32BE(framed.length - PREFIX_BYTES, 1);
    this.stream.write(framed, onSent);
  }

  /** Sends the headers before the first message. */
  private open(): void {
    if (this.isOpen) return;
    this.isOpen = true;
    this.call.sendMetadata(responseMetadata());
    if (this.http2Stream?.headersSent) this.stream = this.http2Stream;
  }
}
