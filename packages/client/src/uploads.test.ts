import type { Readable } from "node:stream";
import { Client, type ClientWritableStream, Server, type sendUnaryData, status } from "@grpc/grpc-js";
import { grpcMethod, storeCodecs } from "@bolthole/contract/wire";
import { type BoundServer, boundServer } from "./bound-server.test.helper.js";
import { GrpcConnection } from "./connection.js";
import { createGrpcStore } from "./grpc-store.js";
import { resolveOptions } from "./options.js";

/** Takes an upload: refuses it at once, or reads it to its end. */
async function uploadsTo(refuses: boolean): Promise<BoundServer> {
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
  return boundServer(server);
}

describe("an upload of many chunks", () => {
  const chunk = Buffer.alloc(1 << 20);
  const CHUNKS = 80;
  const uploadTo = async (
    target: string,
    watch = (): void => undefined,
  ): Promise<{ sent: number; isReturned: boolean; failure?: unknown }> => {
    const connection = new GrpcConnection(target, resolveOptions({}));
    const outcome = { sent: 0, isReturned: false };
    // eslint-disable-next-line @typescript-eslint/require-await -- the chunks are at hand
    async function* chunks(): AsyncGenerator<Uint8Array> {
      try {
        for (; outcome.sent < CHUNKS; outcome.sent += 1) {
          watch();
          yield chunk;
        }
      } finally {
        outcome.isReturned = true;
      }
    }
    const request = { runtimeId: "rt", length: CHUNKS * chunk.length, sha256: Buffer.alloc(32), chunks: chunks() };
    try {
      await createGrpcStore(connection).uploadSessionSnapshot(request);
      return outcome;
    } catch (failure) {
      return { ...outcome, failure };
    } finally {
      connection.close();
    }
  };

  test("waits for the other side without leaving listeners behind", async () => {
    const daemon = await uploadsTo(false);
    const opened = jest.spyOn(Client.prototype, "makeClientStreamRequest");
    let most = 0;
    const watch = (): void => {
      const stream = opened.mock.results[0]?.value as ClientWritableStream<unknown>;
      most = Math.max(most, ...["drain", "close", "error"].map((event) => stream.listenerCount(event)));
    };
    try {
      expect(await uploadTo(daemon.target, watch)).toEqual({ sent: CHUNKS, isReturned: true });
      expect(most).toBeLessThanOrEqual(1);
    } finally {
      opened.mockRestore();
      daemon.end();
    }
  });

  test("ends when it is refused before all were sent", async () => {
    const daemon = await uploadsTo(true);
    try {
      const { sent, failure } = await uploadTo(daemon.target);
      expect(failure).toMatchObject({ reason: "TOO_LARGE" });
      expect(sent).toBeLessThan(CHUNKS);
    } finally {
      daemon.end();
    }
  });
});
