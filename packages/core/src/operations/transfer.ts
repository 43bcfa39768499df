import type { ImportResult, RuntimeContents, RuntimeTransfer } from "@bolthole/contract";
import { StoreError, readFailed, writeFailed } from "@bolthole/contract";
import { writeOpsSnapshot } from "@bolthole/json";
import { crc32Yielding } from "../bytes.js";
import { repeatWhileStale } from "../commit/preparation.js";
import { ReadSet, isVerified, keyText } from "../commit/row.js";
import { commitReplacement } from "../commit/runtime-replacement.js";
import { incomingOf } from "../documents/incoming.js";
import { encodeSnapshotFacts } from "../documents/stored-document.js";
import type { RowEntry, RowKey } from "../engine.js";
import type { StoreContext } from "../store-context.js";
import { checkRuntimeId, checkSize, shaped } from "../validate.js";
import { receiptRow } from "./boundary.js";
import { inputRows } from "./inputs.js";
import { checkLifecycleRecord } from "./records.js";
import { acceptedId } from "./sessions.js";
import {
  type StoredRuntime,
  documentOf,
  exportContents,
  matchesManifest,
  readRuntime,
  salvageContents,
} from "./stored-runtime.js";

const CHANGED_EACH_TIME = "other writers changed the runtime during every attempt; try again";

/**
 * Exports and imports whole runtimes. When the runtime manifest shows a change in between, the work is repeated. A salvage and
 * an import have access to runtimes that the store refuses as damaged.
 */
export function transferOperations(context: StoreContext): RuntimeTransfer {
  const { damagedRuntimes } = context;
  /** The context without the refusal of damaged runtimes. Its committer still refuses them. */
  const unguarded = { ...context, engine: damagedRuntimes.engine };
  return {
    async exportRuntime(request) {
      const runtimeId = checkRuntimeId(request.runtimeId, context.limits, readFailed);
      return repeatWhileStale(
        () => (request.salvage ? salvageContents(unguarded, runtimeId) : exportContents(context, runtimeId)),
        () => readFailed("BUSY", CHANGED_EACH_TIME, { runtimeId }),
      );
    },

    async importRuntime({ contents, overwrite, dryRun }) {
      const runtimeId = checkRuntimeId(contents.runtimeId, context.limits);
      const wanted = await checkedRows(context, contents);
      return context.sessions.run(runtimeId, () =>
        repeatWhileStale(
          async () => {
            const stored = await unguarded.engine.view((view) => readRuntime(view, runtimeId));
            const result = await compare(unguarded, contents, wanted, stored, overwrite);
            if (!dryRun && (result === "added" || result === "replaced")) {
              await replaceRuntime(unguarded, contents, wanted, stored);
            }
            // All rows were written, or were read and are as they were written.
            if (!dryRun && result !== "kept") damagedRuntimes.release(runtimeId);
            return result;
          },
          () => writeFailed("BUSY", CHANGED_EACH_TIME, { runtimeId }),
        ),
      );
    },
  };
}

interface WantedRow {
  readonly key: RowKey;
  readonly value: Uint8Array;
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

/** Compares a runtime with the records of an import. A stored row that is damaged or missing is a difference. */
async function compare(
  context: StoreContext,
  { runtimeId, session }: RuntimeContents,
  wanted: readonly WantedRow[],
  stored: StoredRuntime,
  overwrite: boolean,
): Promise<ImportResult> {
  const { manifest, entries } = stored;
  if (entries.length === 0 && !manifest) return wanted.length === 0 ? "unchanged" : "added";
  const byKey = new Map(entries.map((entry) => [keyText(entry.key), entry]));
  const isStored = ({ key, value }: WantedRow): boolean => {
    const entry = byKey.get(keyText(key));
    return entry !== undefined && Buffer.compare(entry.row.value, value) === 0 && isVerified(key, entry.row);
  };
  if (wanted.length === entries.length && wanted.every(isStored) && matchesManifest(runtimeId, stored)) {
    // The documents have the same length and checksum. Only now is the stored one worth reading.
    const snapshot = session && byKey.get(keyText({ table: "snapshot", runtimeId }));
    if (!snapshot || (await hasDocument(context, snapshot, session.snapshot))) return "unchanged";
  }
  return overwrite ? "replaced" : "kept";
}

/** Whether the document of a snapshot row is this one. A damaged document is another one. */
async function hasDocument(context: StoreContext, entry: RowEntry, document: Uint8Array): Promise<boolean> {
  const { key } = entry;
  if (!("runtimeId" in key)) return false;
  try {
    return (await documentOf(context, key.runtimeId, entry)).equals(document);
  } catch (error) {
    if (error instanceof StoreError && error.reason === "DAMAGED_RECORD") return false;
    throw error;
  }
}

/** Replaces a runtime in one commit, bound to the manifest that was compared. The stored rows are not decoded. */
async function replaceRuntime(
  { engine, damagedRuntimes }: StoreContext,
  { runtimeId, session }: RuntimeContents,
  wanted: readonly WantedRow[],
  stored: StoredRuntime,
): Promise<void> {
  const { manifest, entries } = stored;
  const kept = new Set(wanted.map(({ key }) => keyText(key)));
  const obsolete = entries.filter(({ key }) => !kept.has(keyText(key)));
  const reads = new ReadSet();
  const base = entries.find(({ key }) => key.table === "snapshot")?.row.sequence;
  const document = session && (await engine.stage(runtimeId, base, [session.snapshot]));
  const edits = [
    ...wanted.map(({ key, value }) => ({
      handle: reads.add(key),
      value,
      document: key.table === "snapshot" ? document : undefined,
    })),
    ...obsolete.map(({ key }) => ({ handle: reads.add(key), value: undefined })),
  ];
  const bytes = wanted.reduce((total, { value }) => total + value.length, session?.snapshot.length ?? 0);
  try {
    await damagedRuntimes.corrections.run(matchesManifest(runtimeId, stored), (correction) =>
      commitReplacement(engine, { runtimeId, manifest, correction, reads, edits, bytes }),
    );
  } catch (error) {
    if (document) await engine.discard(document);
    throw error;
  }
}
