import type { StoredInputState, VersionedStore, Versioned } from "@bolthole/contract";
import { StoreError, readFailed } from "@bolthole/contract";
import { readInputState, readStoredInputState } from "@bolthole/json";
import { isForeignRow } from "../commit/derived.js";
import { type RowEntry, type KeyOf, type Row, type View, pagesOf } from "../engine.js";
import { EMPTY_RUNTIME_MANIFEST, type RuntimeManifest, decodeRuntimeManifest } from "../commit/runtime-manifest.js";
import { ReadSet } from "../commit/read-set.js";
import { damaged, decodeRow } from "../commit/row.js";
import { versionText } from "../commit/version.js";
import { inputRows, putInputs } from "../rules/input.js";
import { type StoreContext, checkRuntime, commit, loadRow, versionOf } from "../store-context.js";
import { parseUuid } from "../validate.js";

type InputOperations = Pick<VersionedStore, "persistInputState" | "loadInputState" | "loadInputStates">;
type InputEntry = RowEntry<KeyOf<"input">>;

/** Of stored values in one batch, so that its message stays below 1 MiB on the wire. */
const BATCH_BYTES = 700_000;

export const inputOperations = (context: StoreContext): InputOperations => ({
  async persistInputState(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    const inputs = inputRows(runtimeId, [request.state], () => "state", context.limits);
    const reads = new ReadSet();
    const edits = putInputs(inputs, reads);
    return commit(context, {
      method: "PersistInputState",
      request,
      args: { state: inputs.rows.map(({ value }) => value) },
      reads,
      bytes: inputs.bytes,
      decide: () => edits,
    });
  },

  async loadInputState(request) {
    const runtimeId = checkRuntime(context, request.runtimeId, readFailed);
    const inputId = parseUuid(request.inputId, "input_id", readFailed);
    return loadRow(context, { table: "input", runtimeId, inputId }, readRow);
  },

  async loadInputStates(request) {
    const runtimeId = checkRuntime(context, request.runtimeId, readFailed);
    const failures: StoreError[] = [];
    const fail = failing(request.eachOutcome === true ? failures : undefined);
    const { head, entries } = await context.engine.view((view) => readLedger(view, runtimeId, fail));
    return {
      inputsVersion: head ? versionText(context.engine.epoch, head.inputsSequence) : "",
      batches: batches(context, entries, fail),
      failures,
    };
  },
});

/** Does something that damage may end: then it is noted, or, with nowhere to note it, thrown. */
type Attempt = <T>(work: () => T) => T | undefined;

const failing =
  (failures: StoreError[] | undefined): Attempt =>
  (work) => {
    try {
      return work();
    } catch (error) {
      if (!failures || !(error instanceof StoreError) || error.reason !== "DAMAGED_RECORD") throw error;
      failures.push(error);
      return undefined;
    }
  };

// eslint-disable-next-line @typescript-eslint/require-await -- a batch is decoded when it is asked for
async function* batches(
  context: StoreContext,
  entries: readonly InputEntry[],
  attempt: Attempt,
): AsyncGenerator<readonly Versioned<StoredInputState>[]> {
  let batch: Versioned<StoredInputState>[] = [];
  let bytes = 0;
  for (const { key, row } of entries) {
    if (bytes + row.value.length > BATCH_BYTES && batch.length > 0) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    const value = attempt(() => decodeRow(key, row, readRow));
    if (value) batch.push({ value, version: versionOf(context, row) });
    bytes += row.value.length;
  }
  if (batch.length > 0) yield batch;
}

/** Our own rows are in normal form and read faster. */
export const readRow = (value: Uint8Array, row: Row): StoredInputState =>
  isForeignRow(row) ? readInputState(value) : readStoredInputState(value);

/** All rows of a ledger, compared with what the runtime's head says of them: a row that vanished is damage too. */
async function readLedger(
  view: View,
  runtimeId: string,
  attempt: Attempt,
): Promise<{ head: RuntimeManifest | undefined; entries: InputEntry[] }> {
  const headKey = { table: "runtimeManifest", runtimeId } as const;
  const headRow = await view.get(headKey);
  const head = headRow ? attempt(() => decodeRow(headKey, headRow, decodeRuntimeManifest)) : EMPTY_RUNTIME_MANIFEST;
  const entries: InputEntry[] = [];
  let sum = 0;
  for await (const page of pagesOf(view, { table: "input", runtimeId })) {
    for (const entry of page) {
      sum = (sum + entry.row.checksum) >>> 0;
      entries.push(entry);
    }
  }
  if (head && (entries.length !== head.input.rows || sum !== head.input.sum)) {
    attempt(() => {
      throw damaged(headKey, `counts ${String(head.input.rows)} input states, ${String(entries.length)} are there`);
    });
  }
  return { head, entries };
}
