import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, constants } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { promisify } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { ServerCredentials } from "@grpc/grpc-js";
import { RuntimeStoreService, grpcMethod, storeCodecs } from "@bolthole/contract/wire";
import { resolveConfig } from "../config.js";
import { createGrpcServer } from "../grpc-server.js";
import { createLog } from "../log.js";
import { Admission } from "./admission.js";
import { registerStream } from "./handler.js";

const CHUNK = Buffer.alloc(1 << 20, "a");
const CHUNKS = 16;
/** One on its way, one in the stream, one read ahead, one that is being read. */
const AT_ONCE = 4;
/** Many more than it takes to read all of them. */
const TURNS = 2000;

const method = RuntimeStoreService.method.loadSessionSnapshot;

test("a reader that stands still makes the daemon hold a few parts of its document, not all", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bolthole-slow-"));
  const server = createGrpcServer(resolveConfig({ data: folder }, {}), {});
  let read = 0;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (; read < CHUNKS; read += 1) yield await Promise.resolve(CHUNK);
  }
  const admission = new Admission({ requests: 10, bytes: CHUNKS * CHUNK.length });
  registerStream(server, { admission, log: createLog("silent") }, storeCodecs.loadSessionSnapshot, () =>
    Promise.resolve({ version: "1", length: CHUNKS * CHUNK.length, profile: "opaque" as const, chunks: chunks() }),
  );
  const path = join(folder, "socket");
  await promisify(server.bindAsync.bind(server))(`unix:${path}`, ServerCredentials.createInsecure());
  const session = connect("http://localhost", { path });
  try {
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: grpcMethod(method).path,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc",
      [constants.HTTP2_HEADER_TE]: "trailers",
    });
    const message = toBinary(method.input, create(method.input, { runtimeId: "a runtime" }));
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([head, message]));
    await once(stream, "response");
    for (let turn = 0; turn < TURNS; turn += 1) await nextTurn();
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThanOrEqual(AT_ONCE);

    let bytes = 0;
    for await (const part of stream as AsyncIterable<Buffer>) bytes += part.length;
    expect(read).toBe(CHUNKS);
    expect(bytes).toBeGreaterThan(CHUNKS * CHUNK.length);
  } finally {
    session.destroy();
    server.forceShutdown();
    rmSync(folder, { recursive: true, force: true });
  }
});
