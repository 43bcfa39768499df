import type { ImportResult, RuntimeContents, RuntimeId, RuntimeTransfer } from "@bolthole/contract";
import { readFailed, writeFailed } from "@bolthole/contract";
import { readInputState, readOpsSnapshot, readReceipt, writeOpsSnapshot } from "@bolthole/json";
import { crc32Yielding } from "../bytes.js";
import { deriveRuntimeManifest } from "../commit/external-rows.js";
import { isCountedTable } from "../commit/manifests.js";
import { repeatWhileStale } from "../commit/preparation.js";
import { damaged, decodeRow, keyText, ReadSet } from "../commit/row.js";
import { incomingOf } from "../documents/incoming.js";
import { decodeSnapshotFacts, encodeSnapshotFacts, storedSession } from "../documents/stored-document.js";
import { type Row, type RowEntry, type RowKey, StaleBaseError, type View, pagesOf } from "../engine.js";
import type { StoreContext } from "../store-context.js";
import { checkRuntimeId, checkSize, shaped } from "../validate.js";
import { receiptRow } from "./boundary.js";
import { inputRows } from "./inputs.js";
import { checkLifecycleRecord } from "./records.js";
import { acceptedId } from "./sessions.js";

const CHANGED_EACH_TIME = "other writers changed the runtime during every attempt; try again";

/** Exports and imports whole runtimes. When the runtime manifest shows a change in between, the work is repeated. */
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
    return context.sessions.run(runtimeId, () =>
      repeatWhileStale(
        async () => {
          const stored = await context.engine.view((view) => readRuntime(view, runtimeId));
          const result = await compare(context, contents, wanted, stored, overwrite);
          if (!dryRun && (result === "added" || result === "replaced")) {
            await replaceRuntime(context, contents, wanted, stored);
          }
          return result;
        },
        () => writeFailed("BUSY", CHANGED_EACH_TIME, { runtimeId }),
      ),
    );
  },
});

/** All rows of a runtime, and its manifest. */
export interface StoredRuntime {
  readonly manifest: Row | undefined;
  readonly entries: readonly RowEntry[];
}

interface WantedRow {
  readonly key: RowKey;
  readonly value: Uint8Array;
}

/** Reads all rows of a runtime and decodes none. */
export async function readRuntime(view: View, runtimeId: RuntimeId): Promise<StoredRuntime> {
  const entries: RowEntry[] = [];
  for (const table of ["snapshot", "lifecycle", "ops"] as const) {
    const key = { table, runtimeId };
    const row = await view.get(key);
    if (row) entries.push({ key, row });
  }
  for await (const page of pagesOf(view, { table: "input", runtimeId })) entries.push(...page);
  for await (const page of pagesOf(view, { table: "receipt", runtimeId })) entries.push(...page);
  return { manifest: await view.get({ table: "runtimeManifest", runtimeId }), entries };
}

async function contentsOf(
  context: StoreContext,
  runtimeId: RuntimeId,
  { manifest, entries }: StoredRuntime,
): Promise<RuntimeContents> {
  const decodeAll = <T>(table: RowKey["table"], decode: (value: Uint8Array) => T): T[] =>
    entries.flatMap(({ key, row }) => (key.table === table ? [decodeRow(key, row, decode)] : []));
  const contents = {
    runtimeId,
    lifecycle: decodeAll("lifecycle", (value) => value)[0],
    ops: decodeAll("ops", readOpsSnapshot)[0],
    inputs: decodeAll("input", readInputState),
    receipts: decodeAll("receipt", readReceipt),
  };
  const counted = entries.flatMap(({ key: { table }, row }) => (isCountedTable(table) ? [{ table, row }] : []));
  if (manifest && Buffer.compare(deriveRuntimeManifest(counted, manifest.value) ?? Buffer.of(), manifest.value) !== 0) {
    throw damaged({ table: "runtimeManifest", runtimeId }, "does not match the rows that are there");
  }
  const snapshot = entries.find(({ key }) => key.table === "snapshot");
  const session = snapshot && {
    snapshot: await documentOf(context, runtimeId, snapshot),
    profile: decodeRow(snapshot.key, snapshot.row, decodeSnapshotFacts).profile,
  };
  return { ...contents, session };
}

/** Returns the document of a row that was read. Throws `StaleBaseError` when another one is stored. */
async function documentOf(context: StoreContext, runtimeId: RuntimeId, { row }: RowEntry): Promise<Buffer> {
  const stored = await storedSession(context, runtimeId);
  if (stored?.row.sequence !== row.sequence) throw new StaleBaseError();
  return stored.bytes();
}

/** Checks every record by the rules of the mutation that would store it alone, and returns the rows. */
async function checkedRows(context: StoreContext, contents: RuntimeContents): Promise<WantedRow[]> {
  const { limits } = context;
  const { runtimeId, session, lifecycle, ops, receipts } = contents;
  const rows: WantedRow[] = [];
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
  rows.push(...inputRows(runtimeId, contents.inputs, (index) => `inputs[${String(index)}]`, noLimit).rows);
  for (const receipt of receipts) rows.push(receiptRow(runtimeId, receipt));
  return rows;
}

async function compare(
  context: StoreContext,
  { runtimeId, session }: RuntimeContents,
  wanted: readonly WantedRow[],
  { entries }: StoredRuntime,
  overwrite: boolean,
): Promise<ImportResult> {
  if (entries.length === 0) return wanted.length === 0 ? "unchanged" : "added";
  const stored = new Map(entries.map((entry) => [keyText(entry.key), entry]));
  const isSame =
    wanted.length === entries.length &&
    wanted.every(({ key, value }) => Buffer.compare(stored.get(keyText(key))?.row.value ?? Buffer.of(), value) === 0);
  if (isSame) {
    // The documents have the same length and checksum. Only now is the stored one worth reading.
    const snapshot = session && stored.get(keyText({ table: "snapshot", runtimeId }));
    const document = snapshot && (await documentOf(context, runtimeId, snapshot));
    if (!session || document?.equals(session.snapshot)) return "unchanged";
  }
  return overwrite ? "replaced" : "kept";
}

/** Replaces a runtime in one commit, bound to the manifest that was compared. */
async function replaceRuntime(
  context: StoreContext,
  { runtimeId, session }: RuntimeContents,
  wanted: readonly WantedRow[],
  { manifest, entries }: StoredRuntime,
): Promise<void> {
  const kept = new Set(wanted.map(({ key }) => keyText(key)));
  const obsolete = entries.filter(({ key }) => !kept.has(keyText(key)));
  const reads = new ReadSet();
  const manifestHandle = reads.add({ table: "runtimeManifest", runtimeId });
  const base = entries.find(({ key }) => key.table === "snapshot")?.row.sequence;
  const document = session && (await context.engine.stage(runtimeId, base, [session.snapshot]));
  const edits = [
    ...wanted.map(({ key, value }) => ({
      handle: reads.add(key),
      value,
      document: key.table === "snapshot" ? document : undefined,
    })),
    ...obsolete.map(({ key }) => ({ handle: reads.add(key), value: undefined })),
  ];
  try {
    await context.committer.commit({
      method: "ImportRuntime",
      request: { runtimeId },
      args: {},
      reads,
      bytes: wanted.reduce((total, { value }) => total + value.length, session?.snapshot.length ?? 0),
      decide: (rows) => {
        if (rows.get(manifestHandle)?.sequence !== manifest?.sequence) throw new StaleBaseError();
        return edits;
      },
    });
  } catch (error) {
    if (document) await context.engine.discard(document);
    throw error;
  }
}
