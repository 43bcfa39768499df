import type { ImportResult, RuntimeContents, RuntimeId, RuntimeTransfer } from "@bolthole/contract";
import { SingleRecords, StoreError, readFailed, writeFailed } from "@bolthole/contract";
import { crc32Yielding, equalYielding } from "../bytes.js";
import { repeatWhileStale } from "../commit/preparation.js";
import { compareKeys, isDocumentRowKey } from "../commit/row.js";
import type { PlainRow } from "../commit/row-set.js";
import { incomingOf, wholeDocument } from "../documents/incoming.js";
import { encodeOpsFacts, isInlineOps, opsKey } from "../documents/ops-facts.js";
import { encodeSnapshotFacts, snapshotKey } from "../documents/snapshot-facts.js";
import type { DocumentRowKey, RowEntry, RowKey } from "../engine.js";
import { HeldViews } from "../held-views.js";
import { isSame } from "../input-rows/merged-rows.js";
import type { StoreContext } from "../store-context.js";
import { checkRuntimeId, checkSize, checkStoredRuntimeId } from "../validate.js";
import { ComparedRows } from "./compared-rows.js";
import { receivedRows } from "./received-rows.js";
import { checkLifecycleRecord } from "./records.js";
import { exportParts } from "./runtime-export.js";
import { type ImportedDocument, type ImportedSingles, commitImport } from "./runtime-import.js";
import { acceptedId } from "./sessions.js";
import { type ReplacedRuntime, documentOf, isNothing, readReplaced } from "./stored-runtime.js";

const CHANGED_EACH_TIME = "other writers changed the runtime during every attempt; try again";

/**
 * Exports and imports whole runtimes. When the runtime manifest shows a change in between, the work is repeated. A salvage and
 * an import have access to runtimes that the store refuses as damaged. A runtime may have any number of rows, so they are read
 * and received page by page, and all of this lets the event loop run every few milliseconds.
 */
export function transferOperations(context: StoreContext): RuntimeTransfer {
  const { damagedRuntimes } = context;
  /** The context without the refusal of damaged runtimes. Its committer still refuses them. */
  const unguarded = { ...context, engine: damagedRuntimes.engine };
  const unguardedViews = new HeldViews(damagedRuntimes.engine);
  return {
    async exportRuntime(request) {
      const runtimeId = checkStoredRuntimeId(request.runtimeId, readFailed);
      return repeatWhileStale(
        () =>
          request.salvage
            ? exportParts(unguarded, unguardedViews, runtimeId, true)
            : exportParts(context, context.heldViews, runtimeId, false),
        () => readFailed("BUSY", CHANGED_EACH_TIME, { runtimeId }),
      );
    },

    async importRuntime({ runtimeId: id, parts, overwrite, dryRun }) {
      const runtimeId = checkRuntimeId(id, context.limits);
      const { engine } = unguarded;
      const records = new ReceivedRecords(context, runtimeId);
      const received = receivedRows(context, runtimeId, parts, records);
      let rows: ComparedRows;
      try {
        rows = await ComparedRows.receive({ engine, runtimeId, overwrite, dryRun }, received);
      } catch (error) {
        records.giveBack();
        await received.return();
        throw error;
      }
      try {
        await received.return();
        const singles = await checkedSingles(context, runtimeId, await records.take());
        if (singles.rows.length === 0 && rows.isEmpty) throw withoutRecords();
        if (rows.isKept) return "kept";
        return await context.sessions.run(runtimeId, () =>
          repeatWhileStale(
            async () => {
              const stored = await engine.view((view) => readReplaced(view, runtimeId));
              const areStored = stored.matchesManifest && (await rows.areStored(stored));
              const result = await compare(unguarded, singles, rows, stored, areStored, overwrite);
              if (!dryRun && (result === "added" || result === "replaced")) {
                await commitImport(context, runtimeId, singles, rows, stored, areStored);
              }
              // All rows were written, or were read and are as they were written.
              if (!dryRun && result !== "kept") damagedRuntimes.release(runtimeId);
              return result;
            },
            () => writeFailed("BUSY", CHANGED_EACH_TIME, { runtimeId }),
          ),
        );
      } finally {
        records.giveBack();
        await rows.end();
      }
    },
  };
}

/** The records of an import of which there is at most one each. A document is refused when too much of it has arrived. */
class ReceivedRecords {
  private readonly records = new SingleRecords();
  private readonly lengths = { session: 0, ops: 0 };
  private taken = 0;

  constructor(
    private readonly context: Pick<StoreContext, "limits" | "arrived">,
    private readonly runtimeId: RuntimeId,
  ) {}

  add(part: Parameters<SingleRecords["add"]>[0]): void {
    if (part.kind !== "lifecycle") this.count(part.kind, part.chunk.length);
    this.records.add(part);
  }

  take(): ReturnType<SingleRecords["take"]> {
    return this.records.take();
  }

  giveBack(): void {
    this.context.arrived.giveBack(this.taken);
    this.taken = 0;
  }

  private count(kind: "session" | "ops", bytes: number): void {
    const { limits, arrived } = this.context;
    this.lengths[kind] += bytes;
    const limit = kind === "ops" ? limits.operationSnapshotBytes : limits.documentBytes;
    checkSize(this.lengths[kind], limit, kind, writeFailed);
    arrived.take(this.runtimeId, bytes);
    this.taken += bytes;
  }
}

/**
 * An import without records is nearly always a mistake: the export of an unknown id, of which nothing arrived. With `overwrite` it would
 * delete the runtime.
 */
const withoutRecords = (): StoreError =>
  writeFailed(
    "INVALID_ARGUMENT",
    "parts: expected at least one record, found none: an import replaces the whole runtime, so it would be deleted; nothing was changed. " +
      "An export has no parts when nothing is stored under its runtime id. To delete a runtime, use DeleteRuntime",
    { record: "parts", expected: "at least one record", actual: "none" },
  );

/** Checks the records of which there is at most one each, by the rules of the mutations that would store them alone. */
async function checkedSingles(
  context: StoreContext,
  runtimeId: RuntimeId,
  { session, lifecycle, ops }: Pick<RuntimeContents, "session" | "lifecycle" | "ops">,
): Promise<ImportedSingles> {
  const { limits } = context;
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
  return { rows, documents };
}

/** Compares a runtime with the records of an import. A stored row that is damaged or missing is a difference. */
async function compare(
  context: StoreContext,
  singles: ImportedSingles,
  rows: ComparedRows,
  stored: ReplacedRuntime,
  areStored: boolean,
  overwrite: boolean,
): Promise<ImportResult> {
  if (isNothing(stored)) return "added";
  if (areStored && isStored(singles.rows, stored.singles)) {
    // The documents have the same length and checksum, so their bytes have to be compared.
    if (await hasDocuments(context, stored.singles, singles.documents)) return "unchanged";
  }
  return overwrite ? "replaced" : "kept";
}

/** Whether exactly these rows are stored, and undamaged. Both are in the order of their keys. */
const isStored = (wanted: readonly PlainRow<RowKey>[], stored: readonly RowEntry[]): boolean =>
  wanted.length === stored.length &&
  stored.every((entry, index) => {
    const other = wanted[index];
    return other !== undefined && compareKeys(other.key, entry.key) === 0 && isSame(entry, other);
  });

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
