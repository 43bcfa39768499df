import { spawn } from "node:child_process";
import { once } from "node:events";
import { type IncomingMessage, createServer } from "node:http";
import { type AddressInfo, createServer as createSocketServer } from "node:net";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { MAX_TIMEOUT_MS } from "@bolthole/contract";
import { onAbort } from "./abort-signals.js";
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

test("a misspelled option of connect or of a call is refused", async () => {
  const misspelled = { timeout: 5000 } as never;
  await expect(connect(daemon.target, misspelled)).rejects.toThrow(
    "timeout: there is no such option; the options are token, timeoutMs, maxMessageBytes",
  );
  const before = daemon.arrived();
  const calls = [
    [store.clearSessionSnapshot("rt", misspelled), "options: expected an object with the members timeoutMs, signal"],
    [store.loadSessionSnapshot("rt", misspelled), "options: expected an object with the members timeoutMs, signal"],
    [
      store.versioned.clearSessionSnapshot({ runtimeId: "rt" }, misspelled),
      "call: expected an object with the members signal, deadline",
    ],
  ] as const;
  for (const [call, text] of calls) {
    expect(await failureOf(call)).toMatchObject({
      reason: "INVALID_ARGUMENT",
      applied: "no",
      message: expect.stringContaining(text) as unknown,
    });
  }
  expect(daemon.arrived()).toBe(before);
});

test("a token may end with a line break, and a wrong one is refused without being shown", async () => {
  const withBreak = await connect(daemon.target, { token: "secret-1\n" });
  await withBreak.close();
  for (const token of ["", " \n", "secret-1\nsecret-2", "secret-é", 5, { secret: 1 }]) {
    const failure: unknown = await connect(daemon.target, { token: token as never }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(TypeError);
    expect((failure as Error).message).toMatch(/^token: expected/);
    expect((failure as Error).message).not.toContain("secret");
  }
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

test("close in the same turn as a call rejects the call as CLOSED, and nothing is sent", async () => {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(Buffer.from("{}"));
  }
  const other = await connect(daemon.target);
  const before = daemon.arrived();
  const calls = [
    store.commitMachineLifecycle("rt", { runtimeState: "idle", binding: {} }, []),
    store.loadSessionSnapshot("rt"),
    store.loadInputStates("rt"),
    store.versioned.uploadSessionSnapshot({ ...UPLOAD, chunks: chunks() }),
  ].map(failureOf);
  await store.close();
  for (const failure of await Promise.all(calls)) expect(failure).toMatchObject({ reason: "CLOSED", applied: "no" });
  await other.versioned.getServerInfo({});
  expect(daemon.arrived()).toBe(before + 1);
  await other.close();
});

test("close ends the wait of calls for a connection as CLOSED", async () => {
  daemon.end();
  // The connection is lost when a call waits for a new one.
  expect(await failureOf(store.loadMachineLifecycleRecord("rt", { timeoutMs: 300 }))).toMatchObject({
    reason: "UNAVAILABLE",
  });
  const calls = [store.clearSessionSnapshot("rt"), store.loadMachineLifecycleRecord("rt")].map(failureOf);
  await new Promise(setImmediate);
  await store.close();
  for (const failure of await Promise.all(calls)) expect(failure).toMatchObject({ reason: "CLOSED", applied: "no" });
});

test("close lets a call that was sent get its response", async () => {
  daemon.silence();
  const before = daemon.arrived();
  const info = store.versioned.getServerInfo({});
  while (daemon.arrived() === before) await new Promise(setImmediate);
  await store.close();
  daemon.answer();
  await expect(info).resolves.toMatchObject({ engine: "memory" });
});

test("a mutation whose response is lost after close is reported as unknown, and not repeated", async () => {
  daemon.silence();
  const before = daemon.arrived();
  const clear = failureOf(store.clearSessionSnapshot("rt"));
  const load = failureOf(store.loadMachineLifecycleRecord("rt"));
  while (daemon.arrived() < before + 2) await new Promise(setImmediate);
  await store.close();
  daemon.end();
  expect(await clear).toMatchObject({ reason: "OUTCOME_UNKNOWN", applied: "unknown" });
  expect(await load).toMatchObject({ applied: "no" });
  expect(daemon.arrived()).toBe(before + 2);
});

test("a store is closed at the end of a using block", async () => {
  const one = await connect(daemon.target);
  await one[Symbol.asyncDispose]();
  expect(await failureOf(one.loadSessionSnapshot("rt"))).toMatchObject({ reason: "CLOSED" });
  const other = await connect(daemon.target);
  other[Symbol.dispose]();
  expect(await failureOf(other.loadSessionSnapshot("rt"))).toMatchObject({ reason: "CLOSED" });
});

test("bytes whose memory was transferred to another thread are refused by name", async () => {
  const document = new Uint8Array(4);
  structuredClone(document.buffer, { transfer: [document.buffer] });
  const before = daemon.arrived();
  for (const [call, record] of [
    [
      store.commitSessionSnapshot("rt", { sessionSnapshot: document, profile: "opaque" }),
      "session_delta.session_snapshot",
    ],
    [store.persistAuthOauthFlowSnapshot(document), "snapshot"],
    [store.clearSessionSnapshotIfCurrent("rt", document), "expected.document"],
    [store.versioned.commitMachineLifecycle({ runtimeId: "rt", record: document, inputStates: [] }), "record"],
  ] as const) {
    expect(await failureOf(call)).toMatchObject({ reason: "INVALID_ARGUMENT", applied: "no", subject: { record } });
  }
  expect(daemon.arrived()).toBe(before);
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

test("an abort in the same turn as the call sends nothing, whatever the call", async () => {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(Buffer.from("{}"));
  }
  const upload = { runtimeId: "rt", length: 2, sha256: Buffer.alloc(32) };
  const calls: readonly ((signal: AbortSignal) => Promise<unknown>)[] = [
    (signal) => store.commitMachineLifecycle("rt", { runtimeState: "idle", binding: {} }, [], { signal }),
    (signal) => store.loadSessionSnapshot("rt", { signal }),
    (signal) => store.loadInputStates("rt", { signal }),
    (signal) => store.loadMachineLifecycleRecord("rt", { signal }),
    (signal) => store.versioned.uploadSessionSnapshot({ ...upload, chunks: chunks() }, { signal }),
    (signal) =>
      store.versioned.uploadSessionSnapshot({ ...upload, chunks: { [Symbol.asyncIterator]: chunks } }, { signal }),
  ];
  const before = daemon.arrived();
  for (const [index, start] of calls.entries()) {
    const abort = new AbortController();
    const call = failureOf(start(abort.signal));
    abort.abort();
    expect([index, await call]).toMatchObject([index, { reason: "CANCELLED", applied: "no" }]);
  }
  // A call after them arrives after everything that they sent.
  await store.versioned.getServerInfo({});
  expect(daemon.arrived()).toBe(before + 1);
});

test("a listener of a signal that is aborted already is called, unless it is removed first", async () => {
  const called: string[] = [];
  const signal = AbortSignal.abort();
  onAbort(signal, () => called.push("kept"));
  onAbort(signal, () => called.push("removed"))();
  expect(called).toEqual([]);
  await new Promise(setImmediate);
  expect(called).toEqual(["kept"]);
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

test("a process ends after connect was rejected, also when a proxy accepts and stays silent", async () => {
  const requests: string[] = [];
  const proxy = createSocketServer((socket) => {
    socket.on("error", () => undefined).on("data", (bytes) => requests.push(bytes.toString()));
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  // The name is looked up nowhere: the proxy alone would do that.
  const script = `
    const dns = require("node:dns");
    dns.lookup = (_name, _options, settle) => settle(Object.assign(new Error("unknown name"), { code: "ENOTFOUND" }));
    require(${JSON.stringify(join(__dirname, "connect.js"))})
      .connect("store.invalid:7117", { timeoutMs: 500 })
      .catch((error) => console.log(error.reason));`;
  const address = `http://127.0.0.1:${String((proxy.address() as AddressInfo).port)}`;
  const child = spawn(process.execPath, ["-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, http_proxy: address, grpc_proxy: address, no_proxy: "", no_grpc_proxy: "" },
  });
  try {
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
    // Without the mend, it never ends.
    expect((await once(child, "close"))[0]).toBe(0);
    expect(out).toBe("UNAVAILABLE\n");
    expect(requests.join("")).toContain("CONNECT store.invalid:7117 ");
  } finally {
    child.kill("SIGKILL");
    proxy.close();
  }
});
