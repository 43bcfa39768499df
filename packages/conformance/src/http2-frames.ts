import { Buffer } from "node:buffer";
import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";

/*
 * The calls and bytes of HTTP/2 connections and gRPC messages, for tests that send what no client library sends.
 */

export const FRAME = { data: 0, headers: 1, resetStream: 3, settings: 4 } as const;

/** The flag of headers that are complete. */
export const END_HEADERS = 4;

const CANCEL = 8;

/** Returns a gRPC message in its frame. */
export function framed(message: Buffer, flag = 0, length = message.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag, 0);
  head.writeUInt32BE(length >>> 0, 1);
  return Buffer.concat([head, message]);
}

/** Returns an HTTP/2 frame. */
export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Returns the first bytes that a client sends. */
export const preface = (): Buffer =>
  Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(FRAME.settings, 0, 0, Buffer.alloc(0))]);

/** Returns the headers of a call in the form that every decoder of HPACK accepts: literals that are not indexed. */
export function literalHeaders(path: string): Buffer {
  const literal = (text: string): Buffer => Buffer.concat([Buffer.of(text.length), Buffer.from(text)]);
  const headers = {
    ":method": "POST",
    ":scheme": "http",
    ":authority": "localhost",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  };
  return Buffer.concat(
    Object.entries(headers).flatMap(([name, value]) => [Buffer.of(0), literal(name), literal(value)]),
  );
}

/** Begins a call without a gRPC library. The caller ends its request. An error of the stream is ignored. */
export function beginCall(
  session: ClientHttp2Session,
  path: string,
  more: Readonly<Record<string, string>> = {},
): ClientHttp2Stream {
  const stream = session.request(
    { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers", ...more },
    { endStream: false },
  );
  stream.on("error", () => undefined);
  return stream;
}

/** Returns the bytes of a new connection whose calls are begun and reset. A client library of HTTP/2 would send nothing of them. */
export function resetCalls(path: string, count: number): Buffer {
  const headers = literalHeaders(path);
  const calls = Array.from({ length: count }, (_, index) => {
    const stream = 2 * index + 1;
    return [
      frame(FRAME.headers, END_HEADERS, stream, headers),
      frame(FRAME.resetStream, 0, stream, Buffer.of(0, 0, 0, CANCEL)),
    ];
  });
  return Buffer.concat([preface(), ...calls.flat()]);
}

/** The bytes of a header that fit into the table of a connection, which has 4 KiB, with 32 bytes for the entry. */
const INDEXED_BYTES = 3_900;
/** The most that a frame carries without another setting. */
const FRAME_BYTES = 16 * 1024;
/** A literal that is added to the table: its index is the first one behind the 61 that every table has. */
const ADDED_LITERAL = 0x40;
const FIRST_INDEXED = 0x80 | 62;

/** Returns a length of at least 127 in the form of HPACK, as the length of a text. */
function longLength(length: number): Buffer {
  const bytes = [127];
  let rest = length - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.of(...bytes, rest);
}

/**
 * Returns the headers of the first call and of each later one: full frames of references to one long header, of a byte each. Unpacked, they
 * have thousands of times the limit of the headers of a call.
 */
export function indexedHeaders(path: string): { readonly first: Buffer; readonly later: Buffer } {
  const headers = literalHeaders(path);
  const name = Buffer.from("x");
  const value = Buffer.alloc(INDEXED_BYTES, "a");
  const added = Buffer.concat([Buffer.of(ADDED_LITERAL, name.length), name, longLength(value.length), value]);
  const filled = (start: Buffer): Buffer =>
    Buffer.concat([start, Buffer.alloc(FRAME_BYTES - start.length, FIRST_INDEXED)]);
  return { first: filled(Buffer.concat([headers, added])), later: filled(headers) };
}
