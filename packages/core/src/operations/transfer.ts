import type { ImportResult, RuntimeContents, RuntimeId, RuntimeTransfer } from "@bolthole/contract";
import { readFailed, writeFailed } from "@bolthole/contract";
import { readInputState, readOpsSnapshot, readReceipt, writeOpsSnapshot } from "@bolthole/json";
import type { RowEdit } from "../commit/committer.js";
import { deriveRuntimeManifest } from "../commit/derived.js";
import { isCountedTable } from "../commit/runtime-manifest.js";
import { repeatWhileStale } from "../commit/preparation.js";
import { ReadSet } from "../commit/read-set.js";
import { damaged, decodeRow, keyText } from "../commit/row.js";
import { type RowEntry, StaleBaseError, type Row, type RowKey, type View, pagesOf } from "../engine.js";
import { incomingOf } from "../documents/incoming.js";
import { crc32Yielding } from "../bytes.js";
import { inputRows } from "../rules/input.js";
import { checkLifecycleRecord } from "../rules/lifecycle.js";
import { receiptRow } from "../rules/receipt.js";
import { acceptedId } from "../rules/session.js";
import { decodeSnapshotFacts, encodeSnapshotFacts } from "../documents/snapshot-facts.js";
import { type StoreContext, checkRuntime, commit } from "../store-context.js";
import { storedSession } from "../documents/stored-document.js";
import { checkSize, shaped } from "../validate.js";

/** Whole runtimes in and out: what changes meanwhile is noticed by the runtime's head, and the work begins anew. */
export const transferOperations = (context: StoreContext): RuntimeTransfer => ({
  async exportRuntime(request) {
    const runtimeId = checkRuntime(context, request.runtimeId, readFailed);
    return repeatWhileStale(
      async () => {
        const stored = await context.engine.view((view) => readRuntime(view, runtimeId));
        return stored.head && contentsOf(context, runtimeId, stored);
      },
      () => readFailed("BUSY", CHANGED_EACH_TIME, { runtimeId }),
    );
  },

  async importRuntime({ contents, overwrite, dryRun }) {
    const runtimeId = checkRuntime(context, contents.runtimeId);
    const wanted = await checkedRows(context, contents);
    return context.sessions.run(runtimeId, () =>
      repeatWhileStale(
        async () => {
          const stored = await context.engine.view((view) => readRuntime(view, runtimeId));
          const result = await compare(context, contents, wanted, stored, overwrite);
          if (!dryRun && (result === "added" || result === "replaced")) await put(context, contents, wanted, stored);
          return result;
        },
        () => writeFailed("BUSY", CHANGED_EACH_TIME, { runtimeId }),
      ),
    );
  },
});

const CHANGED_EACH_TIME = "other writers changed the runtime during every attempt; try again";

/** All rows of a runtime, and what its head says of them. */
interface StoredRuntime {
  readonly head: Row | undefined;
  readonly entries: readonly RowEntry[];
}

interface WantedRow {
  readonly key: RowKey;
  readonly value: Uint8Array;
}

async function readRuntime(view: View, runtimeId: RuntimeId): Promise<StoredRuntime> {
  const entries: RowEntry[] = [];
  for (const table of ["snapshot", "lifecycle", "ops"] as const) {
    const key = { table, runtimeId };
    const row = await view.get(key);
    if (row) entries.push({ key, row });
  }
  for await (const page of pagesOf(view, { table: "input", runtimeId })) entries.push(...page);
  for await (const page of pagesOf(view, { table: "receipt", runtimeId })) entries.push(...page);
  return { head: await view.get({ table: "runtimeManifest", runtimeId }), entries };
}

async function contentsOf(
  context: StoreContext,
  runtimeId: RuntimeId,
  { head, entries }: StoredRuntime,
): Promise<RuntimeContents> {
  const read = <T>(table: RowKey["table"], decode: (value: Uint8Array) => T): T[] =>
    entries.flatMap(({ key, row }) => (key.table === table ? [decodeRow(key, row, decode)] : []));
  const contents = {
    runtimeId,
    lifecycle: read("lifecycle", (value) => value)[0],
    ops: read("ops", readOpsSnapshot)[0],
    inputs: read("input", readInputState),
    receipts: read("receipt", readReceipt),
  };
  const counted = entries.flatMap(({ key: { table }, row }) => (isCountedTable(table) ? [{ table, row }] : []));
  if (head && Buffer.compare(deriveRuntimeManifest(counted, head.value) ?? Buffer.of(), head.value) !== 0) {
    throw damaged({ table: "runtimeManifest", runtimeId }, "does not fit the rows that are there");
  }
  const snapshot = entries.find(({ key }) => key.table === "snapshot");
  const session = snapshot && {
    snapshot: await documentOf(context, runtimeId, snapshot),
    profile: decodeRow(snapshot.key, snapshot.row, decodeSnapshotFacts).profile,
  };
  return { ...contents, session };
}

/** The document that goes with a row that was read; `Moved` when another one is stored meanwhile. */
async function documentOf(context: StoreContext, runtimeId: RuntimeId, { row }: RowEntry): Promise<Buffer> {
  const stored = await storedSession(context, runtimeId);
  if (stored?.row.sequence !== row.sequence) throw new StaleBaseError();
  return stored.bytes();
}

/** Every record, checked by the rules of the commit that would write it alone. */
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
  // A ledger may be longer than one batch may be.
  const noLimit = { ...limits, batchRows: Number.MAX_SAFE_INTEGER };
  const inputs = inputRows(runtimeId, contents.inputs, (index) => `inputs[${String(index)}]`, noLimit);
  rows.push(...inputs.rows);
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
    // Only now is it worth the reading: length and checksum of the documents are equal.
    const snapshot = session && stored.get(keyText({ table: "snapshot", runtimeId }));
    const document = snapshot && (await documentOf(context, runtimeId, snapshot));
    if (!session || document?.equals(session.snapshot)) return "unchanged";
  }
  return overwrite ? "replaced" : "kept";
}

/** In one commit, bound to the head that was compared. */
async function put(
  context: StoreContext,
  { runtimeId, session }: RuntimeContents,
  wanted: readonly WantedRow[],
  { head, entries }: StoredRuntime,
): Promise<void> {
  const kept = new Set(wanted.map(({ key }) => keyText(key)));
  const obsolete = entries.filter(({ key }) => !kept.has(keyText(key)));
  const reads = new ReadSet();
  const manifest = reads.add({ table: "runtimeManifest", runtimeId });
  const base = entries.find(({ key }) => key.table === "snapshot")?.row.sequence;
  const document = session && (await context.engine.stage(runtimeId, base, [session.snapshot]));
  const edits: RowEdit[] = [
    ...wanted.map(({ key, value }) => ({
      handle: reads.add(key),
      value,
      document: key.table === "snapshot" ? document : undefined,
    })),
    ...obsolete.map(({ key }) => ({ handle: reads.add(key), value: undefined })),
  ];
  try {
    await commit(context, {
      method: "ImportRuntime",
      request: { runtimeId },
      args: {},
      reads,
      bytes: wanted.reduce((total, { value }) => total + value.length, session?.snapshot.length ?? 0),
      decide: (rows) => {
        if (rows.get(manifest)?.sequence !== head?.sequence) throw new StaleBaseError();
        return edits;
      },
    });
  } catch (error) {
    if (document) await context.engine.discard(document);
    throw error;
  }
}
