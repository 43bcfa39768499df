import { once } from "node:events";
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import {
  Client,
  type ClientReadableStream,
  type ClientWritableStream,
  Metadata,
  type ServiceError,
  connectivityState,
  credentials,
  status,
} from "@grpc/grpc-js";
import type { Call, StoreErrorReason } from "@bolthole/contract";
import { StoreError } from "@bolthole/contract";
import { type GrpcMethod, STATUS_DETAILS_KEY, fromWireStatus } from "@bolthole/contract/wire";
import type { ResolvedOptions } from "./connect-options.js";
import { LostResponseError, MAX_PAUSE_MS, callWithRetries } from "./retries.js";

export type ConnectionOptions = Pick<ResolvedOptions, "token" | "timeoutMs" | "maxMessageBytes" | "keepAliveMs">;

/** One gRPC channel to a daemon, with deadlines, cancellation and retries. Every failed call rejects with a `StoreError`. */
export class GrpcConnection {
  private readonly client: Client;
  private readonly metadata = new Metadata();
  private maxRequestBytes: number;

  constructor(
    private readonly target: string,
    private readonly options: ConnectionOptions,
  ) {
    this.client = new Client(target, credentials.createInsecure(), {
      "grpc.max_receive_message_length": options.maxMessageBytes,
      "grpc.max_send_message_length": options.maxMessageBytes,
      "grpc-node.flow_control_window": 1 << 20,
      // The path of a unix socket is not a valid host name.
      "grpc.default_authority": "localhost",
      // Without pings, every call on a dead connection would wait until its deadline.
      "grpc.keepalive_time_ms": options.keepAliveMs,
      "grpc.keepalive_timeout_ms": options.keepAliveMs,
      "grpc.initial_reconnect_backoff_ms": 50,
      "grpc.min_reconnect_backoff_ms": 50,
      "grpc.max_reconnect_backoff_ms": MAX_PAUSE_MS,
      // Only our own retries repeat the request id; and two layers of retries would multiply the attempts.
      "grpc.enable_retries": 0,
    });
    this.maxRequestBytes = options.maxMessageBytes;
    if (options.token !== undefined) this.metadata.set("authorization", `Bearer ${options.token}`);
  }

  /**
   * Limits the size of requests to that of the daemon. A larger one would be refused by gRPC, without the daemon's error
   * details, so that the outcome would be unknown.
   */
  limitRequests(bytes: number): void {
    // A daemon that does not name its limit returns 0.
    if (bytes > 0) this.maxRequestBytes = Math.min(bytes, this.options.maxMessageBytes);
  }

  /**
   * Sends one encoded request and returns its response. Retries until the deadline. `requestId` must be the request id
   * inside `message` when the method is a mutation, and undefined otherwise.
   */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: GrpcMethod<I, O>,
    message: Buffer,
    requestId: string | undefined,
    call: Call = {},
  ): Promise<MessageShape<O>> {
    this.refuseTooLarge(message, requestId !== undefined);
    return this.withRetries(requestId, call, (deadline) =>
      this.attempt(method, message, requestId, deadline, call.signal),
    );
  }

  /** Yields the messages of a response. Retries until the first message has arrived; a later failure ends the stream. */
  async *stream<I extends DescMessage, O extends DescMessage>(
    method: GrpcMethod<I, O>,
    encode: () => Buffer,
    call: Call = {},
  ): AsyncGenerator<MessageShape<O>> {
    const message = encode();
    this.refuseTooLarge(message, false);
    const { stream, iterator, first } = await this.withRetries(undefined, call, async (deadline) => {
      const opened = this.open(method, message, deadline, call.signal);
      const messages = opened[Symbol.asyncIterator]() as AsyncIterator<MessageShape<O>>;
      try {
        return { stream: opened, iterator: messages, first: await messages.next() };
      } catch (error) {
        throw storeErrorOfCall(error as ServiceError, false);
      }
    });
    try {
      for (let next = first; next.done !== true; next = await iterator.next()) yield next.value;
    } catch (error) {
      throw error instanceof StoreError ? error : storeErrorOfCall(error as ServiceError, false);
    } finally {
      stream.cancel();
    }
  }

  /**
   * Sends a request in parts and returns its response. An upload alone changes no record, so it is retried like a load;
   * but only when `isRepeatable`, that is, when `parts` can be called again.
   */
  async upload<I extends DescMessage, O extends DescMessage>(
    method: GrpcMethod<I, O>,
    parts: () => AsyncIterable<MessageInitShape<I>>,
    isRepeatable: boolean,
    call: Call = {},
  ): Promise<MessageShape<O>> {
    const attempt = (deadline: number): Promise<MessageShape<O>> =>
      this.attemptUpload(method, parts(), deadline, call.signal);
    if (isRepeatable) return this.withRetries(undefined, call, attempt);
    const deadline = this.deadlineOf(call);
    await this.connected(deadline, call.signal, true);
    return attempt(deadline);
  }

  close(): void {
    this.client.close();
  }

  private refuseTooLarge({ length }: Buffer, isMutation: boolean): void {
    if (length <= this.maxRequestBytes) return;
    const text = `request: ${String(length)} bytes are more than the limit of ${String(this.maxRequestBytes)}; nothing was sent`;
    throw new StoreError(isMutation ? "WriteFailed" : "ReadFailed", "TOO_LARGE", text, {
      record: "request",
      expected: `at most ${String(this.maxRequestBytes)} bytes`,
      actual: `${String(length)} bytes`,
    });
  }

  /** Returns the deadline of a call that begins now, in milliseconds since the epoch. */
  deadlineOf(call: Call): number {
    return call.deadline ?? Date.now() + this.options.timeoutMs;
  }

  private withRetries<T>(
    requestId: string | undefined,
    call: Call,
    attempt: (deadline: number) => Promise<T>,
  ): Promise<T> {
    const { signal } = call;
    const endsAtMs = performance.now() + this.deadlineOf(call) - Date.now();
    // gRPC takes a deadline by the wall clock, and derives a duration from it immediately.
    const deadline = (): number => Date.now() + endsAtMs - performance.now();
    return callWithRetries({
      requestId,
      endsAtMs,
      signal,
      connect: () => this.connected(deadline(), signal, requestId !== undefined),
      attempt: () => attempt(deadline()),
    });
  }

  /** Resolves when the channel is connected. No request is sent earlier, so a failure here means: not applied. */
  private connected(deadline: number, signal: AbortSignal | undefined, isMutation: boolean): Promise<void> {
    const variant = isMutation ? "WriteFailed" : "ReadFailed";
    const aborted = (): StoreError =>
      new StoreError(variant, "CANCELLED", "the call was aborted before its request was sent: nothing was changed");
    if (signal?.aborted === true) return Promise.reject(aborted());
    if (this.client.getChannel().getConnectivityState(true) === connectivityState.READY) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        reject(aborted());
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.client.waitForReady(deadline, (error) => {
        signal?.removeEventListener("abort", abort);
        if (!error) resolve();
        else reject(new StoreError(variant, "UNAVAILABLE", this.unavailableText(), { cause: error }));
      });
    });
  }

  private unavailableText(): string {
    return (
      `expected a daemon at ${this.target}, but no connection was made before the deadline: ` +
      "check that the daemon is running and listens there"
    );
  }

  private attempt<I extends DescMessage, O extends DescMessage>(
    method: GrpcMethod<I, O>,
    message: Buffer,
    requestId: string | undefined,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      const sent = this.client.makeUnaryRequest(
        method.path,
        alreadyEncoded,
        method.responseDeserialize,
        message,
        this.metadata,
        { deadline },
        (error, response) => {
          release();
          if (response !== undefined) resolve(response);
          else reject(attemptError(error as ServiceError, requestId !== undefined));
        },
      );
      const release = cancelOnAbort(signal, sent);
    });
  }

  private attemptUpload<I extends DescMessage, O extends DescMessage>(
    method: GrpcMethod<I, O>,
    parts: AsyncIterable<MessageInitShape<I>>,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      const responded = new AbortController();
      const stream = this.client.makeClientStreamRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        this.metadata,
        { deadline },
        (error, response) => {
          release();
          responded.abort();
          if (response !== undefined) resolve(response);
          else reject(storeErrorOfCall(error as ServiceError, true));
        },
      );
      const release = cancelOnAbort(signal, stream);
      writeParts(parts, stream, responded.signal).catch((error: unknown) => {
        stream.cancel();
        reject(error instanceof StoreError ? error : storeErrorOfCall(error as ServiceError, true));
      });
    });
  }

  private open<I extends DescMessage, O extends DescMessage>(
    method: GrpcMethod<I, O>,
    message: Buffer,
    deadline: number,
    signal: AbortSignal | undefined,
  ): ClientReadableStream<MessageShape<O>> {
    const stream = this.client.makeServerStreamRequest(
      method.path,
      alreadyEncoded,
      method.responseDeserialize,
      message,
      this.metadata,
      { deadline },
    );
    stream.once("close", cancelOnAbort(signal, stream));
    return stream;
  }
}

/** Serializes for grpc-js. A request is encoded once, before its first attempt, and not again in each attempt. */
const alreadyEncoded = (message: Buffer): Buffer => message;

/** Cancels the call when the signal aborts. Returns a function that removes the listener; call it when the call ends. */
function cancelOnAbort(signal: AbortSignal | undefined, call: { cancel(): void }): () => void {
  const cancel = (): void => {
    call.cancel();
  };
  signal?.addEventListener("abort", cancel, { once: true });
  return () => signal?.removeEventListener("abort", cancel);
}

/**
 * Writes the parts as fast as the daemon reads them. Stops when the response has arrived, since the daemon may refuse an
 * upload before it has read all of it.
 */
async function writeParts<T>(
  parts: AsyncIterable<T>,
  stream: ClientWritableStream<T>,
  responded: AbortSignal,
): Promise<void> {
  for await (const part of parts) {
    if (responded.aborted) return;
    if (!stream.write(part)) await once(stream, "drain", { signal: responded }).catch(() => undefined);
  }
  stream.end();
}

/** The reasons for statuses without our error detail. gRPC itself, a proxy or another server sent them. */
const REASON_OF_STATUS: Partial<Record<status, StoreErrorReason>> = {
  [status.INVALID_ARGUMENT]: "INVALID_ARGUMENT",
  [status.RESOURCE_EXHAUSTED]: "TOO_LARGE",
  [status.UNAUTHENTICATED]: "UNAUTHENTICATED",
  [status.UNIMPLEMENTED]: "UNSUPPORTED",
  [status.UNAVAILABLE]: "UNAVAILABLE",
  [status.DEADLINE_EXCEEDED]: "DEADLINE_EXCEEDED",
  [status.CANCELLED]: "CANCELLED",
};

/** Returns the error of an attempt: the daemon's own error, or one that says that the daemon's response was lost. */
function attemptError(error: ServiceError, isMutation: boolean): StoreError | LostResponseError {
  return carriedError(error) ?? new LostResponseError(storeErrorOfCall(error, isMutation), error.code);
}

/** Returns the daemon's own error when the status carries one. */
function carriedError({ metadata }: ServiceError): StoreError | undefined {
  const [details] = metadata.get(STATUS_DETAILS_KEY);
  return details instanceof Buffer ? fromWireStatus(details) : undefined;
}

/** How grpc-js begins the text of a stream that was reset. Its status depends on the code of the reset, whose cause is unknown. */
const RESET_TEXT = "Received RST_STREAM";

/** Returns the daemon's own error when the status carries one, and otherwise an error made from the status code. */
function storeErrorOfCall(error: ServiceError, isMutation: boolean): StoreError {
  const carried = carriedError(error);
  if (carried) return carried;
  const isReset = error.code !== status.CANCELLED && error.details.startsWith(RESET_TEXT);
  const reason = isReset ? "UNAVAILABLE" : (REASON_OF_STATUS[error.code] ?? "INTERNAL");
  if (reason === "UNSUPPORTED") return new StoreError("Unsupported", reason, error.details, { cause: error });
  if (reason === "INTERNAL") return new StoreError("Internal", reason, error.details, { cause: error });
  return new StoreError(isMutation ? "WriteFailed" : "ReadFailed", reason, error.details, { cause: error });
}
