import { Metadata, status } from "@grpc/grpc-js";
import { writeFailed } from "@bolthole/contract";
import { STATUS_DETAILS_KEY, toWireStatus } from "@bolthole/contract/wire";
import { type BoltholeStore, connect } from "./connect.js";
import { type EmptyDaemon, startEmptyDaemon } from "./testing/empty-daemon.js";
import { failureOf } from "./testing/failure-of.js";

/** Words that only grpc-js uses, and the address of its own side of a connection. */
const WORDS_OF_GRPC_JS =
  /LB pick|remote_addr|Deadline exceeded|RST_STREAM|Cancelled on client|Call cancelled|Internal error/;

let daemon: EmptyDaemon;
let store: BoltholeStore;
const start = async (refusal: { code: status; details: string; metadata?: Metadata }): Promise<void> => {
  daemon = await startEmptyDaemon(refusal);
  store = await connect(daemon.target);
};
afterEach(async () => {
  await store.close();
  daemon.end();
});

test("a call that waits until its deadline says in our words what it waited for", async () => {
  await start({ code: status.UNIMPLEMENTED, details: "it has arrived" });
  daemon.silence();
  const load = await failureOf(store.loadSessionSnapshot("rt", { timeoutMs: 200 }));
  expect(load).toMatchObject({ reason: "DEADLINE_EXCEEDED", applied: "no" });
  expect(load.message).toBe(
    `Store read failed: the call waited for a response to LoadSessionSnapshot from the daemon at ${daemon.target} until its deadline; ` +
      "nothing was changed by this call",
  );
  const clear = await failureOf(store.clearSessionSnapshot("rt", { timeoutMs: 200 }));
  expect(clear.message).toMatch(
    /^Store write failed: expected a response to request [0-9a-f-]{36}, but it was lost \(the call waited for a response to ClearSessionSnapshot from/,
  );
  const upload = { runtimeId: "rt", length: 1, sha256: Buffer.alloc(32), chunks: chunksOf("x") };
  const deadline = Date.now() + 200;
  expect((await failureOf(store.versioned.uploadSessionSnapshot(upload, { deadline }))).message).toContain(
    "the call waited for a response to UploadSessionSnapshot",
  );
  for (const { message } of [load, clear]) expect(message).not.toMatch(WORDS_OF_GRPC_JS);
});

// eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous
async function* chunksOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

test("a call that its caller ends is CANCELLED, and says what it waited for", async () => {
  await start({ code: status.UNIMPLEMENTED, details: "it has arrived" });
  daemon.silence();
  const abort = new AbortController();
  const before = daemon.arrived();
  const aborted = failureOf(store.loadSessionSnapshot("rt", { signal: abort.signal }));
  while (daemon.arrived() === before) await new Promise(setImmediate);
  abort.abort();
  const failure = await aborted;
  expect(failure).toMatchObject({ reason: "CANCELLED", applied: "no" });
  expect(failure.message).toContain("the call was aborted while it waited for a response to LoadSessionSnapshot");
  expect(failure.message).not.toMatch(WORDS_OF_GRPC_JS);
});

test("a load that the daemon ends is UNAVAILABLE: its caller has ended nothing", async () => {
  await start({ code: status.UNIMPLEMENTED, details: "it has arrived" });
  daemon.silence();
  const before = daemon.arrived();
  const call = failureOf(store.loadSessionSnapshot("rt", { timeoutMs: 1000, signal: new AbortController().signal }));
  while (daemon.arrived() === before) await new Promise(setImmediate);
  daemon.end();
  const failure = await call;
  expect(failure).toMatchObject({ reason: "UNAVAILABLE", applied: "no", retry: "same_request" });
  expect(failure.message).not.toMatch(WORDS_OF_GRPC_JS);
});

test("an unknown outcome that the daemon reports has its advice once", async () => {
  const text = "a write to the disk failed: the change may have been applied; repeat it with the same request id";
  const { details } = toWireStatus(writeFailed("OUTCOME_UNKNOWN", text));
  const metadata = new Metadata();
  metadata.set(STATUS_DETAILS_KEY, Buffer.from(details));
  await start({ code: status.UNAVAILABLE, details: text, metadata });
  const failure = await failureOf(store.clearSessionSnapshot("rt", { timeoutMs: 300 }));
  expect(failure).toMatchObject({ reason: "OUTCOME_UNKNOWN", variant: "WriteFailed", applied: "unknown" });
  expect(failure.message).toMatch(
    /^Store write failed: request [0-9a-f-]{36}: a write to the disk failed: the change may/,
  );
  for (const advice of [/may have been applied/g, /repeat/g]) expect(failure.message.match(advice)).toHaveLength(1);
});
