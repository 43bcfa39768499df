import { type AddressInfo, type Socket, connect as connectSocket, createServer } from "node:net";
import { Metadata, Server, type sendUnaryData, status } from "@grpc/grpc-js";
import {
  OutcomeUnknownError,
  type RequestIdTimes,
  STORE_ERROR_REASONS,
  type StoreErrorReason,
  writeFailed,
} from "@bolthole/contract";
import { STATUS_DETAILS_KEY, grpcMethod, storeCodecs, toWireStatus } from "@bolthole/contract/wire";
import { connect } from "./connect.js";
import { type BoundServer, bindServer } from "./testing/bound-server.js";
import { failureOf } from "./testing/failure-of.js";

const STORE_ID = "5a0d8c3e-7b53-4d1c-9a35-6c6a0f2a1b11";
const { method } = storeCodecs.clearSessionSnapshot;

/** The reaction of the fake daemon to one attempt: a response, no response, or an error status. */
type Reply =
  "response" | "silence" | { readonly code: status; readonly metadata?: Metadata; readonly details?: string };

/** Starts a fake daemon. It records the request ids, and reacts with the given replies in order, then with responses. */
async function startFakeDaemon(
  replies: Reply[],
  requestBytes = 1 << 20,
): Promise<BoundServer & { readonly requestIds: (string | undefined)[]; readonly storeIds: (string | undefined)[] }> {
  const server = new Server();
  const requestIds: (string | undefined)[] = [];
  const storeIds: (string | undefined)[] = [];
  const info = grpcMethod(storeCodecs.getServerInfo.method);
  const { decodeRequest, encodeResponse } = storeCodecs.clearSessionSnapshot;
  const clear = grpcMethod(method);
  server.register(
    info.path,
    (_call: unknown, callback: sendUnaryData<object>) => {
      callback(null, { storeId: STORE_ID, limits: { requestBytes: BigInt(requestBytes) }, outcomeRetention: {} });
    },
    info.responseSerialize,
    info.requestDeserialize,
    "unary",
  );
  server.register(
    clear.path,
    (call: { request: Parameters<typeof decodeRequest>[0] }, callback: sendUnaryData<object>) => {
      const { requestId, expectedStoreId } = decodeRequest(call.request);
      requestIds.push(requestId);
      storeIds.push(expectedStoreId);
      const reply = replies.shift() ?? "response";
      if (reply === "response") callback(null, encodeResponse({ version: "e.1", replayed: requestIds.length > 1 }));
      else if (reply !== "silence") callback({ details: "lost", ...reply });
    },
    clear.responseSerialize,
    clear.requestDeserialize,
    "unary",
  );
  return { ...(await bindServer(server)), requestIds, storeIds };
}

/** Starts a TCP relay to a daemon. Its first connection can be made to drop all data without being closed. */
async function startRelay(target: string): Promise<{ target: string; dropData: () => void; end: () => void }> {
  const port = Number(target.split(":")[1]);
  const sockets: Socket[] = [];
  let isFirst = true;
  let isDropping = false;
  const server = createServer((near) => {
    const far = connectSocket(port, "127.0.0.1");
    const mayDrop = isFirst;
    isFirst = false;
    sockets.push(near, far);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on("data", (bytes) => {
        if (!(mayDrop && isDropping)) to.write(bytes);
      });
      from.on("error", () => undefined);
      from.on("close", () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    target: `127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    dropData: () => {
      isDropping = true;
    },
    end: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

const refusal = (reason: StoreErrorReason, requestIdTimes?: RequestIdTimes): Reply => {
  const { code, details } = toWireStatus(writeFailed(reason, "no", { requestIdTimes }));
  const metadata = new Metadata();
  metadata.set(STATUS_DETAILS_KEY, Buffer.from(details));
  return { code, metadata };
};

test("a call whose response was lost is retried with the same request id", async () => {
  const daemon = await startFakeDaemon([{ code: status.UNAVAILABLE }, { code: status.UNAVAILABLE }]);
  const store = await connect(daemon.target);
  try {
    expect(await store.versioned.clearSessionSnapshot({ runtimeId: "rt" })).toEqual({ version: "e.1", replayed: true });
    expect(daemon.requestIds).toHaveLength(3);
    expect(new Set(daemon.requestIds).size).toBe(1);
    expect(daemon.requestIds[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
  } finally {
    await store.close();
    daemon.end();
  }
});

test("the outcome stays unknown when every retry after a lost response is refused as BUSY", async () => {
  const busy = Array.from({ length: 100 }, () => refusal("BUSY"));
  const daemon = await startFakeDaemon([{ code: status.UNAVAILABLE }, ...busy]);
  const store = await connect(daemon.target);
  try {
    const failure = await failureOf(store.clearSessionSnapshot("rt", { timeoutMs: 1000 }));
    expect(daemon.requestIds.length).toBeGreaterThan(1);
    expect(failure).toMatchObject({ requestId: daemon.requestIds[0], applied: "unknown" });
  } finally {
    await store.close();
    daemon.end();
  }
});

const FINAL = Object.entries(STORE_ERROR_REASONS).filter(([, { retry }]) => retry !== "same_request");

test.each(FINAL)(
  "after a lost response, the refusal %s is final only if the outcome was looked up",
  async (reason, facts) => {
    const daemon = await startFakeDaemon([{ code: status.UNAVAILABLE }, refusal(reason as StoreErrorReason)]);
    const store = await connect(daemon.target);
    try {
      const failure = await failureOf(store.clearSessionSnapshot("rt"));
      expect(daemon.requestIds).toHaveLength(2);
      if (facts.isAfterLookup) expect(failure).toMatchObject({ reason, applied: "no" });
      else
        expect(failure).toMatchObject({
          requestId: daemon.requestIds[0],
          reason: "OUTCOME_UNKNOWN",
          applied: "unknown",
        });
    } finally {
      await store.close();
      daemon.end();
    }
  },
);

test.each([status.INTERNAL, status.UNKNOWN, status.RESOURCE_EXHAUSTED, status.ABORTED, status.DATA_LOSS])(
  "a mutation is retried after the status %s without details, because its response may be lost",
  async (code) => {
    const daemon = await startFakeDaemon([{ code }]);
    const store = await connect(daemon.target);
    try {
      expect(await store.versioned.clearSessionSnapshot({ runtimeId: "rt" })).toMatchObject({ replayed: true });
      expect(new Set(daemon.requestIds).size).toBe(1);
    } finally {
      await store.close();
      daemon.end();
    }
  },
);

test.each([status.UNAUTHENTICATED, status.UNIMPLEMENTED, status.PERMISSION_DENIED, status.INVALID_ARGUMENT])(
  "the status %s without details is not retried, and leaves the outcome of a mutation unknown",
  async (code) => {
    const daemon = await startFakeDaemon([{ code }]);
    const store = await connect(daemon.target);
    try {
      const failure = await failureOf(store.clearSessionSnapshot("rt"));
      expect(failure).toBeInstanceOf(OutcomeUnknownError);
      expect(failure).toMatchObject({ requestId: daemon.requestIds[0] });
      expect(daemon.requestIds).toHaveLength(1);
    } finally {
      await store.close();
      daemon.end();
    }
  },
);

test("a stream that is reset is retried", async () => {
  const details = "Received RST_STREAM with code 11 (Bandwidth exhausted or memory limit exceeded)";
  const daemon = await startFakeDaemon([{ code: status.RESOURCE_EXHAUSTED, details }]);
  const store = await connect(daemon.target);
  try {
    expect(await store.versioned.clearSessionSnapshot({ runtimeId: "rt" })).toMatchObject({ replayed: true });
  } finally {
    await store.close();
    daemon.end();
  }
});

test("a request above the daemon's limit is refused before it is sent", async () => {
  const daemon = await startFakeDaemon([], 1000);
  const store = await connect(daemon.target);
  try {
    const runtimeId = "x".repeat(1000);
    expect(await failureOf(store.clearSessionSnapshot(runtimeId))).toMatchObject({
      variant: "WriteFailed",
      reason: "TOO_LARGE",
      applied: "no",
      subject: { record: "request", expected: "at most 1000 bytes" },
    });
    expect(await failureOf(store.loadInputStates(runtimeId))).toMatchObject({
      variant: "ReadFailed",
      reason: "TOO_LARGE",
    });
    expect(daemon.requestIds).toEqual([]);
  } finally {
    await store.close();
    daemon.end();
  }
});

test("a silent connection is closed, and the call is retried over a new connection", async () => {
  const daemon = await startFakeDaemon([]);
  const relay = await startRelay(daemon.target);
  const store = await connect(relay.target, { keepAliveMs: 100, timeoutMs: 60_000 });
  try {
    relay.dropData();
    expect(await store.versioned.clearSessionSnapshot({ runtimeId: "rt" })).toMatchObject({ version: "e.1" });
    expect(new Set(daemon.requestIds).size).toBe(1);
  } finally {
    await store.close();
    relay.end();
    daemon.end();
  }
});

test("BUSY is retried, and another refusal is final", async () => {
  const daemon = await startFakeDaemon([refusal("BUSY"), refusal("VERSION_CONFLICT")]);
  const store = await connect(daemon.target);
  try {
    expect(await failureOf(store.clearSessionSnapshot("rt"))).toMatchObject({
      reason: "VERSION_CONFLICT",
      applied: "no",
    });
    expect(daemon.requestIds).toHaveLength(2);
  } finally {
    await store.close();
    daemon.end();
  }
});

test("a deadline that passes after sending rejects with an OutcomeUnknownError that has the request id", async () => {
  const daemon = await startFakeDaemon(["silence", "silence", "silence"]);
  const store = await connect(daemon.target);
  try {
    const failure = await failureOf(store.clearSessionSnapshot("rt", { timeoutMs: 1000 }));
    expect(failure).toBeInstanceOf(OutcomeUnknownError);
    expect(failure).toMatchObject({ requestId: daemon.requestIds[0], applied: "unknown", retry: "same_request" });
  } finally {
    await store.close();
    daemon.end();
  }
});

test("an abort after sending leaves the outcome unknown, and an abort before sending does not", async () => {
  const daemon = await startFakeDaemon(["silence"]);
  const store = await connect(daemon.target);
  try {
    const abort = new AbortController();
    const call = failureOf(store.clearSessionSnapshot("rt", { signal: abort.signal }));
    while (daemon.requestIds.length === 0) await new Promise(setImmediate);
    abort.abort();
    expect(await call).toBeInstanceOf(OutcomeUnknownError);
    expect(await failureOf(store.clearSessionSnapshot("rt", { signal: AbortSignal.abort() }))).toMatchObject({
      reason: "CANCELLED",
      applied: "no",
    });
    expect(daemon.requestIds).toHaveLength(1);
  } finally {
    await store.close();
    daemon.end();
  }
});

test("connect rejects as UNAVAILABLE when nothing listens at the target", async () => {
  const daemon = await startFakeDaemon([]);
  daemon.end();
  expect(await failureOf(connect(daemon.target, { timeoutMs: 200 }))).toMatchObject({
    reason: "UNAVAILABLE",
    applied: "no",
  });
});

test("an abort ends the wait for a connection", async () => {
  const daemon = await startFakeDaemon([]);
  const store = await connect(daemon.target);
  daemon.end();
  const abort = new AbortController();
  const call = failureOf(store.clearSessionSnapshot("rt", { signal: abort.signal, timeoutMs: 60_000 }));
  abort.abort();
  try {
    expect(await call).toMatchObject({ retry: "same_request" });
    expect(daemon.requestIds).toEqual([]);
  } finally {
    await store.close();
  }
});

test("a request id of the caller is sent", async () => {
  const daemon = await startFakeDaemon([]);
  const store = await connect(daemon.target);
  const requestId = "0198f0a0-0000-7000-8000-0000000000bb";
  try {
    await store.clearSessionSnapshot("rt", { requestId });
    expect(daemon.requestIds).toEqual([requestId]);
  } finally {
    await store.close();
    daemon.end();
  }
});

const HOUR_MS = 60 * 60 * 1000;
const timeOf = (requestId = ""): number => Number.parseInt(requestId.slice(0, 8) + requestId.slice(9, 13), 16);

/** Returns the times of a store whose clock is ahead of this machine's. */
const timesAhead = (aheadMs: number): RequestIdTimes => {
  const storeTimeMs = Date.now() + aheadMs;
  return { horizonMs: storeTimeMs, storeTimeMs, latestMs: storeTimeMs + HOUR_MS };
};

test("an id whose time was refused at the first attempt is replaced by one that the store accepts, once", async () => {
  const times = timesAhead(48 * HOUR_MS);
  const daemon = await startFakeDaemon([refusal("REQUEST_ID_EXPIRED", times)]);
  const store = await connect(daemon.target);
  try {
    expect(await store.versioned.clearSessionSnapshot({ runtimeId: "rt" })).toMatchObject({ version: "e.1" });
    await store.versioned.clearSessionSnapshot({ runtimeId: "rt" });
    expect(daemon.requestIds).toHaveLength(3);
    for (const id of daemon.requestIds.slice(1)) expect(timeOf(id)).toBeGreaterThanOrEqual(times.horizonMs);
  } finally {
    await store.close();
    daemon.end();
  }
});

test("an id of a client whose clock is ahead of the store's by a year is replaced", async () => {
  const times = timesAhead(-365 * 24 * HOUR_MS);
  const daemon = await startFakeDaemon([refusal("INVALID_ARGUMENT", times)]);
  const store = await connect(daemon.target);
  try {
    await store.versioned.clearSessionSnapshot({ runtimeId: "rt" });
    expect(timeOf(daemon.requestIds[1])).toBeGreaterThanOrEqual(times.horizonMs);
    expect(timeOf(daemon.requestIds[1])).toBeLessThanOrEqual(times.latestMs);
  } finally {
    await store.close();
    daemon.end();
  }
});

test("an id whose time was refused twice, and one of the caller, is not replaced", async () => {
  const times = timesAhead(HOUR_MS);
  const expired = refusal("REQUEST_ID_EXPIRED", times);
  const daemon = await startFakeDaemon([expired, expired, expired]);
  const store = await connect(daemon.target);
  try {
    expect(await failureOf(store.clearSessionSnapshot("rt"))).toMatchObject({ reason: "REQUEST_ID_EXPIRED" });
    expect(new Set(daemon.requestIds).size).toBe(2);
    const requestId = "0198f0a0-0000-7000-8000-0000000000bb";
    expect(await failureOf(store.clearSessionSnapshot("rt", { requestId }))).toMatchObject({
      reason: "REQUEST_ID_EXPIRED",
      subject: { requestIdTimes: times },
    });
    expect(daemon.requestIds.slice(2)).toEqual([requestId]);
  } finally {
    await store.close();
    daemon.end();
  }
});

test("after a lost response, an id that has expired is not replaced, because the request may have been applied", async () => {
  const daemon = await startFakeDaemon([
    { code: status.UNAVAILABLE },
    refusal("REQUEST_ID_EXPIRED", timesAhead(HOUR_MS)),
  ]);
  const store = await connect(daemon.target);
  try {
    const failure = await failureOf(store.clearSessionSnapshot("rt"));
    expect(failure).toBeInstanceOf(OutcomeUnknownError);
    expect(failure).toMatchObject({ requestId: daemon.requestIds[0] });
    expect(daemon.requestIds).toHaveLength(2);
    expect(new Set(daemon.requestIds).size).toBe(1);
  } finally {
    await store.close();
    daemon.end();
  }
});

test("a clock that is set back during a call does not prolong it", async () => {
  const busy = Array.from({ length: 60 }, () => refusal("BUSY"));
  const daemon = await startFakeDaemon(busy);
  const store = await connect(daemon.target);
  const clock = jest.spyOn(Date, "now");
  try {
    const call = failureOf(store.clearSessionSnapshot("rt", { timeoutMs: 300 }));
    while (daemon.requestIds.length === 0) await new Promise(setImmediate);
    const before = Date.now() - HOUR_MS;
    const start = performance.now();
    clock.mockImplementation(() => before + performance.now() - start);
    // The deadline passes between two attempts, or during one.
    expect(["BUSY", "OUTCOME_UNKNOWN"]).toContain((await call).reason);
    expect(daemon.requestIds.length).toBeLessThan(busy.length);
  } finally {
    clock.mockRestore();
    await store.close();
    daemon.end();
  }
});

test("a mutation through `versioned` names the store that the client was connected to, or the one of the caller", async () => {
  const daemon = await startFakeDaemon([]);
  const store = await connect(daemon.target);
  try {
    await store.versioned.clearSessionSnapshot({ runtimeId: "rt" });
    await store.versioned.clearSessionSnapshot({ runtimeId: "rt", expectedStoreId: "another" });
    expect(daemon.storeIds).toEqual([STORE_ID, "another"]);
  } finally {
    await store.close();
    daemon.end();
  }
});
