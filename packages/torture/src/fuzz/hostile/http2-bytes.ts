import { connect } from "node:http2";
import { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

const SETTINGS = 4;

/** An HTTP/2 frame. */
export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** What a client says first. */
export const preface = (): Buffer =>
  Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(SETTINGS, 0, 0, Buffer.alloc(0))]);

const WRITTEN_MS = 50;

/** The bytes that an HTTP/2 client writes for these calls, when nobody answers it. */
export async function recordConnection(calls: readonly { path: string; body: Buffer }[]): Promise<Buffer> {
  const written: Buffer[] = [];
  const duplex = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      written.push(chunk);
      done();
    },
  });
  const session = connect("http://localhost", { createConnection: () => duplex });
  session.on("error", () => undefined);
  for (const { path, body } of calls) {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("error", () => undefined);
    stream.end(body);
  }
  await sleep(WRITTEN_MS);
  session.destroy();
  return Buffer.concat(written);
}
