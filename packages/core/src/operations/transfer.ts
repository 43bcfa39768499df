import type { ImportResult, RuntimeContents, RuntimeTransfer } from "@bolthole/contract";
import { StoreError, readFailed, writeFailed } from "@bolthole/contract";
import { crc32Yielding, equalYielding } from "../bytes.js";
import { repeatWhileStale } from "../commit/preparation.js";
import { compareKeys, isDocumentRowKey, isVerified } from "../commit/row.js";
import { type PlainRow, orderRows } from "../commit/row-set.js";
import { incomingOf, wholeDocument } from "../documents/incoming.js";
import { encodeOpsFacts, isInlineOps, opsKey } from "../documents/ops-facts.js";
import { encodeSnapshotFacts, snapshotKey } from "../documents/snapshot-facts.js";
import type { DocumentRowKey, RowEntry, RowKey } from "../engine.js";
import { inputRowsYielding } from "../input-rows/checked-rows.js";
import type { StoreContext } from "../store-context.js";
import { checkRuntimeId, checkSize, checkStoredRuntimeId } from "../validate.js";
import { YieldBudget } from "../yield-budget.js";
import { receiptRow } from "./boundary.js";
import { checkLifecycleRecord } from "./records.js";
import { type ImportedDocument, RuntimeImport } from "./runtime-import.js";
import { acceptedId } from "./sessions.js";
import {
  type ReplacedRuntime,
  documentOf,
  exportContents,
  matchesManifest,
  readReplaced,
  salvageContents,
} from "./stored-runtime.js";

const CHANGED_EACH_TIME = "other writers changed the runtime during every attempt; try again";

/**
 * Exports and imports whole runtimes. When the runtime manifest shows a change in between, the work is repeated. A salvage and
 * an import have access to runtimes that the store refuses as damaged. A runtime may have any number of rows, so all of this
 * lets the event loop run every few milliseconds.
 */
export function transferOperations(context: StoreContext): RuntimeTransfer {
  const { damagedRuntimes } = context;
  /** The context without the refusal of damaged runtimes. Its committer still refuses them. */
  const unguarded = { ...context, engine: damagedRuntimes.engine };
  return {
    async exportRuntime(request) {
      const runtimeId = checkStoredRuntimeId(request.runtimeId, readFailed);
      return repeatWhileStale(
        () => (request.salvage ? salvageContents(unguarded, runtimeId) : exportContents(context, runtimeId)),
        () => readFailed("BUSY", CHANGED_EACH_TIME, { runtimeId }),
      );
    },

    async importRuntime({ contents, overwrite, dryRun }) {
      const runtimeId = checkRuntimeId(contents.runtimeId, context.limits);
      const { rows: wanted, documents } = await checkedRows(context, contents);
      return context.sessions.run(runtimeId, async () => {
        const change = new RuntimeImport(context, runtimeId, wanted, documents);
        try {
          return await repeatWhileStale(
            async () => {
              const stored = await unguarded.engine.view((view) => readReplaced(view, runtimeId));
              const matches = await matchesManifest(runtimeId, stored);
              const result = await compare(unguarded, documents, wanted, stored, matches, overwrite);
              if (!dryRun && (result === "added" || result === "replaced")) await change.commit(stored, matches);
              // All rows were written, or were read and are as they were written.
              if (!dryRun && result !== "kept") damagedRuntimes.release(runtimeId);
              return result;
            },
            () => writeFailed("BUSY", CHANGED_EACH_TIME, { runtimeId }),
          );
        } finally {
          await change.end();
        }
      });
    },
  };
}

/** The rows of an import in the order of their keys, and the documents of some of them. */
interface CheckedRows {
  readonly rows: readonly PlainRow<RowKey>[];
  readonly documents: readonly ImportedDocument[];
}

/** Checks every record by the rules of the mutation that would store it alone, and returns the rows in the order of their keys. */
async function checkedRows(context: StoreContext, contents: RuntimeContents): Promise<CheckedRows> {
  const { limits } = context;
  const { runtimeId, session, lifecycle, ops, receipts } = contents;
  const rows: PlainRow<RowKey>[] = [];
  const documents: ImportedDocument[] = [];
  if (session) {
    const { snapshot, profile } = session;
    checkSize(snapshot.length, limits.documentBytes, "session", writeFailed);
    if (profile === "session") {
      const incoming = incomingOf(context, runtimeId, { sessionSnapshot: snapshot }, "session", undefined);
      acceptedId(await context.transcripts.check({ incoming }), "session", runtimeId);
    }
    const facts = { profile, length: snapshot.length, crc32: await crc32Yielding(snapshot) };
    const key = snapshotKey(runtimeId);
    rows.push({ key, value: encodeSnapshotFacts(facts) });
    documents.push({ key, bytes: snapshot });
  }
  if (lifecycle) {
    checkLifecycleRecord(lifecycle);
    rows.push({ key: { table: "lifecycle", runtimeId }, value: lifecycle });
  }
  if (ops) {
    const { length } = ops;
    checkSize(length, limits.operationSnapshotBytes, "ops", writeFailed);
    await context.opsChecker.check(wholeDocument(ops), "ops");
    const key = opsKey(runtimeId);
    if (isInlineOps(length)) {
      rows.push({ key, value: ops });
    } else {
      rows.push({ key, value: encodeOpsFacts({ length, crc32: await crc32Yielding(ops) }) });
      documents.push({ key, bytes: ops });
    }
  }
  // A runtime may have more input rows than one request may contain.
  const rules = { runtimeId, limits: { ...limits, batchRows: Number.MAX_SAFE_INTEGER }, longRows: context.longRows };
  const inputs = await inputRowsYielding(rules, contents.inputs, (index) => `inputs[${String(index)}]`);
  for (const row of inputs.rows) rows.push(row);
  const budget = new YieldBudget();
  for (const receipt of receipts) {
    rows.push(receiptRow(runtimeId, receipt));
    const wait = budget.spend();
    if (wait) await wait;
  }
  return { rows: await orderRows(rows), documents };
}

/** Compares a runtime with the records of an import. A stored row that is damaged or missing is a difference. */
async function compare(
  context: StoreContext,
  documents: readonly ImportedDocument[],
  wanted: readonly PlainRow<RowKey>[],
  { manifest, entries, isRowSetLost }: ReplacedRuntime,
  matches: boolean,
  overwrite: boolean,
): Promise<ImportResult> {
  if (entries.length === 0 && !manifest && !isRowSetLost) return wanted.length === 0 ? "unchanged" : "added";
  if (matches && (await isStored(wanted, entries))) {
    // The documents have the same length and checksum, so their bytes have to be compared.
    if (await hasDocuments(context, entries, documents)) return "unchanged";
  }
  return overwrite ? "replaced" : "kept";
}

/** Whether exactly these rows are stored, and undamaged. Both are in the order of their keys. */
async function isStored(wanted: readonly PlainRow<RowKey>[], entries: readonly RowEntry[]): Promise<boolean> {
  if (wanted.length !== entries.length) return false;
  const budget = new YieldBudget();
  for (const [index, { key, row }] of entries.entries()) {
    const other = wanted[index];
    if (!other || compareKeys(other.key, key) !== 0 || Buffer.compare(other.value, row.value) !== 0) return false;
    if (!isVerified(key, row)) return false;
    const wait = budget.spend();
    if (wait) await wait;
  }
  return true;
}

async function hasDocuments(
  context: StoreContext,
  entries: readonly RowEntry[],
  documents: readonly ImportedDocument[],
): Promise<boolean> {
  for (const { key, row } of entries) {
    if (!isDocumentRowKey(key)) continue;
    const document = documents.find((one) => one.key.table === key.table);
    if (document && !(await hasDocument(context, { key, row }, document.bytes))) return false;
  }
  return true;
}

/** Whether the document of a row is this one. A damaged document is another one. */
async function hasDocument(
  context: StoreContext,
  entry: RowEntry<DocumentRowKey>,
  document: Uint8Array,
): Promise<boolean> {
  try {
    return await equalYielding(await documentOf(context, entry), document);
  } catch (error) {
    if (error instanceof StoreError && error.reason === "DAMAGED_RECORD") return false;
    throw error;
  }
}
