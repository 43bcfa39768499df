import { type ServerHttp2Stream, constants } from "node:http2";

/** The time in which a stream that is cut off must be closed, in milliseconds. */
const CLOSE_MS = 2_000;

/**
 * Ends a call whose client does not receive its response. What was written and is not received yet is dropped, which also frees its memory.
 * Node closes a stream when its socket has taken what was written to it before: the connection of a client that does not read its socket is
 * destroyed.
 */
export function cutOff(stream: ServerHttp2Stream): void {
  stream.close(constants.NGHTTP2_CANCEL);
  // A paused stream with unread bytes would stay open.
  stream.resume();
  const timer = setTimeout(() => {
    if (!stream.destroyed) stream.session?.destroy();
  }, CLOSE_MS).unref();
  stream.once("close", () => {
    clearTimeout(timer);
  });
}
