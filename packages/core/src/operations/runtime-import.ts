import type { RuntimeId } from "@bolthole/contract";
import type { RowEdit } from "../commit/committer.js";
import { ReadSet, keyText } from "../commit/row.js";
import type { PlainRow } from "../commit/row-set.js";
import { commitReplacement } from "../commit/runtime-replacement.js";
import type { DocumentRowKey, RowKey, RowSetReplacement, StagedDocument, Table } from "../engine.js";
import type { StoreContext } from "../store-context.js";
import type { ComparedRows } from "./compared-rows.js";
import type { ReplacedRuntime } from "./stored-runtime.js";

/** The document of a row that is imported. */
export interface ImportedDocument {
  readonly key: DocumentRowKey;
  readonly bytes: Uint8Array;
}

/** The records of an import of which there is at most one each, in the order of their keys, with the documents of some. */
export interface ImportedSingles {
  readonly rows: readonly PlainRow<RowKey>[];
  readonly documents: readonly ImportedDocument[];
}

/**
 * Replaces everything that is stored of a runtime in one commit. Many rows were staged before, and only once: they stay staged
 * when another writer was first and the commit is attempted again. The stored rows are not decoded. `areStored` says whether
 * the imported input rows and receipts are stored. Throws `StaleBaseError` when another runtime manifest is stored than the one
 * that was read.
 */
export async function commitImport(
  context: Pick<StoreContext, "damagedRuntimes" | "time">,
  runtimeId: RuntimeId,
  { rows: singles, documents }: ImportedSingles,
  rows: ComparedRows,
  stored: ReplacedRuntime,
  areStored: boolean,
): Promise<void> {
  const { engine, corrections } = context.damagedRuntimes;
  const { manifest } = stored;
  const replaceRows = await rowSetReplacement(runtimeId, rows, stored, areStored);
  const written = replaceRows ? singles : [...singles, ...(rows.few ?? [])];
  const replaced = replaceRows ? stored.singles : [...stored.singles, ...(stored.few ?? [])];
  const kept = new Set(written.map(({ key }) => keyText(key)));
  const staged = await stageDocuments(context, documents);
  const reads = new ReadSet();
  const edits = written.map(({ key, value }): RowEdit => ({
    handle: reads.add(key),
    value,
    document: staged.get(key.table),
  }));
  for (const { key } of replaced) {
    if (!kept.has(keyText(key))) edits.push({ handle: reads.add(key), value: undefined });
  }
  let bytes = 0;
  for (const { value } of written) bytes += value.length;
  for (const document of staged.values()) bytes += document.bytes;
  try {
    await corrections.run(stored.matchesManifest, (correction) =>
      commitReplacement(engine, context.time, { runtimeId, manifest, correction, reads, edits, replaceRows, bytes }),
    );
    if (replaceRows?.rows) rows.committed();
  } catch (error) {
    for (const document of staged.values()) await engine.discard(document);
    throw error;
  }
}

async function stageDocuments(
  { damagedRuntimes: { engine } }: Pick<StoreContext, "damagedRuntimes">,
  documents: readonly ImportedDocument[],
): Promise<Map<Table, StagedDocument>> {
  const staged = new Map<Table, StagedDocument>();
  try {
    for (const { key, bytes } of documents) staged.set(key.table, await engine.stage(key, undefined, [bytes]));
    return staged;
  } catch (error) {
    for (const document of staged.values()) await engine.discard(document);
    throw error;
  }
}

/** Returns undefined when the rows are few enough to be written and deleted one by one. */
async function rowSetReplacement(
  runtimeId: RuntimeId,
  rows: ComparedRows,
  stored: ReplacedRuntime,
  areStored: boolean,
): Promise<RowSetReplacement | undefined> {
  const { isRowSetLost, few } = stored;
  if (rows.isEmpty) return few?.length === 0 && !isRowSetLost ? undefined : { runtimeId, rows: undefined };
  if (!isRowSetLost && few && rows.few) return undefined;
  return { runtimeId, rows: await rows.staged(stored, areStored) };
}
