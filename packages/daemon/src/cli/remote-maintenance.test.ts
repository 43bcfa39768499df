import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerWritableStream } from "@grpc/grpc-js";
import { AdminService, grpcMethod } from "@bolthole/contract/wire";
import { RemoteMaintenance } from "./remote-maintenance.js";

let folder: string;
let server: Server;
let target: string;
const cancelled = jest.fn();
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-progress-"));
  target = `unix:${join(folder, "daemon.sock")}`;
  server = new Server();
  const { path } = grpcMethod(AdminService.method.verify);
  const verify = {
    path,
    requestStream: false,
    responseStream: true,
    requestSerialize: (bytes: Buffer) => bytes,
    requestDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: (bytes: Buffer) => bytes,
    responseDeserialize: (bytes: Buffer) => bytes,
  };
  // A daemon that answers pings, reports some progress, and then nothing.
  const handler = (call: ServerWritableStream<Buffer, Buffer>): void => {
    call.on("cancelled", cancelled);
    const event = create(AdminService.method.verify.output, { event: { case: "bytesRead", value: 4096n } });
    call.write(Buffer.from(toBinary(AdminService.method.verify.output, event)));
  };
  server.addService({ verify }, { verify: handler });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(target, ServerCredentials.createInsecure(), (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
});
afterEach(() => {
  jest.restoreAllMocks();
  server.forceShutdown();
  rmSync(folder, { recursive: true, force: true });
});

test("a stream without progress is ended, after reports of what the command waits for", async () => {
  const reports: string[] = [];
  jest.spyOn(process.stderr, "write").mockImplementation((text) => {
    reports.push(String(text));
    return true;
  });
  const remote = new RemoteMaintenance(target, { noticeMs: 10, progressMs: 200 });
  const events: unknown[] = [];
  const verifying = async (): Promise<void> => {
    for await (const event of remote.verify()) events.push(event);
  };
  await expect(verifying()).rejects.toMatchObject({
    reason: "UNAVAILABLE",
    text: expect.stringMatching(/while checking the store; nothing was changed by this call/) as string,
  });
  expect(events).toEqual([{ bytesRead: 4096 }]);
  expect(reports[0]).toMatch(
    /^bolthole: waiting for the daemon at unix:.*: checking the store, no message for \d+ s\n$/,
  );
  remote.close();
});
