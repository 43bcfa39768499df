import type { Http2Session, ServerHttp2Stream } from "node:http2";
import { constants } from "node:http2";
import type { StatusObject } from "@grpc/grpc-js";
import type { StoreError } from "@bolthole/contract";
import { toStatus } from "./failure.js";

/** The header that names the encodings of messages which a server accepts. */
const ACCEPT_ENCODING = "grpc-accept-encoding";

/** A connection is closed after so many refusals within REFUSALS_MS. */
export const MAX_REFUSALS = 64;
const REFUSALS_MS = 10_000;
/** A call without the token counts as so many refusals. */
export const UNAUTHENTICATED_WEIGHT = 4;
/** A call that its client reset in the iteration of the event loop in which it arrived. A client that cancels calls may have some. */
export const RESET_WEIGHT = 1 / 4;

/** A refused call whose client does not end it is reset after this time, in milliseconds. */
const RESET_MS = 100;

/** The calls of a connection that were refused, for a limit that no ordinary client reaches, since a time. */
interface Refusals {
  readonly since: number;
  count: number;
}
const refusals = new WeakMap<Http2Session, Refusals>();

/** Counts a refusal. A connection with many in a short time is closed: each refused call costs the daemon more than its client. */
export function noteRefusal(session: Http2Session, weight = 1): void {
  const now = Date.now();
  const known = refusals.get(session);
  const recent = known && now - known.since < REFUSALS_MS ? known : { since: now, count: 0 };
  refusals.set(session, recent);
  const before = recent.count;
  recent.count += weight;
  if (before >= MAX_REFUSALS || recent.count < MAX_REFUSALS) return;
  setImmediate(() => {
    closeWith(session, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  });
}

/** Closes a connection, and tells its client why. The frame is lost when the session is destroyed while it writes. */
export function closeWith(session: Http2Session, code: number): void {
  if (session.destroyed) return;
  if (!session.closed) session.goaway(code);
  setImmediate(() => {
    session.destroy();
  });
}

/**
 * Ends a call with an error. grpc-js then sees that the client is gone. The stream is not changed while Node calls its listeners:
 * nghttp2 is then in the middle of what it has received.
 */
export function refuse(stream: ServerHttp2Stream, error: StoreError): void {
  setImmediate(() => {
    endWith(stream, error);
  });
}

/** The error of the streams that are turned away. It is created once: Node would create one for each, which costs more than the stream. */
const TURNED_AWAY = new Error("the stream was refused");

/**
 * Resets a stream whose call was not begun. gRPC reports the code as UNAVAILABLE. A response would cost more than the client's request.
 */
export function turnAway(stream: ServerHttp2Stream): void {
  setImmediate(() => {
    stream.close(constants.NGHTTP2_REFUSED_STREAM);
    stream.destroy(TURNED_AWAY);
  });
}

function endWith(stream: ServerHttp2Stream, error: StoreError): void {
  if (stream.destroyed || stream.closed) return;
  if (stream.headersSent) {
    stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    return;
  }
  const { code, details, metadata }: StatusObject = toStatus(error);
  const headers = {
    ...metadata.toHttp2Headers(),
    [constants.HTTP2_HEADER_STATUS]: 200,
    [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc+proto",
    [ACCEPT_ENCODING]: "identity",
    "grpc-status": code,
    "grpc-message": encodeURI(details),
  };
  stream.respond(headers, { endStream: true });
  // A paused stream with unread bytes would stay open.
  stream.resume();
  // Not at once: nghttp2 drops a response that waits for an earlier write when its stream is reset.
  setTimeout(() => {
    stream.close(constants.NGHTTP2_NO_ERROR);
  }, RESET_MS).unref();
}
