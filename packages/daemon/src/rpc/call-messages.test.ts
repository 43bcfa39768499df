import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type ClientHttp2Stream, connect, constants } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextLoopIteration } from "node:timers/promises";
import { promisify } from "node:util";
import { type DescMethod, create, toBinary } from "@bufbuild/protobuf";
import { type Server, ServerCredentials } from "@grpc/grpc-js";
import { RuntimeStoreService, grpcMethod, storeCodecs } from "@bolthole/contract/wire";
import { resolveConfig } from "../config.js";
import { YieldBudget } from "@bolthole/core";
import { createGrpcServer } from "../grpc-server.js";
import { createLog } from "../log.js";
import { Admission } from "./admission.js";
import { ByteBudget } from "./byte-budget.js";
import { type HandlerContext, registerLongLoad, registerStream } from "./handler.js";
import { responseBudget } from "./method-limits.js";
import { ResponseBudget } from "./response-budget.js";

const CHUNK = Buffer.alloc(1 << 20, "a");
const CHUNKS = 16;
/** One chunk that is being sent, one in the stream, one that was read ahead, and one that is being read. */
const MAX_CHUNKS_READ = 4;
/** Many more iterations of the event loop than reading all chunks takes. */
const LOOP_ITERATIONS = 2000;

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});

/** Serves one method, and returns the budget of its responses, and the function that calls it. */
async function serve(
  register: (server: Server, context: HandlerContext) => void,
  responses: ResponseBudget,
): Promise<(method: DescMethod) => ClientHttp2Stream> {
  const folder = mkdtempSync(join(tmpdir(), "bolthole-slow-"));
  const server = createGrpcServer(resolveConfig({ data: folder }, {}));
  register(server, {
    admission: new Admission(100),
    responses,
    log: createLog("silent"),
    newSlices: () => new YieldBudget(),
    storeId: "",
  });
  const path = join(folder, "socket");
  await promisify(server.bindAsync.bind(server))(`unix:${path}`, ServerCredentials.createInsecure());
  const session = connect("http://localhost", { path });
  closers.push(() => {
    session.destroy();
    server.forceShutdown();
    rmSync(folder, { recursive: true, force: true });
  });
  return (method) => {
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: grpcMethod(method).path,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc",
      [constants.HTTP2_HEADER_TE]: "trailers",
    });
    stream.on("error", () => undefined);
    const message = toBinary(method.input, create(method.input, { runtimeId: "a runtime" }));
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([prefix, message]));
    return stream;
  };
}

const { loadSessionSnapshot, loadAuthOauthFlowSnapshot } = RuntimeStoreService.method;
const defaultBudget = (): ResponseBudget =>
  new ResponseBudget(responseBudget(resolveConfig({ data: join(tmpdir(), "none") }, {})));

test("the daemon reads only a few chunks of a document ahead of a client that receives nothing", async () => {
  let read = 0;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (; read < CHUNKS; read += 1) yield await Promise.resolve(CHUNK);
  }
  const loaded = { version: "1", length: CHUNKS * CHUNK.length, profile: "opaque" as const };
  const call = await serve((server, context) => {
    registerStream(server, context, storeCodecs.loadSessionSnapshot, () =>
      Promise.resolve({ ...loaded, chunks: chunks() }),
    );
  }, defaultBudget());
  const stream = call(loadSessionSnapshot);
  await once(stream, "response");
  for (let iteration = 0; iteration < LOOP_ITERATIONS; iteration += 1) await nextLoopIteration();
  expect(read).toBeGreaterThan(0);
  expect(read).toBeLessThanOrEqual(MAX_CHUNKS_READ);
  let bytes = 0;
  for await (const part of stream as AsyncIterable<Buffer>) bytes += part.length;
  expect(read).toBe(CHUNKS);
  expect(bytes).toBeGreaterThan(CHUNKS * CHUNK.length);
});

const LOADS = 40;
const SNAPSHOT = Buffer.alloc(1 << 20, "n");

test("loads of one long message begin only as far as there is memory, and clients that receive nothing are cut off", async () => {
  let begun = 0;
  const responses = new ResponseBudget(new ByteBudget({ total: 16 << 20, connection: 8 << 20, reserve: 0 }), 50);
  const call = await serve((server, context) => {
    registerLongLoad(server, context, storeCodecs.loadAuthOauthFlowSnapshot, () => {
      begun += 1;
      return Promise.resolve({ version: "1", value: SNAPSHOT });
    });
  }, responses);
  const streams = Array.from({ length: LOADS }, () => call(loadAuthOauthFlowSnapshot));
  let most = 0;
  for (let iteration = 0; iteration < LOOP_ITERATIONS; iteration += 1) {
    await nextLoopIteration();
    most = Math.max(most, responses.bytes);
  }
  expect([begun > 0, begun < LOADS / 2, most <= 8 << 20]).toEqual([true, true, true]);
  const codes = await Promise.all(
    streams.slice(0, 8).map(
      (stream) =>
        new Promise((resolve) => {
          stream.once("close", () => {
            resolve(stream.rstCode);
          });
        }),
    ),
  );
  expect(new Set(codes)).toEqual(new Set([constants.NGHTTP2_CANCEL]));
});

test("a long load whose client receives it gives its memory back", async () => {
  const responses = defaultBudget();
  const call = await serve((server, context) => {
    registerLongLoad(server, context, storeCodecs.loadAuthOauthFlowSnapshot, () =>
      Promise.resolve({ version: "1", value: SNAPSHOT }),
    );
  }, responses);
  const stream = call(loadAuthOauthFlowSnapshot);
  let bytes = 0;
  for await (const part of stream as AsyncIterable<Buffer>) bytes += part.length;
  expect(bytes).toBeGreaterThan(SNAPSHOT.length);
  for (let iteration = 0; iteration < LOOP_ITERATIONS && responses.bytes > 0; iteration += 1) await nextLoopIteration();
  expect(responses.bytes).toBe(0);
});
