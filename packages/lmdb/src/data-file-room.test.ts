import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RuntimeStoreAdapter, type StoreError } from "@bolthole/contract";
import { type Engine, createEngineStore } from "@bolthole/core";
import fc from "fast-check";
import { Environment } from "./environment.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { pagesOfTransaction, pagesOfUnit } from "./page-need.js";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-room-"));
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

test("beyond its quota a store takes nothing but clears, and then it takes writes again", async () => {
  const engine = await LmdbEngine.open(folder, { quotaBytes: 2 << 20 });
  try {
    const store = storeOf(engine);
    const save = (runtimeId: string): Promise<void> =>
      store.commitSessionSnapshot(runtimeId, { sessionSnapshot: Buffer.alloc(600_000), profile: "opaque" });
    for (const runtimeId of ["a", "b", "c"]) await save(runtimeId);
    expect(await refusal(save("d"))).toMatchObject({ reason: "QUOTA", applied: "no", retry: "same_request" });
    expect((await store.loadSessionSnapshot("a"))?.length).toBe(600_000);
    await store.clearSessionSnapshot("a");
    await save("d");
    expect((await engine.stats()).usedBytes).toBeLessThan(2 << 20);
  } finally {
    await engine.close();
  }
});

test("no transaction takes more pages than were reckoned, even when no free page can be used again", async () => {
  const environment = new Environment(folder);
  const pinned = environment.read();
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            row: fc.nat(3000),
            bytes: fc.oneof(fc.nat(300), fc.integer({ min: 1800, max: 2200 }), fc.nat(20_000)),
            isGone: fc.boolean(),
          }),
          { minLength: 1, maxLength: 200 },
        ),
        async (rows) => {
          const counts = environment.pages();
          const keyOf = (row: number): Buffer => Buffer.from(`runtime ${String((row * 7919) % 3001)}`);
          const distinct = [...new Map(rows.map((one) => [one.row, one])).values()];
          const values = distinct.map(({ bytes, isGone }) => (isGone ? 0 : bytes));
          await environment.write(
            distinct.map(({ row, bytes, isGone }) => [keyOf(row), isGone ? undefined : Buffer.alloc(bytes)] as const),
          );
          const most = pagesOfTransaction(counts) + pagesOfUnit({ values, parts: [], dropped: 0 }, counts);
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
  "a document of 20 MiB that is %s takes no more than was reckoned",
  async (how) => {
    const engine = await LmdbEngine.open(folder);
    try {
      const store = storeOf(engine);
      const bytes = 20 << 20;
      const pages = async (): Promise<number> => (await engine.stats()).storedBytes / 4096;
      await store.commitSessionSnapshot("r", { sessionSnapshot: Buffer.alloc(bytes), profile: "opaque" });
      const before = await pages();
      const counts = { pageBytes: 4096, end: before, used: before, free: 0, depth: 2 };
      if (how === "kept")
        await store.commitSessionSnapshot("s", { sessionSnapshot: Buffer.alloc(bytes), profile: "opaque" });
      else await store.commitSessionSnapshot("r", { sessionSnapshot: Buffer.alloc(bytes, 1), profile: "opaque" });
      const load = { values: Array.from({ length: 5 }, () => 200), parts: [bytes], dropped: how === "kept" ? 0 : 81 };
      expect((await pages()) - before).toBeLessThanOrEqual(pagesOfTransaction(counts) + pagesOfUnit(load, counts));
    } finally {
      await engine.close();
    }
  },
);
