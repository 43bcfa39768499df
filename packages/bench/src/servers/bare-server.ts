import { randomBytes } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StoreInfo } from "@bolthole/contract";
import { RuntimeStoreService, grpcMethod, storeCodecs } from "@bolthole/contract/wire";
import { writeInputState } from "@bolthole/json";
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerWritableStream, type sendUnaryData } from "@grpc/grpc-js";
import { open } from "lmdb";
import { inputRow } from "../load/runtime-rows.js";

/** The variable that selects the server: the name of a role below. */
export const BARE_ROLE = "BENCH_BARE_ROLE";

const PARENT_CHECK_MS = 1000;

const rpc = RuntimeStoreService.method;

/** Returns the data folder of the arguments `serve --data <folder>`. */
const folderOfArguments = (): string => {
  const folder = process.argv[4];
  if (folder === undefined) throw new TypeError("usage: serve --data <folder>");
  return folder;
};

/**
 * Serves a few methods of the daemon's service with the least possible work: the same client sends the same messages over
 * the same kind of socket, with the daemon's server options, and nothing is checked.
 */
async function serveBare(
  folder: string,
  register: (server: Server) => void,
  close: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const server = new Server({
    "grpc.max_receive_message_length": 32 * 1024 * 1024,
    "grpc.max_send_message_length": 4 * 1024 * 1024,
    "grpc.max_concurrent_streams": 1024,
    "grpc.enable_channelz": 0,
  });
  registerUnary(server, rpc.getServerInfo, () => Promise.resolve(storeCodecs.getServerInfo.encodeResponse(INFO)));
  register(server);

  const target = `unix:${join(folder, "bare.sock")}`;
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(target, ServerCredentials.createInsecure(), (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
  const stop = (): void => {
    server.forceShutdown();
    void close().then(() => process.exit(0));
  };
  process.once("SIGTERM", stop);
  // A benchmark that was killed cannot stop this process.
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) stop();
  }, PARENT_CHECK_MS).unref();
  const endpoint = join(folder, "endpoint");
  writeFileSync(`${endpoint}.new`, `${target}\n`);
  renameSync(`${endpoint}.new`, endpoint);
}

function registerUnary<I extends DescMessage, O extends DescMessage>(
  server: Server,
  rpcMethod: DescMethod & { readonly input: I; readonly output: O },
  handle: (request: MessageShape<I>) => Promise<MessageInitShape<O>>,
): void {
  const method = grpcMethod(rpcMethod);
  const handler = (call: { readonly request: MessageShape<I> }, callback: sendUnaryData<MessageInitShape<O>>): void => {
    handle(call.request).then(
      (response) => {
        callback(null, response);
      },
      (error: unknown) => {
        callback(error as Error);
      },
    );
  };
  server.register(method.path, handler, method.responseSerialize, method.requestDeserialize, "unary");
}

/** Writes all parts without waiting; grpc-js buffers what the reader has not read. */
function registerStream<O extends DescMessage>(
  server: Server,
  rpcMethod: DescMethod & { readonly output: O },
  parts: () => Iterable<MessageInitShape<O>>,
): void {
  const method = grpcMethod(rpcMethod);
  const handler = (call: ServerWritableStream<unknown, MessageInitShape<O>>): void => {
    for (const part of parts()) call.write(part);
    call.end();
  };
  server.register(method.path, handler, method.responseSerialize, method.requestDeserialize, "serverStream");
}

const INFO: StoreInfo = {
  serverVersion: "bare",
  storeId: "00000000-0000-4000-8000-000000000000",
  engine: "bare",
  durable: true,
  limits: {
    requestBytes: 0,
    requestBytesInFlight: 0,
    requestsInFlight: 0,
    documentBytes: 0,
    runtimeIdBytes: 0,
    inputRowBytes: 0,
    batchRows: 0,
    operationSnapshotBytes: 0,
    typedOpsSnapshotBytes: 0,
    oauthSnapshotBytes: 0,
    patchPieces: 0,
    patchInsertBytes: 0,
    uploadBytes: 0,
    uploadIdleSeconds: 0,
    inputUploadRows: 0,
    inputUploadBytes: 0,
  },
  outcomeRetention: { maxAgeSeconds: 0, maxCount: 0 },
};

/*
 * The sizes of the values that the daemon puts for one PersistInputState: the row, the runtime manifest, the outcome of the
 * request id, and the store manifest. The daemon puts the store manifest and the commit sequence once for each group. The
 * bare commit has no groups, so it puts the store manifest each time and the commit sequence never.
 */
const RECORD_HEADER = 20;
const ROW_BYTES = RECORD_HEADER + writeInputState(inputRow(0, 1)).length;
const RUNTIME_MANIFEST_BYTES = RECORD_HEADER + 41;
const OUTCOME_BYTES = RECORD_HEADER + 35 + "01234567.123456".length + "PersistInputState".length;
const STORE_MANIFEST_BYTES = RECORD_HEADER + 33;

/** Runs one `childTransaction` for each call and awaits its flush, without rules, checks and request ids. */
async function serveCommit(folder: string): Promise<void> {
  const db = open<Buffer, Buffer>({
    path: folder,
    noSubdir: false,
    encoding: "binary",
    keyEncoding: "binary",
    overlappingSync: false,
    eventTurnBatching: true,
    compression: false,
    cache: false,
    maxReaders: 126,
  });
  const [row, runtimeManifest, outcome, storeManifest] = [
    ROW_BYTES,
    RUNTIME_MANIFEST_BYTES,
    OUTCOME_BYTES,
    STORE_MANIFEST_BYTES,
  ].map((size) => randomBytes(size));
  if (!row || !runtimeManifest || !outcome || !storeManifest) throw new RangeError("there must be four rows");
  const storeManifestKey = Buffer.of(1, 1);
  await serveBare(
    folder,
    (server) => {
      registerUnary(server, RuntimeStoreService.method.persistInputState, async (request) => {
        const { runtimeId = "", requestId = "", state } = request;
        const runtimeManifestKey = Buffer.from(`\u0002${runtimeId}\0\u0001\0`, "latin1");
        const rowKey = Buffer.from(`\u0002${runtimeId}\0\u0001\u0004${uuidBytes(state?.inputId ?? "")}`, "latin1");
        const outcomeKey = Buffer.from(`\u0001\u0003${uuidBytes(requestId)}`, "latin1");
        await db.childTransaction(() => {
          void db.put(rowKey, row);
          void db.put(runtimeManifestKey, runtimeManifest);
          void db.put(outcomeKey, outcome);
          void db.put(storeManifestKey, storeManifest);
        });
        return { version: `01234567.${String(state?.attemptCount)}` };
      });
    },
    () => db.close(),
  );
}

/** Returns the 16 bytes of a UUID as text, as in the daemon's keys. */
const uuidBytes = (uuid: string): string => Buffer.from(uuid.replaceAll("-", ""), "hex").toString("latin1");

/** Returns a part of the request and does nothing else, which shows the cost of gRPC alone. */
async function serveEcho(folder: string): Promise<void> {
  await serveBare(folder, (server) => {
    registerUnary(server, RuntimeStoreService.method.persistInputState, ({ runtimeId = "" }) =>
      Promise.resolve({ version: runtimeId }),
    );
  });
}

/** The name of the file with the document to stream. */
export const DOCUMENT_FILE = "document";

const FRAME_BYTES = 1 << 20;

/** Streams a document from memory in frames of 1 MiB, and does nothing else. */
async function serveStream(folder: string): Promise<void> {
  const document = readFileSync(join(folder, DOCUMENT_FILE));
  const { method, encodeResponse } = storeCodecs.loadSessionSnapshot;
  const response = {
    version: "bare",
    length: document.length,
    profile: "session",
    chunks: framesOf(document),
  } as const;
  const parts: MessageInitShape<typeof method.output>[] = [];
  for await (const part of encodeResponse(response)) parts.push(part);
  await serveBare(folder, (server) => {
    registerStream(server, method, () => parts);
  });
}

// eslint-disable-next-line @typescript-eslint/require-await -- the codec takes an asynchronous iterable
async function* framesOf(document: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < document.length; at += FRAME_BYTES) yield document.subarray(at, at + FRAME_BYTES);
}

const ROLES: Readonly<Record<string, (folder: string) => Promise<void>>> = {
  "bare-commit": serveCommit,
  "bare-echo": serveEcho,
  "bare-stream": serveStream,
};

function main(): void {
  const serve = ROLES[process.env[BARE_ROLE] ?? ""];
  if (!serve) throw new TypeError(`the variable ${BARE_ROLE} must be one of ${Object.keys(ROLES).join(", ")}`);
  void serve(folderOfArguments());
}

if (require.main === module) main();
