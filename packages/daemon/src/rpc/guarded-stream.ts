import type { ServerHttp2Stream } from "node:http2";
import { constants } from "node:http2";
import { type StoreError, readFailed, unsupported, writeFailed } from "@bolthole/contract";
import type { ByteBudget } from "./byte-budget.js";
import { cutOff } from "./cut-off.js";
import {
  FREE_PARTS,
  LEAST_PART_BYTES,
  type MessageProblem,
  type MessageReader,
  RefusedMessage,
} from "./message-reader.js";
import type { MethodLimits } from "./method-limits.js";
import { MAX_REFUSALS, noteRefusal, refuse } from "./refusals.js";

/** The times that a client has, in milliseconds. */
export interface StreamTimes {
  /** For a message. It has one more second for each MIN_BYTES_PER_SECOND. */
  readonly message: number;
  /** To receive a message of the response. It has one more second for each MIN_BYTES_PER_SECOND. */
  readonly receive: number;
  /** To end a call that has its response. */
  readonly end: number;
  /** From one check of these times to the next. */
  readonly checks: number;
}

const MIN_BYTES_PER_SECOND = 64 * 1024;

/** A request has so much more time at most because its connection waited to be read, in milliseconds. */
const MOST_UNREAD_MS = 60_000;

type Listener = (...values: unknown[]) => void;

/** The request of one stream. */
export class GuardedStream {
  /** Since when the daemon waits for a message, or for the end of a request with one message. Undefined when it waits for nothing. */
  private waitsSince: number | undefined = Date.now();
  private arrived = 0;
  private respondedAt: number | undefined;
  /** The bytes that were written to the stream and not received, and since when there are so many. */
  private unsent = 0;
  private unsentSince = 0;
  private lastCheck = Date.now();
  /** The time in which bytes of its connection waited to be read. */
  private unreadMs = 0;
  private isRefused = false;
  private readonly ownListeners: ReadonlySet<Listener>;

  constructor(
    private readonly stream: ServerHttp2Stream,
    private readonly limits: MethodLimits | undefined,
    private readonly reader: MessageReader,
    private readonly budget: ByteBudget,
    /** Whether bytes of its connection wait to be read. */
    private readonly isUnread: () => boolean,
  ) {
    this.ownListeners = new Set(["data", "end"].flatMap((event) => stream.listeners(event) as Listener[]));
  }

  /** Receives the request in place of the listeners that grpc-js has added, and passes whole messages on to them. */
  receive(): void {
    const { stream } = this;
    const onData = this.takeListeners("data") as ((chunk: Buffer) => void)[];
    // A call that grpc-js does not serve has no listeners.
    if (onData.length === 0) return;
    const onEnd = this.takeListeners("end") as (() => void)[];
    stream.on("data", (chunk: Buffer) => {
      this.read(chunk, (bytes) => {
        for (const listener of onData) listener.call(stream, bytes);
      });
    });
    const end = (): void => {
      this.waitsSince = undefined;
      if (!this.isRefused) for (const listener of onEnd) listener.call(stream);
    };
    // The end of a request without any byte does not wait for a listener.
    if (stream.readableEnded) setImmediate(end);
    else stream.on("end", end);
  }

  /** Removes the listeners of an event that were added since the stream was opened, and returns them. */
  private takeListeners(event: "data" | "end"): readonly Listener[] {
    const added = (this.stream.listeners(event) as Listener[]).filter((listener) => !this.ownListeners.has(listener));
    for (const listener of added) this.stream.removeListener(event, listener);
    return added;
  }

  /** Ends the stream when its client is too slow. */
  check(now: number, times: StreamTimes): void {
    const { stream, arrived } = this;
    const sinceLastCheck = now - this.lastCheck;
    this.lastCheck = now;
    if (this.endUnreceived(now, times) || this.endResponded(now, times)) return;
    if (this.waitsSince === undefined || this.isRefused) return;
    // While the daemon does not read, the client cannot send.
    if (stream.isPaused() || this.hasUnread(sinceLastCheck)) this.waitsSince += sinceLastCheck;
    if (now - this.waitsSince <= times.message + (arrived / MIN_BYTES_PER_SECOND) * 1000) return;
    const text = `the request did not arrive in time: ${String(arrived)} bytes in ${String((now - this.waitsSince) / 1000)} s`;
    this.end(failure(this.limits)("CANCELLED", text));
  }

  /** Whether bytes of the client wait to be read. This counts for a minute in total: otherwise other data could keep a call open. */
  private hasUnread(ms: number): boolean {
    if (this.unreadMs >= MOST_UNREAD_MS || !this.isUnread()) return false;
    this.unreadMs += ms;
    return true;
  }

  /**
   * Ends the stream when its client does not receive what was written to it. Returns whether it did. While more messages follow, the
   * length of what waits says nothing, because a new message takes the place of a received one: their sender watches the client then.
   */
  private endUnreceived(now: number, times: StreamTimes): boolean {
    if (this.limits?.isResponseStream && !this.stream.writableEnded) return false;
    const unsent = this.stream.writableLength;
    if (unsent !== this.unsent) {
      this.unsent = unsent;
      this.unsentSince = now;
    }
    if (unsent === 0 || now - this.unsentSince <= times.receive + (unsent / MIN_BYTES_PER_SECOND) * 1000) return false;
    cutOff(this.stream);
    return true;
  }

  /** Ends the stream when its client does not end the call after the response. Returns whether there is a response. */
  private endResponded(now: number, times: StreamTimes): boolean {
    if (!this.stream.writableFinished) return false;
    this.respondedAt ??= now;
    if (now - this.respondedAt <= times.end) return true;
    this.stream.close(constants.NGHTTP2_NO_ERROR);
    // A paused stream with unread bytes would stay open.
    this.stream.resume();
    return true;
  }

  private read(chunk: Buffer, deliver: (bytes: Buffer) => void): void {
    if (this.isRefused) return;
    if (this.stream.writableEnded) {
      // The call has its response, and grpc-js drops the rest of the request.
      this.reader.dropUnfinished();
      return;
    }
    try {
      const isComplete = this.reader.read(chunk, deliver);
      this.arrived += chunk.length;
      if (this.limits?.isRequestStream) this.expectMessage(isComplete);
    } catch (error) {
      if (!(error instanceof RefusedMessage)) throw error;
      this.end(errorOf(error.problem, this.limits, this.budget));
      const { session } = this.stream;
      // No library sends such frames, and each of those that still arrive costs as much as those before.
      if (error.problem.kind === "small parts" && session) noteRefusal(session, MAX_REFUSALS);
    }
  }

  /** Begins to wait for the message that has begun to arrive. A request stream may rest between its messages. */
  private expectMessage(isNext: boolean): void {
    const { arrivedBytes } = this.reader;
    if (arrivedBytes === undefined) this.waitsSince = undefined;
    else if (isNext) this.waitsSince = Date.now();
    else this.waitsSince ??= Date.now();
    this.arrived = arrivedBytes ?? 0;
  }

  private end(reason: StoreError): void {
    this.isRefused = true;
    // The messages before it may be in use. Their memory is given back when the stream is closed and no handler has the request.
    this.reader.dropUnfinished();
    refuse(this.stream, reason);
  }
}

const failure = (limits: MethodLimits | undefined): typeof readFailed =>
  limits?.isMutation ? writeFailed : readFailed;

function errorOf(problem: MessageProblem, limits: MethodLimits | undefined, budget: ByteBudget): StoreError {
  switch (problem.kind) {
    case "compressed":
      return unsupported("compressed request messages; send messages with the encoding identity");
    case "small parts":
      return failure(limits)(
        "INVALID_ARGUMENT",
        "request: the message arrives in too small parts; send larger DATA frames",
        {
          record: "request",
          expected: `at least ${String(LEAST_PART_BYTES)} bytes in each frame`,
          actual: `${String(problem.bytes)} bytes in more than ${String(FREE_PARTS)} frames`,
        },
      );
    case "too large":
      return tooLarge(problem.bytes, limits);
    case "no memory":
      return noMemory(problem.bytes, limits, budget);
  }
}

function tooLarge(bytes: number, limits: MethodLimits | undefined): StoreError {
  const { maxMessageBytes = 0, setting } = limits ?? {};
  const isUpload = limits?.isRequestStream === true;
  const smaller = isUpload ? "send smaller messages" : "send large documents and rows with the Upload RPCs";
  const isChange = limits?.isMutation === true || isUpload;
  const advice = setting === undefined ? "" : `; ${isChange ? `${smaller}, or ` : ""}raise the daemon's ${setting}`;
  const text = `request: ${String(bytes)} bytes are more than the limit of ${String(maxMessageBytes)}${advice}`;
  return failure(limits)("TOO_LARGE", text, {
    record: "request",
    expected: `at most ${String(maxMessageBytes)} bytes`,
    actual: `${String(bytes)} bytes`,
  });
}

function noMemory(bytes: number, limits: MethodLimits | undefined, budget: ByteBudget): StoreError {
  const { total, connection } = budget.limits;
  return failure(limits)("BUSY", "the requests in flight hold too much memory; retry after a pause", {
    expected: `at most ${String(total)} bytes, and ${String(connection)} from one connection`,
    actual: `${String(budget.bytes)} bytes, and ${String(bytes)} more`,
  });
}
