import { mkdtempSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EngineStore, ReadSet, type RowSlice, type StagedRows, createEngineStore } from "@bolthole/core";
import { DiskReservation } from "../disk-reservation.js";
import { Environment } from "../environment.js";
import { LmdbEngine } from "../lmdb-engine.js";
import { inputId, inputState } from "@bolthole/core/testing";
import { MANY_ROWS, importOver, rowSet, rowSpaceValues } from "../testing/row-sets.js";

let folder: string;
let engine: LmdbEngine;
let store: EngineStore;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-row-pages-"));
  engine = await LmdbEngine.open(folder, {
    onFailure: (cause) => {
      throw cause;
    },
  });
  store = createEngineStore(engine);
});

afterEach(async () => {
  jest.restoreAllMocks();
  await engine.close();
  rmSync(folder, { recursive: true });
});

const SLICE_ROWS = 256;

/** Yields slices of rows of these sizes. */
// eslint-disable-next-line @typescript-eslint/require-await -- the port allows waiting for the slices
async function* slicesOf(sizes: readonly number[]): AsyncGenerator<RowSlice, void> {
  for (let from = 0; from < sizes.length; from += SLICE_ROWS) {
    yield (sequence) =>
      sizes.slice(from, from + SLICE_ROWS).map((bytes, index) => ({
        key: { table: "input", runtimeId: "rt", inputId: inputId(from + index) },
        row: { sequence, checksum: 0, value: Buffer.alloc(bytes) },
      }));
  }
}

const replace = (rows: StagedRows | undefined): Promise<undefined> =>
  engine.commit({
    reads: new ReadSet(),
    bytes: 0,
    decide: () => ({
      writes: [],
      replaceRows: { runtimeId: "rt", rows },
      result: undefined,
      freesSpace: rows === undefined,
    }),
  });

test.each<[string, (serial: number) => number]>([
  ["short", () => 200],
  ["as long as half a page", () => 1890],
  ["long", () => 5000],
  ["of all sizes", (serial) => (serial * 7919) % 6000],
])(
  "no transaction over %s rows uses more pages than were reserved, even when no free page can be reused",
  async (_what, sizeOf) => {
    const transactions: { readonly reserved: number; readonly used: number }[] = [];
    let reserved = 0;
    const { spend } = DiskReservation.prototype;
    jest.spyOn(DiskReservation.prototype, "spend").mockImplementation(function (this: DiskReservation, request) {
      reserved = request.pages;
      spend.call(this, request);
    });
    const { write } = Environment.prototype;
    jest.spyOn(Environment.prototype, "write").mockImplementation(async function (this: Environment, puts) {
      const before = this.pages().end;
      await write.call(this, puts);
      transactions.push({ reserved, used: this.pages().end - before });
    });
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const reader = engine.view(() => held);
    const sizes = Array.from({ length: 3 * SLICE_ROWS }, (_, serial) => sizeOf(serial));
    for (let round = 0; round < 3; round += 1) {
      await replace(await engine.stageRows("rt", slicesOf(sizes)));
      await engine.reclaimed();
    }
    await replace(undefined);
    await engine.reclaimed();
    release();
    await reader;
    expect(transactions.length).toBeGreaterThan(20);
    for (const { reserved: most, used } of transactions) expect(used).toBeLessThanOrEqual(most);
    // A deletion always fits into the reserve of 4 MiB.
    expect(Math.max(...transactions.slice(-4).map(({ reserved: pages }) => pages))).toBeLessThan(1024);
  },
);

test.each(["free", "pinned"])(
  "a runtime with many rows is deleted on a full disk while old pages are %s",
  async (pages) => {
    await importOver(store, rowSet("rt", 4 * MANY_ROWS, 1));
    for (let serial = 0; serial < 2 * MANY_ROWS; serial += 1) {
      await store.persistInputState({ runtimeId: "default", state: inputState(serial) });
    }
    await engine.reclaimed();
    const file = await open(folder, "r");
    const prototype = Object.getPrototypeOf(file) as FileHandle;
    await file.close();
    jest.spyOn(prototype, "write").mockImplementation(() => {
      return Promise.reject(Object.assign(new Error("no space"), { code: "ENOSPC" }));
    });
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const reader = pages === "pinned" ? engine.view(() => held) : undefined;
    const fill = async (): Promise<void> => {
      for (let serial = 0; serial < 100_000; serial += 1) {
        await store.persistOpsLifecycle({ runtimeId: `fill ${serial}`, snapshot: opsSnapshot() });
      }
    };
    await expect(fill()).rejects.toMatchObject({ reason: "DISK_FULL" });
    await expect(importOver(store, rowSet("more", 4 * MANY_ROWS, 1))).rejects.toMatchObject({
      reason: "DISK_FULL",
      applied: "no",
    });
    await store.deleteRuntime({ runtimeId: "rt" });
    await store.deleteRuntime({ runtimeId: "default" });
    await engine.reclaimed();
    expect(
      (await store.listRuntimes({ pageSize: 0, pageToken: "" })).runtimes.map(({ runtimeId }) => runtimeId),
    ).not.toContain("rt");
    release();
    await reader;
    jest.restoreAllMocks();
    await untilAccepted(() => store.persistInputState({ runtimeId: "after", state: inputState(1) }));
    await engine.reclaimed();
    await engine.close();
    expect(await rowSpaceValues(folder)).toEqual({});
    engine = await LmdbEngine.open(folder);
  },
);

/** Repeats a write for up to five seconds: the store tries to grow its file only a few times a second. */
async function untilAccepted(write: () => Promise<unknown>): Promise<void> {
  const deadline = Date.now() + 5000;
  for (;;) {
    try {
      await write();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise(setImmediate);
    }
  }
}

/** Returns a snapshot that is larger than a page. */
const opsSnapshot = (): Parameters<EngineStore["persistOpsLifecycle"]>[0]["snapshot"] => ({
  epochId: inputId(9),
  authorityState: {
    operations: {},
    completionFeedEntries: {},
    completedOrder: Array.from({ length: 300 }, (_, serial) => inputId(serial)),
    maxCompleted: 0n,
    activeCount: 0n,
    waitOperationIds: [],
    nextCompletionSeq: 1n,
  },
  operationSpecs: {},
  completionEntries: [],
  cursors: { agentAppliedCursor: 1n, runtimeObservedSeq: 2n, runtimeLastInjectedSeq: 3n },
});
