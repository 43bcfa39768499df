import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerWritableStream, type sendUnaryData } from "@grpc/grpc-js";
import type { StoreInfo } from "@bolthole/contract";
import { RuntimeStoreService, grpcMethod, storeCodecs } from "@bolthole/contract/wire";

const PARENT_CHECK_MS = 1000;

const rpc = RuntimeStoreService.method;

/** The data folder in `serve --data <folder>`. */
export const folderOfArguments = (): string => {
  const folder = process.argv[4];
  if (folder === undefined) throw new TypeError("usage: serve --data <folder>");
  return folder;
};

/**
 * The least that a gRPC server can be: it speaks a few methods of the daemon's service, so that the same client sends it
 * the same messages over the same kind of socket, with the daemon's own server options; it checks nothing.
 */
export async function serveBare(
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
  // A benchmark that was killed cannot stop us.
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) stop();
  }, PARENT_CHECK_MS).unref();
  const endpoint = join(folder, "endpoint");
  writeFileSync(`${endpoint}.new`, `${target}\n`);
  renameSync(`${endpoint}.new`, endpoint);
}

export function registerUnary<I extends DescMessage, O extends DescMessage>(
  server: Server,
  rpcMethod: DescMethod & { readonly input: I; readonly output: O },
  handle: (request: MessageShape<I>) => Promise<MessageInitShape<O>>,
): void {
  const method = grpcMethod(rpcMethod);
  const handler = (call: { readonly request: MessageShape<I> }, callback: sendUnaryData<MessageInitShape<O>>): void => {
    handle(call.request).then(
      (answer) => {
        callback(null, answer);
      },
      (error: unknown) => {
        callback(error as Error);
      },
    );
  };
  server.register(method.path, handler, method.responseSerialize, method.requestDeserialize, "unary");
}

/** Writes all parts at once; grpc-js keeps what the reader has not taken yet. */
export function registerStream<O extends DescMessage>(
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
    oauthSnapshotBytes: 0,
    patchPieces: 0,
    patchInsertBytes: 0,
    uploadBytes: 0,
    uploadIdleSeconds: 0,
  },
  outcomeRetention: { maxAgeSeconds: 0, maxCount: 0 },
};
