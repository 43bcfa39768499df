import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, credentials, status } from "@grpc/grpc-js";
import { connect } from "@bolthole/client";
import { grpcMethod, storeCodecs } from "@bolthole/contract/wire";
import { DaemonProcess } from "@bolthole/conformance/process";
import { EXIT } from "../exit-code.js";
import { MAIN, bolthole } from "../testing/daemons.js";

const MIB = 1 << 20;
/** Much more than the buffers of a connection hold. */
const DOCUMENT = Buffer.alloc(48 * MIB, "document ");

/** Collects garbage all the time from the signal on: a signal or a timer that nothing holds is gone before its time. */
const COLLECT = `
require("node:v8").setFlagsFromString("--expose-gc");
const collect = require("node:vm").runInNewContext("gc");
process.once("SIGTERM", () => setInterval(collect, 50).unref());
`;

let home: string;
let daemon: DaemonProcess;
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "bolthole-drain-"));
  const preload = join(home, "collect.cjs");
  writeFileSync(preload, COLLECT);
  const args = ["--log-level", "silent", "--drain-timeout", "500ms"];
  const env = { NODE_OPTIONS: `--require ${preload}` };
  daemon = await new DaemonProcess({ main: MAIN, data: join(home, "data"), args, env }).start();
});
afterEach(async () => {
  await daemon.stop("SIGKILL");
  rmSync(home, { recursive: true, force: true });
});

test("a client that does not read its response is cut off after the drain timeout", async () => {
  const store = await connect(daemon.target, { timeoutMs: 120_000, documentCacheBytes: 0 });
  await store.commitSessionSnapshot("rt", { sessionSnapshot: DOCUMENT, profile: "opaque" });
  const loaded = await store.versioned.loadSessionSnapshot({ runtimeId: "rt" });
  const chunks = loaded?.chunks[Symbol.asyncIterator]();
  expect(await chunks?.next()).toMatchObject({ done: false });

  // Without the end of the drain, the call goes on until the connection is closed by force, and the exit code is that of a clean end.
  expect(await daemon.stop("SIGTERM")).toEqual({ code: EXIT.CUT_OFF, signal: null });
  const rest = async (): Promise<void> => {
    while ((await chunks?.next())?.done === false);
  };
  // The daemon ended the call, and not its caller.
  await expect(rest()).rejects.toMatchObject({ reason: "UNAVAILABLE", applied: "no", retry: "same_request" });
  await store.close();
});

test("a client of another language sees a call that a stop cuts off as UNAVAILABLE, and not as CANCELLED", async () => {
  const client = new Client(daemon.target, credentials.createInsecure(), { "grpc.default_authority": "localhost" });
  const { path, requestSerialize, responseDeserialize } = grpcMethod(storeCodecs.uploadSessionSnapshot.method);
  const failure = new Promise<unknown>((resolve) => {
    const call = client.makeClientStreamRequest(path, requestSerialize, responseDeserialize, resolve);
    // The rest of the upload never follows.
    call.write({
      part: { case: "upload", value: { runtimeId: "rt", length: 10n, sha256: Buffer.alloc(32) } },
    } as never);
  });
  const callsInFlight = async (): Promise<number> => {
    const { out } = await bolthole("status", "--data", join(home, "data"), "--json");
    return (JSON.parse(out) as { readonly requestsInFlight: number }).requestsInFlight;
  };
  // The status is a call itself.
  while ((await callsInFlight()) < 2);
  expect(await daemon.stop("SIGTERM")).toEqual({ code: EXIT.CUT_OFF, signal: null });
  expect(await failure).toMatchObject({ code: status.UNAVAILABLE });
  client.close();
});
