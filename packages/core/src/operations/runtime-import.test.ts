import type { RunBoundaryReceipt, RuntimeContents } from "@bolthole/contract";
import { emptyContents } from "@bolthole/contract";
import { StaleBaseError } from "../engine.js";
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
  store.importRuntime({ contents: contents(count, attemptCount), overwrite: true, dryRun: false });

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
    store.importRuntime({ contents: { ...contents(3, 1), receipts }, overwrite: true, dryRun: false });
  await importOver([long]);
  expect(stageRows).toHaveBeenCalledTimes(1);
  await importOver([]);
  expect(stageRows).toHaveBeenCalledTimes(2);
  expect(await store.exportRuntime({ runtimeId: "rt", salvage: false })).toMatchObject(contents(3, 1));
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
