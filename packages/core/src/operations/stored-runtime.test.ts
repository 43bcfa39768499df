import { emptyContents, importContents } from "@bolthole/contract";
import { createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { inputState } from "../testing/input-states.js";
import { pageSizes } from "../testing/observed-engine.js";
import { type ReplacedRuntime, readReplaced } from "./stored-runtime.js";

/** Returns what a deletion or an import reads of a runtime with input rows of this size. */
async function replacedWith(count: number, bytes = 0): Promise<ReplacedRuntime> {
  const engine = new MemoryEngine();
  const store = createEngineStore(engine);
  const inputs = Array.from({ length: count }, (_, n) => ({ ...inputState(n), idempotencyKey: "x".repeat(bytes) }));
  const session = { snapshot: Buffer.from("document"), profile: "opaque" } as const;
  const contents = { ...emptyContents("rt"), session, inputs };
  await importContents(store, { contents, overwrite: false, dryRun: false });
  const sizes = pageSizes(engine);
  const replaced = await engine.view((view) => readReplaced(view, "rt"));
  expect(Math.max(...sizes)).toBeLessThan(2 << 20);
  return replaced;
}

test.each([
  [0, 0],
  [1, 0],
  [256, 0],
  [3, 300_000],
])("%d rows of %d bytes are kept, because they are replaced one by one", async (count, bytes) => {
  const { few, rows, singles, matchesManifest } = await replacedWith(count, bytes);
  expect(few).toHaveLength(count);
  expect([rows.input.rows, singles.length, matchesManifest]).toEqual([count, 1, true]);
});

test.each([
  [257, 0],
  [4, 300_000],
  [3000, 3000],
])("of %d rows of %d bytes only the number and the checksums are kept", async (count, bytes) => {
  const { few, rows, singles, matchesManifest } = await replacedWith(count, bytes);
  expect(few).toBeUndefined();
  expect([rows.input.rows, singles.length, matchesManifest]).toEqual([count, 1, true]);
});
