import {
  type ExportedPart,
  type RuntimeContents,
  emptyContents,
  exportContents,
  importContents,
} from "@bolthole/contract";
import { ReadSet } from "../commit/row.js";
import type { Engine } from "../engine.js";
import { createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { inputId, inputState } from "../testing/input-states.js";
import { pageSizes, withoutHolding } from "../testing/observed-engine.js";

const ROWS = 3000;
const CONTENTS: RuntimeContents = {
  ...emptyContents("rt"),
  session: { snapshot: Buffer.from("document"), profile: "opaque" },
  inputs: Array.from({ length: ROWS }, (_, n) => ({ ...inputState(n), idempotencyKey: "x".repeat(3000) })),
  receipts: Array.from({ length: ROWS }, (_, n) => ({
    runId: inputId(n),
    boundary: "run_start",
    contributingInputIds: [],
    messageCount: 0n,
    sequence: BigInt(n),
  })),
};

async function storeWithRows(engine: Engine) {
  const store = createEngineStore(engine);
  await importContents(store, { contents: CONTENTS, overwrite: false, dryRun: false });
  return store;
}

test("an export reads a page at a time, and none before it is requested", async () => {
  const engine = new MemoryEngine();
  const store = await storeWithRows(engine);
  const sizes = pageSizes(engine);
  const parts = (await store.exportRuntime({ runtimeId: "rt" }))?.[Symbol.asyncIterator]();
  expect((await parts?.next())?.value).toMatchObject({ kind: "session" });
  expect((await parts?.next())?.value).toMatchObject({ kind: "inputs" });
  expect(sizes).toHaveLength(1);
  const kinds: string[] = [];
  for (let next = await parts?.next(); next && next.done !== true; next = await parts?.next()) {
    kinds.push(next.value.kind);
  }
  expect([...new Set(kinds)]).toEqual(["inputs", "receipts"]);
  expect(kinds.length).toBeGreaterThan(15);
  expect(Math.max(...sizes)).toBeLessThan(1 << 20);
});

const consume = async (parts: AsyncIterable<ExportedPart> | undefined, each: () => Promise<unknown>): Promise<void> => {
  for await (const part of parts ?? []) if (part.kind === "inputs") await each();
};

describe.each([
  [true, "a held view", (engine: Engine): Engine => engine],
  [false, "views that end after each read", withoutHolding],
])("with %s: %s", (isHeld, _views, wrap) => {
  test.each([false, true])("a writer of rows during an export (salvage: %s)", async (salvage) => {
    const store = await storeWithRows(wrap(new MemoryEngine()));
    let written = 0;
    const parts = await store.exportRuntime({ runtimeId: "rt", salvage });
    const exported = consume(parts, () =>
      store.persistInputState({ runtimeId: "rt", state: inputState(1, ++written) }),
    );
    if (isHeld) await exported;
    else await expect(exported).rejects.toMatchObject({ reason: "BUSY", variant: "ReadFailed", retry: "same_request" });
    expect(written).toBeGreaterThan(0);
  });

  test("a writer of other records does not end an export, which has the records of its beginning", async () => {
    const store = await storeWithRows(wrap(new MemoryEngine()));
    const sessionDelta = { sessionSnapshot: Buffer.of(1), profile: "opaque" } as const;
    const slow = {
      exportRuntime: async (request: { readonly runtimeId: string }) => {
        const parts = await store.exportRuntime(request);
        async function* during(): AsyncGenerator<ExportedPart, void> {
          for await (const part of parts ?? []) {
            yield part;
            await store.commitSessionSnapshot({ runtimeId: "rt", sessionDelta });
          }
        }
        return during();
      },
    };
    expect(await exportContents(slow, { runtimeId: "rt" })).toEqual({ ...CONTENTS, findings: [] });
  });
});

test("damage of a late row ends an export in its middle, and is left out and reported by a salvage", async () => {
  const engine = new MemoryEngine();
  const store = await storeWithRows(engine);
  const key = { table: "input", runtimeId: "rt", inputId: inputId(ROWS - 1) } as const;
  const reads = new ReadSet();
  const handle = reads.add(key);
  const row = await engine.view((view) => view.get(key));
  if (!row) throw new Error("the row to damage is missing");
  const damaged = { ...row, checksum: row.checksum ^ 1 };
  await engine.commit({
    reads,
    bytes: 0,
    decide: () => ({ writes: [{ handle, row: damaged }], result: undefined, freesSpace: false }),
  });
  let received = 0;
  const parts = await store.exportRuntime({ runtimeId: "rt" });
  const exported = consume(parts, () => Promise.resolve((received += 1)));
  await expect(exported).rejects.toMatchObject({
    reason: "DAMAGED_RECORD",
    subject: { record: `input state ${inputId(ROWS - 1)}` },
  });
  expect(received).toBeGreaterThan(1);
  const salvaged = await exportContents(store, { runtimeId: "rt", salvage: true });
  expect(salvaged?.inputs).toEqual(CONTENTS.inputs.slice(0, -1));
  expect(salvaged?.receipts).toEqual(CONTENTS.receipts);
  expect(salvaged?.findings.map(({ code }) => code)).toEqual(["row-damaged"]);
});
