import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import {
  Client,
  type ClientReadableStream,
  Metadata,
  ServerCredentials,
  type ServerWritableStream,
  credentials,
} from "@grpc/grpc-js";
import { RuntimeStoreService, grpcMethod, storeCodecs } from "@bolthole/contract/wire";
import { YieldBudget } from "@bolthole/core";
import { resolveConfig } from "../config.js";
import { createGrpcServer } from "../grpc-server.js";
import { createLog } from "../log.js";
import { Admission } from "./admission.js";
import { registerStream } from "./handler.js";
import { responseBudget } from "./method-limits.js";
import { ResponseBudget } from "./response-budget.js";
import { MessageBlocks, PREFIX_BYTES, ResponseStream } from "./response-stream.js";

const newResponses = (): ResponseBudget => new ResponseBudget(responseBudget(resolveConfig({ data: "any" }, {})));

const CHUNK_BYTES = 300_000;
const CHUNKS = 12;

const codec = storeCodecs.loadSessionSnapshot;
const { path, requestSerialize, responseDeserialize, responseSerialize } = grpcMethod(
  RuntimeStoreService.method.loadSessionSnapshot,
);

const servers: (() => void)[] = [];
afterEach(() => {
  for (const stop of servers.splice(0)) stop();
});

type Load = (runtimeId: string) => ClientReadableStream<ReturnType<typeof responseDeserialize>>;

/** Starts a server on a socket. Returns a function that loads a document from it. */
async function started(register: (server: ReturnType<typeof createGrpcServer>) => void): Promise<Load> {
  const folder = mkdtempSync(join(tmpdir(), "bolthole-stream-"));
  const server = createGrpcServer(resolveConfig({ data: folder }, {}));
  register(server);
  const target = `unix:${join(folder, "socket")}`;
  await promisify(server.bindAsync.bind(server))(target, ServerCredentials.createInsecure());
  const client = new Client(target, credentials.createInsecure());
  servers.push(() => {
    client.close();
    server.forceShutdown();
    rmSync(folder, { recursive: true, force: true });
  });
  const metadata = new Metadata();
  return (runtimeId) =>
    client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, { runtimeId }, metadata);
}

/** The byte that the chunks of a document consist of: each chunk of each document has another one. */
const fillOf = (runtimeId: string, index: number): number => (Number(runtimeId) * CHUNKS + index) % 256;

async function* chunksOf(runtimeId: string): AsyncGenerator<Uint8Array> {
  for (let index = 0; index < CHUNKS; index += 1) {
    yield await Promise.resolve(Buffer.alloc(CHUNK_BYTES, fillOf(runtimeId, index)));
  }
}

/** Reads a document slowly and returns whether it is the stored one. */
async function isIntact(load: Load, runtimeId: string, pauseMs: number): Promise<boolean> {
  let index = 0;
  for await (const { chunk } of load(runtimeId) as AsyncIterable<{ readonly chunk: Uint8Array }>) {
    if (!Buffer.alloc(CHUNK_BYTES, fillOf(runtimeId, index)).equals(chunk)) return false;
    index += 1;
    await sleep(pauseMs);
  }
  return index === CHUNKS;
}

function registerDocuments(server: ReturnType<typeof createGrpcServer>): void {
  const admission = new Admission(100);
  const context = {
    admission,
    responses: newResponses(),
    log: createLog("silent"),
    newSlices: () => new YieldBudget(),
    storeId: "",
  };
  registerStream(server, context, codec, ({ runtimeId }) =>
    Promise.resolve({
      version: "1",
      length: CHUNKS * CHUNK_BYTES,
      profile: "opaque" as const,
      chunks: chunksOf(runtimeId),
    }),
  );
}

test("loads at the same time, some of them slow or cancelled, do not mix their bytes", async () => {
  const load = await started(registerDocuments);
  const cancelled = [20, 21, 22].map(async (id) => {
    const call = load(String(id));
    call.on("error", () => undefined);
    await new Promise((resolve) => call.once("data", resolve));
    call.cancel();
    return true;
  });
  const all = [...Array(12).keys()].map((id) => isIntact(load, String(id), id % 3));
  expect(await Promise.all([...all, ...cancelled])).not.toContain(false);
  expect(await isIntact(load, "13", 0)).toBe(true);
});

test("messages are written without a copy", async () => {
  const isDirect: boolean[] = [];
  const load = await started((server) => {
    const handler = (call: ServerWritableStream<unknown, object>): void => {
      const stream = new ResponseStream(call);
      const message = responseSerialize({ chunk: Buffer.from("the bytes") });
      stream.write(Buffer.concat([Buffer.alloc(PREFIX_BYTES), message]), (error) => {
        isDirect.push(stream.isDirect && !error);
        call.end();
      });
    };
    server.register(
      path,
      handler,
      (message: object) => message as Buffer,
      (bytes: Buffer) => bytes,
      "serverStream",
    );
  });
  const received: string[] = [];
  for await (const { chunk } of load("1") as AsyncIterable<{ readonly chunk: Uint8Array }>) {
    received.push(Buffer.from(chunk).toString());
  }
  expect(received).toEqual(["the bytes"]);
  expect(isDirect).toEqual([true]);
});

test("a call without a known HTTP/2 stream writes the message itself", () => {
  const written: string[] = [];
  const call = {
    cancelled: false,
    sendMetadata: () => undefined,
    write: (message: Buffer) => written.push(message.toString()),
  };
  const stream = new ResponseStream(call as never);
  stream.write(Buffer.from("12345a message"), () => undefined);
  expect(written).toEqual(["a message"]);
  expect(stream.isDirect).toBe(false);
  expect(stream.isOver()).toBe(false);
});

test("blocks are used again, and memory of another size is not kept", () => {
  const blocks = new MessageBlocks();
  const block = blocks.take(10);
  expect(blocks.take(10)).not.toBe(block);
  blocks.giveBack(block);
  expect(blocks.take(block.length)).toBe(block);
  const longer = blocks.take(block.length + 1);
  expect(longer).toHaveLength(block.length + 1);
  blocks.giveBack(longer);
  expect(blocks.take(10)).not.toBe(longer);
});
