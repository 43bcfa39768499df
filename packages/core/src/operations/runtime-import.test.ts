import type { ImportResult, RunBoundaryReceipt, RuntimeContents, RuntimePart } from "@bolthole/contract";
import { emptyContents, exportContents, importContents, partsOf } from "@bolthole/contract";
import { type RowSlice, StaleBaseError } from "../engine.js";
import { type EngineStore, createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { inputState } from "../testing/input-states.js";

const contents = (count: number, attemptCount: number): RuntimeContents => ({
  ...emptyContents("rt"),
  inputs: Array.from({ length: count }, (_, serial) => inputState(serial, attemptCount)),
});

let engine: MemoryEngine;
let store: EngineStore;
beforeEach(() => {
  engine = new MemoryEngine();
  store = createEngineStore(engine);
});
afterEach(() => {
  jest.restoreAllMocks();
});

const imported = (count: number, attemptCount: number): Promise<unknown> =>
  importContents(store, { contents: contents(count, attemptCount), overwrite: true, dryRun: false });

async function attempts(): Promise<number[]> {
  const { batches } = await store.loadInputStates({ runtimeId: "rt" });
  const found: number[] = [];
  for await (const batch of batches) for (const { value } of batch) found.push(value.attemptCount);
  return [...new Set(found)];
}

test("few rows are written in the commit, and many are staged once, also when the commit is attempted again", async () => {
  const stageRows = jest.spyOn(engine, "stageRows");
  const discardRows = jest.spyOn(engine, "discardRows");
  await imported(256, 1);
  await imported(1, 2);
  await imported(256, 3);
  expect(stageRows).not.toHaveBeenCalled();
  jest.spyOn(engine, "commit").mockRejectedValueOnce(new StaleBaseError()).mockRejectedValueOnce(new StaleBaseError());
  await imported(257, 4);
  expect(stageRows).toHaveBeenCalledTimes(1);
  expect(discardRows).not.toHaveBeenCalled();
  expect(await attempts()).toEqual([4]);
  await imported(3, 5);
  expect(stageRows).toHaveBeenCalledTimes(2);
  expect(await attempts()).toEqual([5]);
});

test("a few long rows are staged too, and replaced as a row set", async () => {
  const long: RunBoundaryReceipt = {
    runId: inputState(1, 0).inputId,
    boundary: "run_start",
    contributingInputIds: Array.from({ length: 30_000 }, () => inputState(2, 0).inputId),
    messageCount: 0n,
    sequence: 0n,
  };
  const stageRows = jest.spyOn(engine, "stageRows");
  const importOver = (receipts: readonly RunBoundaryReceipt[]): Promise<unknown> =>
    importContents(store, { contents: { ...contents(3, 1), receipts }, overwrite: true, dryRun: false });
  await importOver([long]);
  expect(stageRows).toHaveBeenCalledTimes(1);
  await importOver([]);
  expect(stageRows).toHaveBeenCalledTimes(2);
  expect(await exportContents(store, { runtimeId: "rt", salvage: false })).toMatchObject(contents(3, 1));
});

test("staged rows of an import that fails are discarded, and the stored rows stay", async () => {
  await imported(300, 1);
  const discardRows = jest.spyOn(engine, "discardRows");
  jest.spyOn(engine, "commit").mockRejectedValueOnce(new Error("the disk"));
  await expect(imported(300, 2)).rejects.toThrow("the disk");
  expect(discardRows).toHaveBeenCalledTimes(1);
  jest.spyOn(engine, "commit").mockRejectedValue(new StaleBaseError());
  await expect(imported(300, 3)).rejects.toMatchObject({ reason: "BUSY", applied: "no" });
  expect(discardRows).toHaveBeenCalledTimes(2);
  jest.restoreAllMocks();
  expect(await attempts()).toEqual([1]);
});

test("an import of the rows that are stored stages nothing", async () => {
  await imported(300, 1);
  const stageRows = jest.spyOn(engine, "stageRows");
  expect(await imported(300, 1)).toBe("unchanged");
  expect(stageRows).not.toHaveBeenCalled();
});

/** Counts the rows of the slices that an engine has staged so far. */
function stagedRows(): { count: number } {
  const staged = { count: 0 };
  const stageRows = engine.stageRows.bind(engine);
  engine.stageRows = (runtimeId, slices) => {
    const counted = async function* (): AsyncGenerator<RowSlice, void> {
      for await (const slice of slices) {
        yield slice;
        staged.count += slice(1).length;
      }
    };
    return stageRows(runtimeId, counted());
  };
  return staged;
}

/** Yields one row in each part, and calls `sent` after each with the number of rows that were taken. */
async function* rowByRow(
  inputs: RuntimeContents["inputs"],
  sent: (rows: number) => Promise<void> | void,
): AsyncGenerator<RuntimePart, void> {
  for (const [index, input] of inputs.entries()) {
    yield { kind: "inputs", inputs: [input] };
    await sent(index + 1);
  }
}

const importParts = (parts: AsyncIterable<RuntimePart>, overwrite = true): Promise<ImportResult> =>
  store.importRuntime({ runtimeId: "rt", parts, overwrite, dryRun: false });

test("rows are staged while they arrive, and are never in memory together", async () => {
  const staged = stagedRows();
  let mostWaiting = 0;
  const parts = rowByRow(contents(3000, 1).inputs, (rows) => {
    mostWaiting = Math.max(mostWaiting, rows - staged.count);
  });
  expect(await importParts(parts)).toBe("added");
  expect(mostWaiting).toBeLessThan(2 * 257);
  expect(await attempts()).toEqual([1]);
});

test("nothing is staged before the first difference, and the equal rows before it come from the stored ones", async () => {
  await imported(3000, 1);
  const staged = stagedRows();
  const { inputs } = contents(3000, 1);
  const changed = inputs.map((row, index) => (index === 2000 ? { ...row, recoveryCount: 7 } : row));
  const atDifference: number[] = [];
  const parts = rowByRow(changed, (rows) => {
    if (rows === 2000) atDifference.push(staged.count);
  });
  expect(await importParts(parts)).toBe("replaced");
  expect([atDifference, staged.count]).toEqual([[0], 3000]);
  expect((await exportContents(store, { runtimeId: "rt" }))?.inputs).toEqual(changed);
});

test("without overwrite, other rows are checked to their end and not staged", async () => {
  await imported(300, 1);
  const stageRows = jest.spyOn(engine, "stageRows");
  expect(await importParts(partsOf(contents(3000, 2)), false)).toBe("kept");
  const last = { ...inputState(3000), currentState: "consumed" } as const;
  const invalid = { ...contents(3000, 2), inputs: [...contents(3000, 2).inputs, last] };
  await expect(importParts(partsOf(invalid), false)).rejects.toMatchObject({ reason: "RECORD_REJECTED" });
  expect(stageRows).not.toHaveBeenCalled();
  expect(await attempts()).toEqual([1]);
});

test("stored rows that other rows follow, or that differ only in a receipt, are replaced", async () => {
  const receipts: RunBoundaryReceipt[] = Array.from({ length: 700 }, (_, n) => ({
    runId: inputState(1).inputId,
    boundary: "run_start",
    contributingInputIds: [],
    messageCount: 0n,
    sequence: BigInt(n),
  }));
  const full = { ...contents(700, 1), receipts };
  expect(await importParts(partsOf(full))).toBe("added");
  expect(await importParts(partsOf(full))).toBe("unchanged");
  const others: RuntimeContents[] = [
    { ...full, receipts: receipts.slice(0, 600) },
    { ...full, inputs: full.inputs.slice(0, 600) },
    { ...full, receipts: receipts.map((one) => (one.sequence === 650n ? { ...one, messageCount: 1n } : one)) },
  ];
  for (const other of others) {
    expect(await importParts(partsOf(full))).toMatch(/unchanged|replaced/);
    expect(await importParts(partsOf(other), false)).toBe("kept");
    expect(await importParts(partsOf(other))).toBe("replaced");
    expect(await importParts(partsOf(other))).toBe("unchanged");
    expect(await exportContents(store, { runtimeId: "rt" })).toMatchObject(other);
  }
});

test("equal rows are staged from the stored ones when only another record differs", async () => {
  await imported(700, 1);
  const session = { snapshot: Buffer.from("document"), profile: "opaque" } as const;
  const stageRows = jest.spyOn(engine, "stageRows");
  expect(await importParts(partsOf({ ...contents(700, 1), session }))).toBe("replaced");
  expect(stageRows).toHaveBeenCalledTimes(1);
  expect(await exportContents(store, { runtimeId: "rt" })).toMatchObject({ ...contents(700, 1), session });
  expect(await importParts(partsOf({ ...contents(700, 1), session }))).toBe("unchanged");
});

describe("while another writer changes the runtime", () => {
  const { inputs } = contents(3000, 1);
  const other = { runtimeId: "rt", state: inputState(5000) };

  test("an import of the stored rows is compared again with the rows that are stored in the end", async () => {
    await imported(3000, 1);
    const sessionLast = rowByRow(inputs, async (rows) => {
      if (rows !== 3000) return;
      const sessionDelta = { sessionSnapshot: Buffer.of(1), profile: "opaque" } as const;
      await store.commitSessionSnapshot({ runtimeId: "rt", sessionDelta });
    });
    // The rows are unchanged, and the session is replaced by none.
    expect(await importParts(sessionLast)).toBe("replaced");
    expect(await exportContents(store, { runtimeId: "rt" })).toMatchObject({ inputs, session: undefined });

    const twice = await Promise.all([importParts(rowByRow(inputs, () => undefined)), imported(3000, 1)]);
    expect(twice).toEqual(["unchanged", "unchanged"]);
  });

  test("two imports of the same rows into an absent runtime store them once", async () => {
    const both = [importParts(partsOf(contents(3000, 1)), false), importParts(partsOf(contents(3000, 1)), false)];
    expect((await Promise.all(both)).sort()).toEqual(["added", "unchanged"]);
  });

  test("an import whose equal rows were changed is refused as BUSY, because they are not sent again", async () => {
    await imported(3000, 1);
    const parts = rowByRow(inputs, async (rows) => {
      if (rows === 1500) await store.persistInputState(other);
    });
    await expect(importParts(parts)).rejects.toMatchObject({ reason: "BUSY", applied: "no", retry: "same_request" });
    expect(await exportContents(store, { runtimeId: "rt" })).toMatchObject({ inputs: [...inputs, other.state] });
    expect(await importParts(partsOf(contents(3000, 1)))).toBe("replaced");
  });

  test("an import whose rows are staged replaces whatever is stored in the end", async () => {
    await imported(3000, 0);
    const parts = rowByRow(inputs, async (rows) => {
      if (rows === 1500) await store.persistInputState(other);
    });
    expect(await importParts(parts)).toBe("replaced");
    expect(await exportContents(store, { runtimeId: "rt" })).toMatchObject({ inputs });
  });
});

test("an error of the parts ends an import without a change", async () => {
  await imported(300, 1);
  const discarded = new Error("the source");
  for (const failsAt of [10, 2000]) {
    const parts = rowByRow(contents(3000, 2).inputs, (rows) => {
      if (rows === failsAt) throw discarded;
    });
    await expect(importParts(parts)).rejects.toThrow("the source");
  }
  expect(await attempts()).toEqual([1]);
});
