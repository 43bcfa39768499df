import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, constants } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextLoopIteration } from "node:timers/promises";
import { promisify } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { ServerCredentials } from "@grpc/grpc-js";
import { RuntimeStoreService, grpcMethod, storeCodecs } from "@bolthole/contract/wire";
import { resolveConfig } from "../config.js";
import { YieldBudget } from "@bolthole/core";
import { createGrpcServer } from "../grpc-server.js";
import { createLog } from "../log.js";
import { Admission } from "./admission.js";
import { registerStream } from "./handler.js";
import { responseBudget } from "./method-limits.js";
import { ResponseBudget } from "./response-budget.js";

const CHUNK = Buffer.alloc(1 << 20, "a");
const CHUNKS = 16;
/** One chunk that is being sent, one in the stream, one that was read ahead, and one that is being read. */
const MAX_CHUNKS_READ = 4;
/** Many more iterations of the event loop than reading all chunks takes. */
const LOOP_ITERATIONS = 2000;

const method = RuntimeStoreService.method.loadSessionSnapshot;

test("the daemon reads only a few chunks of a document ahead of a client that receives nothing", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bolthole-slow-"));
  const server = createGrpcServer(resolveConfig({ data: folder }, {}));
  let read = 0;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (; read < CHUNKS; read += 1) yield await Promise.resolve(CHUNK);
  }
  const admission = new Admission(10);
  registerStream(
    server,
    {
      admission,
      responses: new ResponseBudget(responseBudget(resolveConfig({ data: folder }, {}))),
      log: createLog("silent"),
      newSlices: () => new YieldBudget(),
      storeId: "",
    },
    storeCodecs.loadSessionSnapshot,
    () =>
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
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([prefix, message]));
    await once(stream, "response");
    for (let iteration = 0; iteration < LOOP_ITERATIONS; iteration += 1) await nextLoopIteration();
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThanOrEqual(MAX_CHUNKS_READ);

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
