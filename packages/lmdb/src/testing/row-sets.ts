import type { RunBoundaryReceipt, RuntimeContents, RuntimeId } from "@bolthole/contract";
import { emptyContents, importContents } from "@bolthole/contract";
import type { EngineStore } from "@bolthole/core";
import { Environment } from "../environment.js";
import { ROW_SPACE_KEYS, type RowSpaceKey, rowSpaceKindBounds } from "../keys.js";
import { inputId, inputState } from "@bolthole/core/testing";

/** More rows than one transaction writes or deletes. */
export const MANY_ROWS = 600;

/** Returns the contents of a runtime with `count` input rows, which have this number of attempts, and `count` receipts. */
export const rowSet = (runtimeId: RuntimeId, count: number, attemptCount: number): RuntimeContents => ({
  ...emptyContents(runtimeId),
  inputs: Array.from({ length: count }, (_, serial) => inputState(serial, attemptCount)),
  receipts: Array.from({ length: count }, (_, serial): RunBoundaryReceipt => ({
    runId: inputId(serial),
    boundary: "run_start",
    contributingInputIds: [],
    messageCount: BigInt(attemptCount),
    sequence: BigInt(serial),
  })),
});

/** Replaces a runtime by these contents. */
export const importOver = (store: EngineStore, contents: RuntimeContents): Promise<unknown> =>
  importContents(store, { contents, overwrite: true, dryRun: false });

/** Replaces a runtime by these contents, or deletes it when there are none. */
export const replaceOrDelete = (
  store: EngineStore,
  runtimeId: RuntimeId,
  contents: RuntimeContents | undefined,
): Promise<unknown> => (contents ? importOver(store, contents) : store.deleteRuntime({ runtimeId }));

/** Counts the values of each kind in the row spaces of a folder that no engine has open. Kinds without a value are left out. */
export async function rowSpaceValues(folder: string): Promise<Partial<Record<RowSpaceKey, number>>> {
  const environment = new Environment(folder);
  const transaction = environment.read();
  try {
    const counts: Partial<Record<RowSpaceKey, number>> = {};
    for (const kind of Object.keys(ROW_SPACE_KEYS) as RowSpaceKey[]) {
      const { start, end } = rowSpaceKindBounds(kind);
      const count = [...transaction.keys(start, end)].length;
      if (count > 0) counts[kind] = count;
    }
    return counts;
  } finally {
    transaction.done();
    await environment.close();
  }
}
