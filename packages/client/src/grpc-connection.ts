import { once } from "node:events";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import {
  Client,
  type ClientReadableStream,
  type ClientWritableStream,
  Metadata,
  connectivityState,
  credentials,
} from "@grpc/grpc-js";
import type { Call, Fail } from "@bolthole/contract";
import { MAX_TIMEOUT_MS, StoreError, readFailed, writeFailed } from "@bolthole/contract";
import { EXPECTED_STORE_KEY, type GrpcMethod } from "@bolthole/contract/wire";
import { onAbort } from "./abort-signals.js";
import { type CallFacts, attemptError, storeErrorOfCall } from "./call-errors.js";
import type { ResolvedOptions } from "./connect-options.js";
import { releaseProxyConnections } from "./proxy-connections.js";
import { MAX_PAUSE_MS, callWithRetries } from "./retries.js";
import { socketCredentials, socketProblem } from "./socket-owner.js";
import { type Target, connectionProblem, isLocal } from "./target.js";

export type ConnectionOptions = Pick<ResolvedOptions, "token" | "timeoutMs" | "maxMessageBytes" | "keepAliveMs"> &
  Partial<Pick<ResolvedOptions, "socketOwner">>;

/** One gRPC channel to a daemon, with deadlines, cancellation and retries. Every failed call rejects with a `StoreError`. */
export class GrpcConnection {
  private readonly client: Client;
  private readonly metadata = new Metadata();
  private maxRequestBytes: number;
  private readonly endProxyWatch: () => void;
  /** Aborted by `close`. */
  private readonly closing = new AbortController();

  constructor(
    private readonly target: Target,
    private readonly options: ConnectionOptions,
  ) {
    const { socket } = target;
    const plain = socket === undefined ? credentials.createInsecure() : socketCredentials(socket, options.socketOwner);
    // Before the channel, whose first connection may be asked for at once.
    this.endProxyWatch = isLocal(target) ? (): void => undefined : releaseProxyConnections(target);
    this.client = new Client(target.address, plain, {
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

  /** Makes the daemon refuse loads, and all other calls that change nothing, when it serves another store than this one. */
  expectStore(storeId: string): void {
    this.metadata.set(EXPECTED_STORE_KEY, storeId);
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
    const facts = this.factsOf(method, call.signal, false);
    this.refuseTooLarge(message, false);
    const { stream, iterator, first } = await this.withRetries(undefined, call, async (deadline) => {
      const opened = this.open(method, message, deadline, call.signal);
      const messages = opened[Symbol.asyncIterator]() as AsyncIterator<MessageShape<O>>;
      try {
        return { stream: opened, iterator: messages, first: await messages.next() };
      } catch (error) {
        throw storeErrorOfCall(error, facts);
      }
    });
    try {
      for (let next = first; next.done !== true; next = await iterator.next()) yield next.value;
    } catch (error) {
      throw storeErrorOfCall(error, { ...facts, hasBegun: true });
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
    this.refuseEnded(call.signal, true);
    return attempt(deadline);
  }

  close(): void {
    this.closing.abort();
    this.client.close();
    this.endProxyWatch();
  }

  /** Throws CLOSED after `close`. */
  refuseIfClosed(fail: Fail): void {
    if (this.closing.signal.aborted) throw fail("CLOSED", CLOSED_TEXT);
  }

  /** Throws when nothing more may be sent for a call: CLOSED after `close`, and CANCELLED after an abort of the caller. */
  private refuseEnded(signal: AbortSignal | undefined, isMutation: boolean): void {
    const fail = isMutation ? writeFailed : readFailed;
    this.refuseIfClosed(fail);
    if (signal?.aborted === true) throw fail("CANCELLED", ABORTED_TEXT);
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

  private readonly factsOf = <I extends DescMessage, O extends DescMessage>(
    { path }: GrpcMethod<I, O>,
    signal: AbortSignal | undefined,
    isMutation: boolean,
  ): CallFacts => ({ path, address: this.target.address, signal, isMutation });

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
      refuseEnded: () => {
        this.refuseEnded(signal, requestId !== undefined);
      },
      attempt: () => attempt(deadline()),
    });
  }

  /** Resolves when the channel is connected. Throws when the call or this connection ends first. No request is sent earlier, so a failure here means: not applied. */
  private async connected(deadline: number, signal: AbortSignal | undefined, isMutation: boolean): Promise<void> {
    this.refuseEnded(signal, isMutation);
    const channel = this.client.getChannel();
    if (channel.getConnectivityState(false) === connectivityState.READY) return;
    this.refuseForeignSocket(isMutation);
    const cause = await new Promise<Error | undefined>((resolve) => {
      let isOver = false;
      const end = (error?: Error): void => {
        isOver = true;
        for (const release of releases) release();
        resolve(error);
      };
      const releases = [signal, this.closing.signal].map((one) =>
        onAbort(one, () => {
          end();
        }),
      );
      // Not waitForReady of grpc-js: it may ask a closed channel for a connection, which opens the channel again.
      const watch = (): void => {
        const state = channel.getConnectivityState(true);
        if (state === connectivityState.READY) end();
        else {
          channel.watchConnectivityState(state, deadline, (error) => {
            if (error) end(error);
            else if (!isOver) watch();
          });
        }
      };
      watch();
    });
    this.refuseEnded(signal, isMutation);
    if (!cause) return;
    this.refuseForeignSocket(isMutation);
    const problem = await connectionProblem(this.target);
    const text = `no connection was made before the deadline; ${problem}; nothing was sent`;
    throw (isMutation ? writeFailed : readFailed)("UNAVAILABLE", text, { cause });
  }

  /** Throws UNAUTHENTICATED at once when the socket may be that of another user. The credentials look at each connection, too. */
  private refuseForeignSocket(isMutation: boolean): void {
    const { socket } = this.target;
    const problem = socket === undefined ? undefined : socketProblem(socket, this.options.socketOwner);
    if (problem === undefined) return;
    throw (isMutation ? writeFailed : readFailed)(
      "UNAUTHENTICATED",
      `no connection was made: ${problem}; nothing was sent`,
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
          else reject(attemptError(error, this.factsOf(method, signal, requestId !== undefined)));
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
          else reject(storeErrorOfCall(error, this.factsOf(method, signal, true)));
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

const CLOSED_TEXT = "this store was closed, so nothing was sent; connect again";
const ABORTED_TEXT = "the call was aborted; nothing was sent";

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
