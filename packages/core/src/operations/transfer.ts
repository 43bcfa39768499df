import { setImmediate } from "node:timers/promises";
import type { ImportResult, RuntimeContents, RuntimeId, RuntimeTransfer } from "@bolthole/contract";
import { readFailed, writeFailed } from "@bolthole/contract";
import { readInputState, readOpsSnapshot, readReceipt, writeOpsSnapshot } from "@bolthole/json";
import { difference } from "../audit/store-audit.js";
import { crc32Yielding } from "../bytes.js";
import {
  COUNTED_TABLES,
  EMPTY_RUNTIME_MANIFEST,
  copyRuntimeManifest,
  decodeRuntimeManifest,
  isCountedTable,
  updateDigest,
} from "../commit/manifests.js";
import { repeatWhileStale } from "../commit/preparation.js";
import { compareKeys, damaged, decodeRow } from "../commit/row.js";
import { type PlainRow, orderRows } from "../commit/row-set.js";
import { incomingOf } from "../documents/incoming.js";
import { decodeSnapshotFacts, encodeSnapshotFacts, storedSession } from "../documents/stored-document.js";
import { type Row, type RowEntry, type RowKey, StaleBaseError, type View, pagesOf } from "../engine.js";
import type { StoreContext } from "../store-context.js";
import { TimeBudget } from "../time-budget.js";
import { checkRuntimeId, checkSize, shaped } from "../validate.js";
import { receiptRow } from "./boundary.js";
import { inputRows } from "./inputs.js";
import { checkLifecycleRecord } from "./records.js";
import { MAX_SINGLE_ROWS, type ReplacedState, RuntimeReplacement } from "./runtime-replacement.js";
import { acceptedId } from "./sessions.js";

const CHANGED_EACH_TIME = "other writers changed the runtime during every attempt; try again";

/**
 * Exports and imports whole runtimes. When the runtime manifest shows a change in between, the work is repeated. A runtime may
 * have any number of rows, so everything here lets the event loop run every few milliseconds.
 */
export const transferOperations = (context: StoreContext): RuntimeTransfer => ({
  async exportRuntime(request) {
    const runtimeId = checkRuntimeId(request.runtimeId, context.limits, readFailed);
    return repeatWhileStale(
      async () => {
        const stored = await context.engine.view((view) => readRuntime(view, runtimeId));
        return stored.manifest && contentsOf(context, runtimeId, stored);
      },
      () => readFailed("BUSY", CHANGED_EACH_TIME, { runtimeId }),
    );
  },

  async importRuntime({ contents, overwrite, dryRun }) {
    const runtimeId = checkRuntimeId(contents.runtimeId, context.limits);
    const wanted = await checkedRows(context, contents);
    return context.sessions.run(runtimeId, async () => {
      const replacement = new RuntimeReplacement(
        context,
        "ImportRuntime",
        runtimeId,
        wanted,
        contents.session?.snapshot,
      );
      try {
        return await repeatWhileStale(
          async () => {
            const stored = await context.engine.view((view) => compareRows(view, runtimeId, wanted));
            const result = await resultOf(context, contents, stored, overwrite);
            if (!dryRun && (result === "added" || result === "replaced")) await replacement.commit(stored);
            return result;
          },
          () => writeFailed("BUSY", CHANGED_EACH_TIME, { runtimeId }),
        );
      } finally {
        await replacement.end();
      }
    });
  },
});

/** All rows of a runtime, and its manifest. */
export interface StoredRuntime {
  readonly manifest: Row | undefined;
  readonly entries: readonly RowEntry[];
}

async function readRuntime(view: View, runtimeId: RuntimeId): Promise<StoredRuntime> {
  const entries: RowEntry[] = [];
  for await (const page of rowsOf(view, runtimeId)) entries.push(...page);
  return { manifest: await view.get({ table: "runtimeManifest", runtimeId }), entries };
}

/** Yields the rows of a runtime that its manifest counts, in the order of `compareKeys`. */
export async function* rowsOf(view: View, runtimeId: RuntimeId): AsyncGenerator<RowEntry[], void> {
  const single: RowEntry[] = [];
  for (const table of ["snapshot", "lifecycle", "ops"] as const) {
    const key = { table, runtimeId };
    const row = await view.get(key);
    if (row) single.push({ key, row });
  }
  yield single;
  for (const table of ["input", "receipt"] as const) {
    for await (const page of pagesOf(view, { table, runtimeId })) {
      yield page;
      await setImmediate();
    }
  }
}

async function contentsOf(
  context: StoreContext,
  runtimeId: RuntimeId,
  { manifest, entries }: StoredRuntime,
): Promise<RuntimeContents> {
  const decodeAll = async <T>(table: RowKey["table"], decode: (value: Uint8Array) => T): Promise<T[]> => {
    const budget = new TimeBudget();
    const decoded: T[] = [];
    for (const { key, row } of entries) {
      if (key.table === table) decoded.push(decodeRow(key, row, decode));
      const pause = budget.spend();
      if (pause) await pause;
    }
    return decoded;
  };
  const contents = {
    runtimeId,
    lifecycle: (await decodeAll("lifecycle", (value) => value))[0],
    ops: (await decodeAll("ops", readOpsSnapshot))[0],
    inputs: await decodeAll("input", readInputState),
    receipts: await decodeAll("receipt", readReceipt),
  };
  if (manifest && !(await countsExactly(manifest, entries))) {
    throw damaged({ table: "runtimeManifest", runtimeId }, "does not match the rows that are there");
  }
  const snapshot = entries.find(({ key }) => key.table === "snapshot");
  const session = snapshot && {
    snapshot: await documentOf(context, runtimeId, snapshot.row.sequence),
    profile: decodeRow(snapshot.key, snapshot.row, decodeSnapshotFacts).profile,
  };
  return { ...contents, session };
}

/** Whether a manifest counts exactly these rows. One that cannot be decoded counts none. */
export async function countsExactly(manifest: Row, entries: readonly RowEntry[]): Promise<boolean> {
  let counted = EMPTY_RUNTIME_MANIFEST;
  try {
    counted = decodeRuntimeManifest(manifest.value);
  } catch {
    return false;
  }
  const found = copyRuntimeManifest(EMPTY_RUNTIME_MANIFEST);
  const budget = new TimeBudget();
  for (const { key, row } of entries) {
    const { table } = key;
    if (isCountedTable(table)) found[table] = updateDigest(found[table], undefined, row);
    const pause = budget.spend();
    if (pause) await pause;
  }
  return COUNTED_TABLES.every((table) => difference(table, counted[table], found[table]) === undefined);
}

/** Returns the document of the snapshot row with this sequence. Throws `StaleBaseError` when another one is stored. */
async function documentOf(context: StoreContext, runtimeId: RuntimeId, sequence: number | undefined): Promise<Buffer> {
  const stored = await storedSession(context, runtimeId);
  if (!stored || stored.row.sequence !== sequence) throw new StaleBaseError();
  return stored.bytes();
}

/** The number of input rows and receipts that are checked between two yields. Each takes a few microseconds. */
const CHECKED_TOGETHER = 64;

/** Checks every record by the rules of the mutation that would store it alone, and returns the rows in the order of their keys. */
async function checkedRows(context: StoreContext, contents: RuntimeContents): Promise<PlainRow<RowKey>[]> {
  const { limits } = context;
  const { runtimeId, session, lifecycle, ops, inputs, receipts } = contents;
  const rows: PlainRow<RowKey>[] = [];
  if (session) {
    const { snapshot, profile } = session;
    checkSize(snapshot.length, limits.documentBytes, "session", writeFailed);
    if (profile === "session") {
      const incoming = incomingOf(context, runtimeId, { sessionSnapshot: snapshot }, "session", undefined);
      acceptedId(await context.transcripts.check({ incoming }), "session", runtimeId);
    }
    const facts = { profile, length: snapshot.length, crc32: await crc32Yielding(snapshot) };
    rows.push({ key: { table: "snapshot", runtimeId }, value: encodeSnapshotFacts(facts) });
  }
  if (lifecycle) {
    checkLifecycleRecord(lifecycle);
    rows.push({ key: { table: "lifecycle", runtimeId }, value: lifecycle });
  }
  if (ops) {
    const value = shaped("ops", writeFailed, () => writeOpsSnapshot(ops));
    checkSize(value.length, limits.operationSnapshotBytes, "ops", writeFailed);
    rows.push({ key: { table: "ops", runtimeId }, value });
  }
  // A runtime may have more input rows than one request may contain.
  const noLimit = { ...limits, batchRows: Number.MAX_SAFE_INTEGER };
  const budget = new TimeBudget();
  for (let at = 0; at < inputs.length; at += CHECKED_TOGETHER) {
    const slice = inputs.slice(at, at + CHECKED_TOGETHER);
    rows.push(...inputRows(runtimeId, slice, (index) => `inputs[${String(at + index)}]`, noLimit).rows);
    await budget.spend();
  }
  for (let at = 0; at < receipts.length; at += CHECKED_TOGETHER) {
    for (const receipt of receipts.slice(at, at + CHECKED_TOGETHER)) rows.push(receiptRow(runtimeId, receipt));
    await budget.spend();
  }
  return orderRows(rows);
}

/** Stored rows, compared with the rows of an import. */
interface ComparedRows extends ReplacedState {
  readonly isEmpty: boolean;
  /** Whether they are exactly the rows of the import. Documents are not compared, only their lengths and checksums. */
  readonly isSame: boolean;
}

/** Compares in one view, and reads no further than necessary. */
async function compareRows(
  view: View,
  runtimeId: RuntimeId,
  wanted: readonly PlainRow<RowKey>[],
): Promise<ComparedRows> {
  const keys: RowKey[] = [];
  let snapshot: number | undefined;
  let count = 0;
  let isSame = true;
  for await (const page of rowsOf(view, runtimeId)) {
    for (const { key, row } of page) {
      if (key.table === "snapshot") snapshot = row.sequence;
      const other = wanted[count];
      isSame &&=
        other !== undefined && compareKeys(other.key, key) === 0 && Buffer.compare(other.value, row.value) === 0;
      if (count <= MAX_SINGLE_ROWS) keys.push(key);
      count += 1;
    }
    if (!isSame && count > MAX_SINGLE_ROWS) break;
  }
  return {
    manifest: await view.get({ table: "runtimeManifest", runtimeId }),
    snapshot,
    isEmpty: count === 0,
    isSame: isSame && count === wanted.length,
    keys: count > MAX_SINGLE_ROWS ? undefined : keys,
  };
}

async function resultOf(
  context: StoreContext,
  { runtimeId, session }: RuntimeContents,
  { isEmpty, isSame, snapshot }: ComparedRows,
  overwrite: boolean,
): Promise<ImportResult> {
  if (isSame) {
    // The documents have the same length and checksum. Only now is the stored one worth reading.
    const document = session && (await documentOf(context, runtimeId, snapshot));
    if (!session || document?.equals(session.snapshot)) return "unchanged";
  }
  if (isEmpty) return "added";
  return overwrite ? "replaced" : "kept";
}
