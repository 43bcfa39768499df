import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EngineStore, createEngineStore } from "@bolthole/core";
import { decodeCounter, encodeCounter } from "./counter.js";
import { Environment } from "./environment.js";
import { NODE_ID_KEY, ROW_SPACE_ID_KEY, SEQUENCE_KEY } from "./keys.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { damageFolder, lastBitFlipped } from "./testing/damaged-folder.js";
import { importOver, rowSet } from "./testing/row-sets.js";

/** More rows than a commit writes one by one. */
const MANY_ROWS = 300;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-counter-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function opened(use: (store: EngineStore) => Promise<void>): Promise<void> {
  const engine = await LmdbEngine.open(folder, { check: { level: "quick", maxBytes: Infinity } });
  try {
    await use(createEngineStore(engine));
    await engine.reclaimed();
  } finally {
    await engine.close();
  }
}

/** Stores a document and a row set in a row space, so that all counters are above their first value. */
const fill = (round: number): Promise<void> =>
  opened(async (store) => {
    const sessionDelta = { sessionSnapshot: Buffer.alloc(200_000, `document ${round}`), profile: "opaque" } as const;
    await store.commitSessionSnapshot({ runtimeId: "one", sessionDelta });
    await importOver(store, rowSet("two", MANY_ROWS, round));
  });

const nothing = (): Promise<void> => Promise.resolve();

const COUNTERS = [
  ["last commit", SEQUENCE_KEY],
  ["next document node", NODE_ID_KEY],
  ["next row space", ROW_SPACE_ID_KEY],
] as const;

describe.each(COUNTERS)("a store whose number of the %s", (name, key) => {
  const refusal = `the number of the ${name} is damaged`;
  beforeEach(() => fill(1));

  test("has a flipped bit is not opened", async () => {
    await damageFolder(folder, lastBitFlipped(key));
    await expect(opened(nothing)).rejects.toThrow(refusal);
  });

  test("is older than what is stored is not opened", async () => {
    await damageFolder(folder, () => [key, encodeCounter(key, 1)]);
    await expect(opened(nothing)).rejects.toThrow(refusal);
  });

  test("is missing is not opened", async () => {
    await damageFolder(folder, () => [key, undefined]);
    await expect(opened(nothing)).rejects.toThrow(refusal);
  });

  test("has the form of format 2 is opened, and seals it with the next change", async () => {
    await damageFolder(folder, (environment) => {
      const stored = environment.get(key);
      return [key, Buffer.from(stored?.subarray(0, 8) ?? [])];
    });
    await fill(2);
    const environment = new Environment(folder, { readOnly: true });
    const stored = environment.get(key);
    expect(stored).toHaveLength(12);
    expect(stored && decodeCounter(key, stored)).toBeGreaterThan(1);
    await environment.close();
  });
});
