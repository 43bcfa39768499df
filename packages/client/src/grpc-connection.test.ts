import type { Readable } from "node:stream";
import { Client, type ClientWritableStream, Server, type sendUnaryData, status } from "@grpc/grpc-js";
import { grpcMethod, storeCodecs } from "@bolthole/contract/wire";
import { resolveOptions } from "./connect-options.js";
import { GrpcConnection } from "./grpc-connection.js";
import { createGrpcStore } from "./grpc-store.js";
import { parseTarget } from "./target.js";
import { RequestIds } from "./request-ids.js";
import { type BoundServer, bindServer } from "./testing/bound-server.js";

/** Starts a server that refuses every upload immediately, or reads every upload to its end. */
async function startUploadServer(refuses: boolean): Promise<BoundServer> {
  const server = new Server();
  const upload = grpcMethod(storeCodecs.uploadSessionSnapshot.method);
  server.register(
    upload.path,
    (call: Readable, callback: sendUnaryData<object>) => {
      if (refuses) callback({ code: status.RESOURCE_EXHAUSTED, details: "too much" });
      else
        call.resume().once("end", () => {
          callback(null, { uploadId: "upload" });
        });
    },
    upload.responseSerialize,
    upload.requestDeserialize,
    "clientStream",
  );
  return bindServer(server);
}

describe("an upload of many chunks", () => {
  const chunk = Buffer.alloc(1 << 20);
  const CHUNKS = 80;
  const uploadTo = async (
    target: string,
    onChunk = (): void => undefined,
  ): Promise<{ sent: number; isReturned: boolean; failure?: unknown }> => {
    const connection = new GrpcConnection(parseTarget(target), resolveOptions({}));
    const outcome = { sent: 0, isReturned: false };
    // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, the chunks are in memory
    async function* chunks(): AsyncGenerator<Uint8Array> {
      try {
        for (; outcome.sent < CHUNKS; outcome.sent += 1) {
          onChunk();
          yield chunk;
        }
      } finally {
        outcome.isReturned = true;
      }
    }
    const request = { runtimeId: "rt", length: CHUNKS * chunk.length, sha256: Buffer.alloc(32), chunks: chunks() };
    try {
      await createGrpcStore(connection, new RequestIds()).uploadSessionSnapshot(request);
      return outcome;
    } catch (failure) {
      return { ...outcome, failure };
    } finally {
      connection.close();
    }
  };

  test("waits for the daemon to read, and leaves no listeners behind", async () => {
    const daemon = await startUploadServer(false);
    const streams = jest.spyOn(Client.prototype, "makeClientStreamRequest");
    let maxListeners = 0;
    const onChunk = (): void => {
      const stream = streams.mock.results[0]?.value as ClientWritableStream<unknown>;
      maxListeners = Math.max(maxListeners, ...["drain", "close", "error"].map((event) => stream.listenerCount(event)));
    };
    try {
      expect(await uploadTo(daemon.target, onChunk)).toEqual({ sent: CHUNKS, isReturned: true });
      expect(maxListeners).toBeLessThanOrEqual(1);
    } finally {
      streams.mockRestore();
      daemon.end();
    }
  });

  test("ends when the daemon refuses it before all chunks are sent", async () => {
    const daemon = await startUploadServer(true);
    try {
      const { sent, failure } = await uploadTo(daemon.target);
      expect(failure).toMatchObject({ reason: "TOO_LARGE" });
      expect(sent).toBeLessThan(CHUNKS);
    } finally {
      daemon.end();
    }
  });
});
