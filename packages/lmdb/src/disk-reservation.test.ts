import { mkdtempSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RuntimeStoreAdapter, type StoreError, type StoredInputState } from "@bolthole/contract";
import { type Engine, createEngineStore } from "@bolthole/core";
import fc from "fast-check";
import { Environment } from "./environment.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { LEAF_BYTES } from "./document-tree/node.js";
import { documentKey } from "./keys.js";
import { estimateBatchPages, estimateTransactionPages } from "./disk-reservation.js";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-disk-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const storeOf = (engine: Engine): RuntimeStoreAdapter =>
  new RuntimeStoreAdapter(createEngineStore(engine), engine.storeId);

const refusal = async (call: Promise<unknown>): Promise<StoreError | undefined> =>
  call.then(
    () => undefined,
    (error: unknown) => error as StoreError,
  );

test("a store that has reached its quota accepts only clears, and then writes again", async () => {
  const engine = await LmdbEngine.open(folder, { quotaBytes: 2 << 20 });
  try {
    const store = storeOf(engine);
    const save = (runtimeId: string): Promise<void> =>
      store.commitSessionSnapshot(runtimeId, { sessionSnapshot: Buffer.alloc(600_000), profile: "opaque" });
    for (const runtimeId of ["a", "b", "c"]) await save(runtimeId);
    expect(await refusal(save("d"))).toMatchObject({ reason: "QUOTA", applied: "no", retry: "same_request" });
    expect((await store.loadSessionSnapshot("a"))?.length).toBe(600_000);
    await store.clearSessionSnapshot("a");
    // The space of a cleared document is free soon after the clear.
    await engine.reclaimed();
    await save("d");
    expect((await engine.stats()).usedBytes).toBeLessThan(2 << 20);
  } finally {
    await engine.close();
  }
});

describe("with a quota below what is stored", () => {
  const opaque = (bytes: number, fill: number): Buffer => Buffer.alloc(bytes, fill);
  const SIZES = [40_000, 600_000, 3_000_000];
  let engine: LmdbEngine;
  let store: RuntimeStoreAdapter;
  const save = (runtimeId: string, bytes: number, fill: number): Promise<void> =>
    store.commitSessionSnapshot(runtimeId, { sessionSnapshot: opaque(bytes, fill), profile: "opaque" });
  const row = (idempotencyKey: string): StoredInputState => ({
    inputId: "0198f01a-0000-7000-8000-000000000001",
    currentState: "accepted",
    idempotencyKey,
    attemptCount: 0,
    recoveryCount: 0,
    history: [],
    createdAt: "2026-05-28T15:31:27Z",
    updatedAt: "2026-05-28T15:31:27Z",
  });
  beforeEach(async () => {
    engine = await LmdbEngine.open(folder);
    store = storeOf(engine);
    for (const bytes of SIZES) await save(`rt ${String(bytes)}`, bytes, 1);
    await store.persistInputState("rt", row("0123456789"));
    await engine.close();
    engine = await LmdbEngine.open(folder, { quotaBytes: 1 << 20 });
    store = storeOf(engine);
  });
  afterEach(() => engine.close());

  test.each(SIZES)("a document of %d bytes is replaced by one of the same size or a shorter one", async (bytes) => {
    const runtimeId = `rt ${String(bytes)}`;
    const before = (await engine.stats()).usedBytes;
    for (let round = 2; round < 6; round += 1) {
      await save(runtimeId, bytes, round);
      await engine.reclaimed();
    }
    expect((await store.loadSessionSnapshot(runtimeId))?.[0]).toBe(5);
    // Outcomes, manifests and pages that are not full.
    expect((await engine.stats()).usedBytes).toBeLessThan(before + (256 << 10));
    await save(runtimeId, bytes - 1000, 6);
    expect(await refusal(save(runtimeId, bytes - 999, 7))).toMatchObject({ reason: "QUOTA", applied: "no" });
    expect(await refusal(save("new", 10, 7))).toMatchObject({ reason: "QUOTA", applied: "no" });
  });

  test("an input row and a lifecycle record are replaced by ones that are not longer", async () => {
    await store.persistInputState("rt", row("9876543210"));
    await store.persistInputState("rt", row("short"));
    expect(await refusal(store.persistInputState("rt", row("longer")))).toMatchObject({ reason: "QUOTA" });
    expect(await refusal(store.commitMachineLifecycle("rt", { runtimeState: "idle", binding: {} }, []))).toMatchObject({
      reason: "QUOTA",
    });
    expect(await store.loadInputStates("rt")).toMatchObject([{ idempotencyKey: "short" }]);
  });

  test("changes of one group are judged each by itself: a shorter one makes no room for another", async () => {
    const results = await Promise.all([
      refusal(save("rt 600000", 500_000, 2)),
      refusal(save("new", 10_000, 2)),
      refusal(save("rt 40000", 40_000, 2)),
      refusal(save("rt 3000000", 3_000_001, 2)),
    ]);
    expect(results.map((error) => error?.reason)).toEqual([undefined, "QUOTA", undefined, "QUOTA"]);
  });

  test("clears make room at once, and changes that grow are accepted again", async () => {
    await store.clearSessionSnapshot("rt 3000000");
    expect(await refusal(save("new", 500_000, 2))).toMatchObject({ reason: "QUOTA" });
    await store.clearSessionSnapshot("rt 600000");
    await engine.reclaimed();
    await save("new", 500_000, 2);
    expect((await engine.stats()).usedBytes).toBeLessThan(1 << 20);
  });
});

test("no transaction uses more pages than estimated, even when no free page can be reused", async () => {
  const environment = new Environment(folder);
  const pinned = environment.read();
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            row: fc.nat(3000),
            bytes: fc.oneof(fc.nat(300), fc.integer({ min: 1800, max: 2200 }), fc.nat(20_000)),
            isDeleted: fc.boolean(),
          }),
          { minLength: 1, maxLength: 200 },
        ),
        async (rows) => {
          const counts = environment.pages();
          const keyOf = (row: number): Buffer => Buffer.from(`runtime ${String((row * 7919) % 3001)}`);
          const distinct = [...new Map(rows.map((one) => [one.row, one])).values()];
          const values = distinct.map(({ bytes, isDeleted }) => (isDeleted ? 0 : bytes));
          await environment.write(
            distinct.map(
              ({ row, bytes, isDeleted }) => [keyOf(row), isDeleted ? undefined : Buffer.alloc(bytes)] as const,
            ),
          );
          const most =
            estimateTransactionPages(counts) +
            estimateBatchPages({ values, keyBytes: 12, parts: [], dropped: 0 }, counts);
          expect(environment.pages().end - counts.end).toBeLessThanOrEqual(most);
        },
      ),
      { numRuns: 60 },
    );
  } finally {
    pinned.done();
    await environment.close();
  }
});

test.each(["kept", "replaced"] as const)(
  "a document of 20 MiB that is %s uses no more pages than estimated",
  async (how) => {
    const engine = await LmdbEngine.open(folder);
    try {
      const store = storeOf(engine);
      const bytes = 20 << 20;
      const pages = async (): Promise<number> => (await engine.stats()).storedBytes / 4096;
      await store.commitSessionSnapshot("r", { sessionSnapshot: Buffer.alloc(bytes), profile: "opaque" });
      const before = await pages();
      const counts = { pageBytes: 4096, end: before, used: before, free: 0, depth: 2, leaves: before, branches: 0 };
      if (how === "kept")
        await store.commitSessionSnapshot("s", { sessionSnapshot: Buffer.alloc(bytes), profile: "opaque" });
      else await store.commitSessionSnapshot("r", { sessionSnapshot: Buffer.alloc(bytes, 1), profile: "opaque" });
      // The document is staged in transactions of 1 MiB, then committed, and then the old nodes are deleted.
      const nodes = Math.ceil(bytes / LEAF_BYTES) + 16;
      const load = {
        values: Array.from({ length: 30 }, () => 200),
        keyBytes: 12,
        parts: Array.from({ length: nodes }, () => LEAF_BYTES),
        dropped: how === "kept" ? 0 : nodes,
      };
      expect((await pages()) - before).toBeLessThanOrEqual(
        25 * estimateTransactionPages(counts) + estimateBatchPages(load, counts),
      );
    } finally {
      await engine.close();
    }
  },
);

test("nodes of every size use no more pages than estimated", async () => {
  const environment = new Environment(folder);
  const pinned = environment.read();
  let sequence = 0;
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 1, max: LEAF_BYTES })), {
          minLength: 1,
          maxLength: 120,
        }),
        async (parts) => {
          const counts = environment.pages();
          sequence += 1;
          await environment.write(
            parts.map((bytes, index) => [documentKey("node", sequence * 1000 + index), Buffer.alloc(bytes)] as const),
          );
          const most =
            estimateTransactionPages(counts) +
            estimateBatchPages({ values: [], keyBytes: 0, parts, dropped: 0 }, counts);
          expect(environment.pages().end - counts.end).toBeLessThanOrEqual(most);
        },
      ),
      { numRuns: 25 },
    );
  } finally {
    pinned.done();
    await environment.close();
  }
});

describe("on a full disk", () => {
  let isFull: boolean;
  let engine: LmdbEngine;
  let store: RuntimeStoreAdapter;
  let count = 0;

  const save = (bytes: number): Promise<StoreError | undefined> =>
    refusal(
      store.commitSessionSnapshot(`r${String((count += 1))}`, {
        sessionSnapshot: Buffer.alloc(bytes, count),
        profile: "opaque",
      }),
    );
  const untilRefused = async (bytes: number): Promise<StoreError> => {
    for (let attempt = 0; attempt < 10_000; attempt += 1) {
      const refused = await save(bytes);
      if (refused) return refused;
    }
    throw new Error("10,000 writes to a full disk were accepted");
  };

  beforeEach(async () => {
    isFull = false;
    count = 0;
    const file = await open(folder, "r");
    const prototype = Object.getPrototypeOf(file) as FileHandle;
    await file.close();
    const real = Reflect.get(prototype, "write") as (...args: unknown[]) => Promise<never>;
    jest.spyOn(prototype, "write").mockImplementation(function (this: FileHandle, ...args: unknown[]) {
      if (isFull) return Promise.reject(Object.assign(new Error("no space"), { code: "ENOSPC" }));
      return real.apply(this, args);
    });
    engine = await LmdbEngine.open(folder, {
      onFailure: (cause) => {
        throw cause;
      },
    });
    store = storeOf(engine);
    await save(1_000_000);
    isFull = true;
  });

  afterEach(async () => {
    jest.restoreAllMocks();
    await engine.close();
  });

  test("a write is refused, stored data can be read, and after a clear there is space for the next write", async () => {
    expect(await untilRefused(1_000_000)).toMatchObject({ reason: "DISK_FULL", applied: "no", retry: "same_request" });
    expect(Buffer.alloc(1_000_000, 1).equals((await store.loadSessionSnapshot("r1")) ?? Buffer.of())).toBe(true);
    for (let run = 1; run < count; run += 1) await store.clearSessionSnapshot(`r${String(run)}`);
    await engine.reclaimed();
    expect(await save(10_000)).toBeUndefined();
  });

  test("clears have space even when no page inside the file can be reused", async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const reader = engine.view(() => held);
    expect((await untilRefused(3_000)).reason).toBe("DISK_FULL");
    for (let run = 1; run <= 10; run += 1) await store.clearSessionSnapshot(`r${String(run)}`);
    release();
    await reader;
  });

  test("a file with many free pages accepts small writes without growing", async () => {
    await untilRefused(1_000_000);
    const before = (await engine.stats()).storedBytes;
    await store.clearSessionSnapshot("r1");
    for (let write = 0; write < 200; write += 1) {
      expect(
        await refusal(store.commitMachineLifecycle("small", { runtimeState: "idle", binding: {} }, [])),
      ).toBeUndefined();
    }
    expect((await engine.stats()).storedBytes - before).toBeLessThan(1 << 20);
  });

  test("writes are accepted again when the disk has space again", async () => {
    await untilRefused(1_000_000);
    isFull = false;
    const deadline = Date.now() + 5000;
    while ((await save(1_000_000)) && Date.now() < deadline) await new Promise(setImmediate);
    expect(await save(1_000_000)).toBeUndefined();
  });
});
