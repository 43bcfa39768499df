import { once } from "node:events";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
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
import type { Call, Fail, StoreErrorReason } from "@bolthole/contract";
import { MAX_TIMEOUT_MS, StoreError } from "@bolthole/contract";
import { type GrpcMethod, STATUS_DETAILS_KEY, fromWireStatus } from "@bolthole/contract/wire";
import { onAbort } from "./abort-signals.js";
import type { ResolvedOptions } from "./connect-options.js";
import { LostResponseError, MAX_PAUSE_MS, callWithRetries } from "./retries.js";
import { type Target, connectionProblem, isLocal } from "./target.js";

export type ConnectionOptions = Pick<ResolvedOptions, "token" | "timeoutMs" | "maxMessageBytes" | "keepAliveMs">;

/** One gRPC channel to a daemon, with deadlines, cancellation and retries. Every failed call rejects with a `StoreError`. */
export class GrpcConnection {
  private readonly client: Client;
  private readonly metadata = new Metadata();
  private maxRequestBytes: number;
  private isClosed = false;

  constructor(
    private readonly target: Target,
    private readonly options: ConnectionOptions,
  ) {
    this.client = new Client(target.address, credentials.createInsecure(), {
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
      // A proxy of the environment would see the calls to a daemon on this machine, and the token in them.
      ...(isLocal(target) && { "grpc.enable_http_proxy": 0 }),
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
        throw storeErrorOfCall(error, false);
      }
    });
    try {
      for (let next = first; next.done !== true; next = await iterator.next()) yield next.value;
    } catch (error) {
      throw storeErrorOfCall(error, false);
    } finally {
      stream.cancel();
    }
  }

  /**
   * Sends a request in encoded parts and returns its response. An upload alone changes no record, so it is retried like a
   * load; but only when `isRepeatable`, that is, when `parts` can be called again. An error of `parts` ends the upload, and
   * is thrown as it is.
   */
  async upload<I extends DescMessage, O extends DescMessage>(
    method: GrpcMethod<I, O>,
    parts: () => AsyncIterable<Buffer>,
    isRepeatable: boolean,
    call: Call = {},
  ): Promise<MessageShape<O>> {
    const attempt = (deadline: number): Promise<MessageShape<O>> =>
      this.attemptUpload(method, parts(), deadline, call.signal);
    if (isRepeatable) return this.withRetries(undefined, call, attempt);
    const deadline = this.deadlineOf(call);
    refusePassed(deadline, true);
    await this.connected(deadline, call.signal, true);
    return attempt(deadline);
  }

  close(): void {
    this.isClosed = true;
    this.client.close();
  }

  /** Throws CLOSED after `close`. */
  refuseIfClosed(fail: Fail): void {
    if (!this.isClosed) return;
    throw fail("CLOSED", "this store was closed, so nothing was sent; connect again");
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

  /** Returns the deadline of a call that begins now, in milliseconds since the epoch. A later one than gRPC can hold is lowered. */
  deadlineOf({ deadline }: Call): number {
    const now = Date.now();
    return Math.min(deadline ?? now + this.options.timeoutMs, now + MAX_TIMEOUT_MS);
  }

  private async withRetries<T>(
    requestId: string | undefined,
    call: Call,
    attempt: (deadline: number) => Promise<T>,
  ): Promise<T> {
    const { signal } = call;
    const end = this.deadlineOf(call);
    refusePassed(end, requestId !== undefined);
    const endsAtMs = performance.now() + end - Date.now();
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
  private async connected(deadline: number, signal: AbortSignal | undefined, isMutation: boolean): Promise<void> {
    const failed = (reason: StoreErrorReason, text: string, cause?: Error): StoreError =>
      new StoreError(isMutation ? "WriteFailed" : "ReadFailed", reason, `${text}; nothing was sent`, { cause });
    if (signal?.aborted === true) throw failed("CANCELLED", "the call was aborted");
    if (this.client.getChannel().getConnectivityState(true) === connectivityState.READY) return;
    const outcome = await new Promise<Error | "connected" | "aborted">((resolve) => {
      const release = onAbort(signal, () => {
        resolve("aborted");
      });
      this.client.waitForReady(deadline, (error) => {
        release();
        resolve(error ?? "connected");
      });
    });
    if (outcome === "connected") return;
    if (outcome === "aborted") throw failed("CANCELLED", "the call was aborted");
    const problem = await connectionProblem(this.target);
    throw failed("UNAVAILABLE", `no connection was made before the deadline: ${problem}`, outcome);
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
          else reject(attemptError(error, requestId !== undefined));
        },
      );
      const release = cancelOnAbort(signal, sent);
    });
  }

  private attemptUpload<I extends DescMessage, O extends DescMessage>(
    method: GrpcMethod<I, O>,
    parts: AsyncIterable<Buffer>,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      const responded = new AbortController();
      const stream = this.client.makeClientStreamRequest(
        method.path,
        alreadyEncoded,
        method.responseDeserialize,
        this.metadata,
        { deadline },
        (error, response) => {
          release();
          responded.abort();
          if (response !== undefined) resolve(response);
          else reject(storeErrorOfCall(error, true));
        },
      );
      const release = cancelOnAbort(signal, stream);
      writeParts(parts, stream, responded.signal).catch((error: unknown) => {
        // The error of the caller's own source, whatever it is, before that of the cancelled call.
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
        reject(error);
        stream.cancel();
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

/** Throws DEADLINE_EXCEEDED when the deadline of a call has passed before anything was sent. */
function refusePassed(deadline: number, isMutation: boolean): void {
  if (deadline > Date.now()) return;
  const text = "the deadline of the call has passed; nothing was sent";
  throw new StoreError(isMutation ? "WriteFailed" : "ReadFailed", "DEADLINE_EXCEEDED", text);
}

/** Serializes for grpc-js. A request is encoded once, before its first attempt, and not again in each attempt. */
const alreadyEncoded = (message: Buffer): Buffer => message;

/** Cancels the call when the signal aborts. Returns a function that removes the listener; call it when the call ends. */
const cancelOnAbort = (signal: AbortSignal | undefined, call: { cancel(): void }): (() => void) =>
  onAbort(signal, () => {
    call.cancel();
  });

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
function attemptError(error: unknown, isMutation: boolean): Error {
  if (!isServiceError(error)) return error as Error;
  return carriedError(error) ?? new LostResponseError(storeErrorOfStatus(error, isMutation), error.code);
}

/** Whether grpc-js made an error, and not our own code or that of a caller. */
const isServiceError = (error: unknown): error is ServiceError =>
  error instanceof Error && "metadata" in error && error.metadata instanceof Metadata && "code" in error;

/** Returns the daemon's own error when the status carries one. */
function carriedError({ metadata }: ServiceError): StoreError | undefined {
  const [details] = metadata.get(STATUS_DETAILS_KEY);
  return details instanceof Buffer ? fromWireStatus(details) : undefined;
}

/** How grpc-js begins the text of a stream that was reset. Its status depends on the code of the reset, whose cause is unknown. */
const RESET_TEXT = "Received RST_STREAM";

/** Returns the error of a call that grpc-js ended, and an error of another origin as it is. */
const storeErrorOfCall = (error: unknown, isMutation: boolean): Error =>
  isServiceError(error) ? storeErrorOfStatus(error, isMutation) : (error as Error);

/** Returns the daemon's own error when the status carries one, and otherwise an error made from the status code. */
function storeErrorOfStatus(error: ServiceError, isMutation: boolean): StoreError {
  const carried = carriedError(error);
  if (carried) return carried;
  const isReset = error.code !== status.CANCELLED && error.details.startsWith(RESET_TEXT);
  const reason = isReset ? "UNAVAILABLE" : (REASON_OF_STATUS[error.code] ?? "INTERNAL");
  if (reason === "UNSUPPORTED") return new StoreError("Unsupported", reason, error.details, { cause: error });
  if (reason === "INTERNAL") return new StoreError("Internal", reason, error.details, { cause: error });
  return new StoreError(isMutation ? "WriteFailed" : "ReadFailed", reason, error.details, { cause: error });
}
