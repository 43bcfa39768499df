import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import {
  Client,
  type ClientReadableStream,
  type ClientWritableStream,
  Metadata,
  connectivityState,
  credentials,
} from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import type { Call } from "@bolthole/contract";
import { StoreError } from "@bolthole/contract";
import type { GrpcMethod } from "@bolthole/contract/wire";
import { isLost, outcomeUnknown, storeErrorOfCall } from "./call-error.js";
import type { ResolvedOptions } from "./options.js";

/** Requests are encoded before they are sent, and only once for all attempts. */
const asItIs = (message: Buffer): Buffer => message;

const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 500;

/** Trying again makes sense when the caller has done something about it, or changed its mind. */
const NOT_WAITED_FOR: readonly string[] = ["CANCELLED", "DISK_FULL", "QUOTA"];

/** One channel to a daemon: deadlines, cancellation, and retries that cannot apply twice. */
export class GrpcConnection {
  private readonly client: Client;
  private readonly metadata = new Metadata();

  constructor(
    private readonly target: string,
    private readonly options: ResolvedOptions,
  ) {
    this.client = new Client(target, credentials.createInsecure(), {
      "grpc.max_receive_message_length": options.maxMessageBytes,
      "grpc.max_send_message_length": options.maxMessageBytes,
      "grpc-node.flow_control_window": 1 << 20,
      // A unix socket's path is no host name.
      "grpc.default_authority": "localhost",
      // A connection that goes nowhere would swallow call after call.
      "grpc.keepalive_time_ms": options.keepAliveMs,
      "grpc.keepalive_timeout_ms": options.keepAliveMs,
      "grpc.initial_reconnect_backoff_ms": 50,
      "grpc.min_reconnect_backoff_ms": 50,
      "grpc.max_reconnect_backoff_ms": LONGEST_PAUSE_MS,
      // Ours know the request id; two layers of retries would multiply.
      "grpc.enable_retries": 0,
    });
    if (options.token !== undefined) this.metadata.set("authorization", `Bearer ${options.token}`);
  }

  /** `requestId` of a mutation: only with it can a lost answer be asked for again. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: GrpcMethod<I, O>,
    message: Buffer,
    requestId: string | undefined,
    call: Call = {},
  ): Promise<MessageShape<O>> {
    return this.retrying(requestId, call, (deadline) =>
      this.attempt(method, message, requestId, deadline, call.signal),
    );
  }

  /** Retried until its first message has come; a stream that breaks later fails. */
  async *stream<I extends DescMessage, O extends DescMessage>(
    method: GrpcMethod<I, O>,
    encode: () => Buffer,
    call: Call = {},
  ): AsyncGenerator<MessageShape<O>> {
    const message = encode();
    const { stream, iterator, first } = await this.retrying(undefined, call, async (deadline) => {
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

  /** Changes nothing by itself, so it is tried again like a load; but only when the parts can be had again. */
  async upload<I extends DescMessage, O extends DescMessage>(
    method: GrpcMethod<I, O>,
    parts: () => AsyncIterable<MessageInitShape<I>>,
    isRepeatable: boolean,
    call: Call = {},
  ): Promise<MessageShape<O>> {
    const attempt = (deadline: number): Promise<MessageShape<O>> =>
      this.attemptUpload(method, parts(), deadline, call.signal);
    if (isRepeatable) return this.retrying(undefined, call, attempt);
    const deadline = call.deadline ?? Date.now() + this.options.timeoutMs;
    await this.connected(deadline, call.signal, true);
    return attempt(deadline);
  }

  close(): void {
    this.client.close();
  }

  private async retrying<T>(
    requestId: string | undefined,
    call: Call,
    attempt: (deadline: number) => Promise<T>,
  ): Promise<T> {
    const deadline = call.deadline ?? Date.now() + this.options.timeoutMs;
    let lost: StoreError | undefined;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      let failure: StoreError;
      let isSent = false;
      try {
        await this.connected(deadline, call.signal, requestId !== undefined);
        isSent = true;
        return await attempt(deadline);
      } catch (error) {
        failure = error as StoreError;
        if (isSent && isLost(failure)) lost = failure;
      }
      const wait = pause * (0.5 + Math.random() / 2);
      const isOver = call.signal?.aborted === true || Date.now() + wait >= deadline;
      if (isOver || failure.retry !== "same_request" || NOT_WAITED_FOR.includes(failure.reason)) {
        // A later attempt that was put off says nothing about the earlier one.
        throw lost && requestId !== undefined && failure.retry === "same_request"
          ? outcomeUnknown(requestId, lost)
          : failure;
      }
      // Whether it was aborted is asked before the next attempt.
      await sleep(wait, undefined, { signal: call.signal }).catch(() => undefined);
    }
  }

  /** Nothing is sent before there is a connection: what fails here has certainly not been applied. */
  private connected(deadline: number, signal: AbortSignal | undefined, isMutation: boolean): Promise<void> {
    const variant = isMutation ? "WriteFailed" : "ReadFailed";
    if (signal?.aborted === true) {
      return Promise.reject(new StoreError(variant, "CANCELLED", "the call was aborted before it was sent"));
    }
    if (this.client.getChannel().getConnectivityState(true) === connectivityState.READY) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        reject(new StoreError(variant, "CANCELLED", "the call was aborted before it was sent"));
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.client.waitForReady(deadline, (error) => {
        signal?.removeEventListener("abort", abort);
        if (!error) resolve();
        else reject(new StoreError(variant, "UNAVAILABLE", `no daemon answers at ${this.target}`, { cause: error }));
      });
    });
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
        asItIs,
        method.responseDeserialize,
        message,
        this.metadata,
        { deadline },
        (error, answer) => {
          release();
          if (answer !== undefined) resolve(answer);
          else reject(storeErrorOfCall(error as ServiceError, requestId !== undefined));
        },
      );
      const release = cancelOn(signal, sent);
    });
  }

  private attemptUpload<I extends DescMessage, O extends DescMessage>(
    method: GrpcMethod<I, O>,
    parts: AsyncIterable<MessageInitShape<I>>,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      const answered = new AbortController();
      const stream = this.client.makeClientStreamRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        this.metadata,
        { deadline },
        (error, answer) => {
          release();
          answered.abort();
          if (answer !== undefined) resolve(answer);
          else reject(storeErrorOfCall(error as ServiceError, true));
        },
      );
      const release = cancelOn(signal, stream);
      send(parts, stream, answered.signal).catch((error: unknown) => {
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
      asItIs,
      method.responseDeserialize,
      message,
      this.metadata,
      { deadline },
    );
    stream.once("close", cancelOn(signal, stream));
    return stream;
  }
}

/** Answers what is to be done when the call is over. */
function cancelOn(signal: AbortSignal | undefined, call: { cancel(): void }): () => void {
  const cancel = (): void => {
    call.cancel();
  };
  signal?.addEventListener("abort", cancel, { once: true });
  return () => signal?.removeEventListener("abort", cancel);
}

/** As fast as the other side takes them, and no longer than it wants them: an answer may come before all were sent. */
async function send<T>(parts: AsyncIterable<T>, stream: ClientWritableStream<T>, answered: AbortSignal): Promise<void> {
  for await (const part of parts) {
    if (answered.aborted) return;
    if (!stream.write(part)) await once(stream, "drain", { signal: answered }).catch(() => undefined);
  }
  stream.end();
}
