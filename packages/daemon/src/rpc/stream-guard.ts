import type { Http2Session, IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { constants } from "node:http2";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Server } from "@grpc/grpc-js";
import type { Authenticate } from "./authentication.js";
import { type BudgetLimits, ByteBudget } from "./byte-budget.js";
import { ConnectionPlaces } from "./connection-places.js";
import { GuardedStream, type StreamTimes } from "./guarded-stream.js";
import { http2ServersOf } from "./http2-limits.js";
import { MessageReader } from "./message-reader.js";
import { type MethodLimits, STREAM_BYTES } from "./method-limits.js";
import { PacedSocket } from "./paced-socket.js";
import { ReadTurns } from "./read-turns.js";
import { RESET_WEIGHT, UNAUTHENTICATED_WEIGHT, noteRefusal, refuse, turnAway } from "./refusals.js";
import { countRequest } from "./request-memory.js";
import { StandardCalls } from "./standard-calls.js";
import { Turns } from "./turns.js";

/*
 * grpc-js holds the bytes of an unfinished message without a limit, unfolds compressed messages before any limit of ours, and keeps a
 * refused call open until its client ends it. So each HTTP/2 stream is received here first, and grpc-js gets whole messages.
 */

const TIMES: StreamTimes = { message: 10_000, receive: 30_000, end: 2_000, checks: 1_000 };

type StreamListener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, ...more: unknown[]) => void;

/** What a listener allows its clients. */
export interface ListenerRules {
  readonly maxConnections: number;
  /** Absent where every call is allowed. */
  readonly authenticate?: Authenticate | undefined;
}

/** Limits what the connections and streams of HTTP/2 servers may hold, and how long they may take to send their messages. */
export class StreamGuard {
  private readonly streams = new Set<GuardedStream>();
  private readonly listeners: ListenerState[] = [];
  private readonly turns = new Turns<Http2Session>();
  private readonly reads = new ReadTurns();
  private readonly sockets = new WeakMap<Http2Session, PacedSocket>();
  /** The socket for which a session is being made. */
  private connecting: PacedSocket | undefined;
  private checks: NodeJS.Timeout | undefined;

  constructor(
    readonly budget: ByteBudget,
    private readonly limitsOf: (path: string) => MethodLimits | undefined,
    /** The limits of the open streams of each listener, in bytes. */
    private readonly streamLimits: BudgetLimits,
    private readonly times = TIMES,
  ) {}

  /** Guards the connections and streams of a gRPC server with one connection injector. Returns the places of its connections. */
  guard(server: Server, { maxConnections, authenticate }: ListenerRules): ConnectionPlaces {
    const [http2Server, ...others] = http2ServersOf(server);
    if (!http2Server || others.length > 0) throw new TypeError("expected a gRPC server with one HTTP/2 server");
    const listener: ListenerState = {
      authenticate,
      places: new ConnectionPlaces(maxConnections),
      streams: new ByteBudget(this.streamLimits),
      standardCalls: new StandardCalls(),
    };
    this.listeners.push(listener);
    http2Server.on("session", (session: Http2Session) => {
      listener.places.opened(session);
      if (this.connecting) this.sockets.set(session, this.connecting);
      session.on("stream", (stream: ServerHttp2Stream) => {
        // The stream of a call that was reset with its beginning has lost its session.
        if (stream.destroyed) noteRefusal(session, RESET_WEIGHT);
      });
    });
    const onStream = http2Server.listeners("stream") as StreamListener[];
    http2Server.removeAllListeners("stream");
    http2Server.on("stream", ((stream, headers, ...more) => {
      // Without a listener, the error of a stream that its client resets would end the process.
      stream.on("error", () => undefined);
      const { session } = stream;
      if (!session || !holdStream(stream, session, listener)) return;
      const limits = this.limitsOf(String(headers[constants.HTTP2_HEADER_PATH]));
      listener.places.arrived(session, stream, limits?.isStandard === true);
      setImmediate(() => {
        // A client that has waited for its turn may have good reasons to reset its call later.
        if (stream.destroyed && !stream.headersSent) noteRefusal(session, RESET_WEIGHT);
      });
      this.turns.begin(session, () => {
        if (stream.destroyed) return;
        const guarded = this.open(stream, session, headers, listener, limits);
        if (!guarded) return;
        for (const listen of onStream) listen.call(http2Server, stream, headers, ...more);
        guarded.receive();
      });
    }) satisfies StreamListener);
    this.checks ??= setInterval(() => {
      this.check();
    }, this.times.checks).unref();
    return listener.places;
  }

  /** Connects a socket that takes turns in being read. `inject` makes an HTTP/2 session of the stream. */
  connect(socket: Socket, inject: (stream: Duplex) => void): void {
    const paced = new PacedSocket(socket, this.reads);
    this.connecting = paced;
    try {
      inject(paced);
    } catch (error) {
      paced.destroy();
      throw error;
    } finally {
      this.connecting = undefined;
    }
  }

  /** Stops the checks of slow clients. */
  stop(): void {
    clearInterval(this.checks);
  }

  private check(): void {
    const now = Date.now();
    for (const stream of this.streams) stream.check(now, this.times);
    for (const { places } of this.listeners) places.closeUnused();
  }

  private open(
    stream: ServerHttp2Stream,
    session: Http2Session,
    headers: IncomingHttpHeaders,
    { authenticate, places, standardCalls }: ListenerState,
    limits: MethodLimits | undefined,
  ): GuardedStream | undefined {
    const refusal = limits?.needsToken === false ? undefined : authenticate?.(headers);
    if (refusal) {
      noteRefusal(session, UNAUTHENTICATED_WEIGHT);
      refuse(stream, refusal);
      return undefined;
    }
    if (limits?.isStandard && !standardCalls.add(stream, session)) return undefined;
    places.used(session);
    const share = this.budget.shareOf(session);
    const reader = new MessageReader(limits?.maxMessageBytes ?? 0, share);
    const socket = this.sockets.get(session);
    const guarded = new GuardedStream(stream, limits, reader, this.budget, () => socket?.isWaiting === true);
    this.streams.add(guarded);
    stream.once("close", () => {
      this.streams.delete(guarded);
    });
    countRequest(stream, share, () => {
      reader.close();
    });
    return guarded;
  }
}

/** The state of one listener. */
interface ListenerState {
  readonly authenticate: Authenticate | undefined;
  readonly places: ConnectionPlaces;
  /** The memory of its open streams without their messages. */
  readonly streams: ByteBudget;
  readonly standardCalls: StandardCalls;
}

/** Takes the memory of a new stream until it is closed, and returns true. Resets the stream and returns false when there is none. */
function holdStream(stream: ServerHttp2Stream, session: Http2Session, { streams }: ListenerState): boolean {
  const share = streams.shareOf(session);
  // The first call of a connection may use the reserve: many calls of others do not keep it out.
  if (!share.take(STREAM_BYTES, share.bytes === 0)) {
    // A client is told the limit of its connection, and cannot know how many calls the others have.
    if (share.bytes + STREAM_BYTES > share.limits.connection) noteRefusal(session);
    turnAway(stream);
    return false;
  }
  stream.once("close", () => {
    share.giveBack(STREAM_BYTES);
  });
  return true;
}
