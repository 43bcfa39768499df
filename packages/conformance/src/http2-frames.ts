import { Buffer } from "node:buffer";

/*
 * The bytes of HTTP/2 connections and gRPC messages, for tests that send what no client library sends.
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
