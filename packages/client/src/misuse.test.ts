import { type IncomingMessage, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { status } from "@grpc/grpc-js";
import { MAX_TIMEOUT_MS } from "@bolthole/contract";
import { type BoltholeStore, connect } from "./connect.js";
import type { ConnectOptions } from "./connect-options.js";
import { type EmptyDaemon, startEmptyDaemon } from "./testing/empty-daemon.js";
import { failureOf } from "./testing/failure-of.js";

let daemon: EmptyDaemon;
let store: BoltholeStore;
beforeEach(async () => {
  daemon = await startEmptyDaemon({ code: status.UNIMPLEMENTED, details: "it has arrived" });
  store = await connect(daemon.target);
});
afterEach(async () => {
  await store.close();
  daemon.end();
});

test.each([
  { timeoutMs: Number.NaN },
  { timeoutMs: Infinity },
  { timeoutMs: 1e15 },
  { timeoutMs: Number.MAX_SAFE_INTEGER },
  { timeoutMs: 0 },
  { timeoutMs: 0.5 },
  { timeoutMs: "5000" },
  { timeoutMs: 1n },
  { keepAliveMs: Number.NaN },
  { keepAliveMs: Infinity },
  { token: 5 },
  { maxMessageBytes: "1" },
  { documentCacheBytes: -1 },
])("connect refuses the option %p at once and names it", async (options) => {
  const [name = ""] = Object.keys(options);
  await expect(connect(daemon.target, options as ConnectOptions)).rejects.toThrow(
    new RegExp(`^${name}: expected .* found `),
  );
});

test("connect refuses options and targets of a wrong type", async () => {
  await expect(connect(daemon.target, null as never)).rejects.toThrow("options: expected an object, found null");
  await expect(connect(undefined as never)).rejects.toThrow("target: expected");
});

test("the longest time limit, and a deadline beyond it, are served", async () => {
  expect(await failureOf(store.loadSessionSnapshot("rt", { timeoutMs: MAX_TIMEOUT_MS }))).toMatchObject({
    reason: "UNSUPPORTED",
  });
  for (const deadline of [Number.MAX_SAFE_INTEGER, Infinity]) {
    const call = store.versioned.loadSessionSnapshot({ runtimeId: "rt" }, { deadline });
    expect(await failureOf(call)).toMatchObject({ reason: "UNSUPPORTED" });
  }
});

test("a deadline that has passed ends the call before anything is sent", async () => {
  const before = daemon.arrived();
  for (const deadline of [0, -1, Date.now() - 1]) {
    const clear = store.versioned.clearSessionSnapshot({ runtimeId: "rt" }, { deadline });
    expect(await failureOf(clear)).toMatchObject({ reason: "DEADLINE_EXCEEDED", applied: "no" });
  }
  expect(daemon.arrived()).toBe(before);
});

const UPLOAD = { runtimeId: "rt", length: 4, sha256: Buffer.alloc(32) };

test.each([
  ["an error before its first chunk", 0],
  ["an error after a chunk", 1],
])("an upload rejects with the error of its source: %s", async (_title, chunks) => {
  const failure = new Error("the file is missing");
  async function* source(): AsyncGenerator<Uint8Array> {
    for (let index = 0; index < chunks; index += 1) yield await Promise.resolve(Buffer.from("x"));
    throw failure;
  }
  daemon.silence();
  await expect(store.versioned.uploadSessionSnapshot({ ...UPLOAD, chunks: source() })).rejects.toBe(failure);
  // The same for a source that can be read again: the error is not repeated.
  const repeatable = { [Symbol.asyncIterator]: source };
  await expect(store.versioned.uploadSessionSnapshot({ ...UPLOAD, chunks: repeatable })).rejects.toBe(failure);
});

test.each([["text"], [5], [null], [{}], [new Uint16Array(1)]])(
  "an upload names the chunk %p of a wrong type",
  async (chunk) => {
    async function* source(): AsyncGenerator<Uint8Array> {
      yield (await Promise.resolve(chunk)) as never;
    }
    daemon.silence();
    const upload = store.versioned.uploadSessionSnapshot({ ...UPLOAD, chunks: source() });
    expect(await failureOf(upload)).toMatchObject({
      reason: "INVALID_ARGUMENT",
      subject: { record: "chunk" },
      applied: "no",
    });
    async function* parts(): AsyncGenerator<never> {
      yield (await Promise.resolve(chunk)) as never;
    }
    const rows = store.versioned.uploadInputStates({ runtimeId: "rt", rowCount: 1, parts: parts() });
    const record = expect.stringMatching(/^(piece|states)/) as unknown;
    expect(await failureOf(rows)).toMatchObject({ reason: "INVALID_ARGUMENT", subject: { record }, applied: "no" });
  },
);

test("calls after close are refused as CLOSED, and a second close does nothing", async () => {
  await store.close();
  await store.close();
  const before = daemon.arrived();
  for (const call of [
    store.loadSessionSnapshot("rt"),
    store.clearSessionSnapshot("rt"),
    store.versioned.getServerInfo({}),
  ]) {
    expect(await failureOf(call)).toMatchObject({ reason: "CLOSED", applied: "no", retry: "never" });
  }
  expect(daemon.arrived()).toBe(before);
});

test("a store is closed at the end of a using block", async () => {
  const one = await connect(daemon.target);
  await one[Symbol.asyncDispose]();
  expect(await failureOf(one.loadSessionSnapshot("rt"))).toMatchObject({ reason: "CLOSED" });
  const other = await connect(daemon.target);
  other[Symbol.dispose]();
  expect(await failureOf(other.loadSessionSnapshot("rt"))).toMatchObject({ reason: "CLOSED" });
});

test("one signal for many calls causes no warning, and aborts them all", async () => {
  daemon.silence();
  const warnings: Error[] = [];
  const note = (warning: Error): void => {
    warnings.push(warning);
  };
  process.on("warning", note);
  try {
    const abort = new AbortController();
    const calls = Array.from({ length: 50 }, () =>
      failureOf(store.loadMachineLifecycleRecord("rt", { signal: abort.signal })),
    );
    while (daemon.arrived() < 51) await new Promise(setImmediate);
    abort.abort();
    for (const failure of await Promise.all(calls)) expect(failure).toMatchObject({ reason: "CANCELLED" });
    expect(warnings).toEqual([]);
  } finally {
    process.off("warning", note);
  }
});

test("a proxy of the environment never sees a call to this machine", async () => {
  const seen: string[] = [];
  const proxy = createServer();
  proxy.on("connect", (request: IncomingMessage, socket) => {
    seen.push(request.url ?? "");
    socket.destroy();
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const address = `http://127.0.0.1:${String((proxy.address() as AddressInfo).port)}`;
  const names = ["http_proxy", "https_proxy", "grpc_proxy"];
  const before = names.map((name) => process.env[name]);
  for (const name of names) process.env[name] = address;
  try {
    const direct = await connect(daemon.target);
    await direct.close();
    expect(seen).toEqual([]);
  } finally {
    names.forEach((name, index) => {
      const value = before[index];
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
    });
    proxy.close();
  }
});
