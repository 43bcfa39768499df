import { type ExportedRuntime, type Finding, type RuntimeId, StoreError } from "@bolthole/contract";
import { checkOpsSnapshot, readReceipt } from "@bolthole/json";
import { RuntimeAudit, damageOf, difference } from "../audit/store-audit.js";
import {
  COUNTED_TABLES,
  EMPTY_RUNTIME_MANIFEST,
  copyRuntimeManifest,
  decodeRuntimeManifest,
  isCountedTable,
  updateDigest,
} from "../commit/manifests.js";
import { damaged, decodeRow, describeKey, isDocumentRowKey } from "../commit/row.js";
import { isOpsFacts, storedOps } from "../documents/ops-facts.js";
import { decodeSnapshotFacts, storedSession } from "../documents/snapshot-facts.js";
import {
  type DocumentRowKey,
  ROW_SPACE_RECORD,
  type Row,
  type RowEntry,
  type RowKey,
  StaleBaseError,
  type View,
  pagesOf,
} from "../engine.js";
import { inputStateOf } from "../input-rows/input-load.js";
import type { StoreContext } from "../store-context.js";
import { YieldBudget } from "../yield-budget.js";

/** All rows of a runtime, and its manifest. */
export interface StoredRuntime {
  readonly manifest: Row | undefined;
  readonly entries: readonly RowEntry[];
}

/** Runs a part of a read. It may replace an error of that part by a finding. */
type Attempt = (table: RowKey["table"], read: () => Promise<void>) => Promise<void>;

const throwing: Attempt = (_table, read) => read();

/** Reads all rows of a runtime as of one moment. Nothing is verified or decoded. */
export async function readRuntime(view: View, runtimeId: RuntimeId, attempt = throwing): Promise<StoredRuntime> {
  const entries: RowEntry[] = [];
  for (const table of ["snapshot", "lifecycle", "ops"] as const) {
    await attempt(table, async () => {
      const key = { table, runtimeId };
      const row = await view.get(key);
      if (row) entries.push({ key, row });
    });
  }
  for (const table of ["input", "receipt"] as const) {
    await attempt(table, async () => {
      for await (const page of pagesOf(view, { table, runtimeId })) {
        for (const entry of page) entries.push(entry);
      }
    });
  }
  let manifest: Row | undefined;
  await attempt("runtimeManifest", async () => {
    manifest = await view.get({ table: "runtimeManifest", runtimeId });
  });
  return { manifest, entries };
}

/** All rows of a runtime that are to be replaced or deleted. */
export interface ReplacedRuntime extends StoredRuntime {
  /** Whether the engine cannot find the row set. It is not among the rows then, but can be replaced. */
  readonly isRowSetLost: boolean;
}

/** Reads all rows of a runtime that is to be replaced or deleted, also when the engine cannot find its row set. */
export async function readReplaced(view: View, runtimeId: RuntimeId): Promise<ReplacedRuntime> {
  let isRowSetLost = false;
  const stored = await readRuntime(view, runtimeId, async (_table, read) => {
    try {
      await read();
    } catch (error) {
      if (!isLostRowSet(error)) throw error;
      isRowSetLost = true;
    }
  });
  return { ...stored, isRowSetLost };
}

const isLostRowSet = (error: unknown): boolean =>
  error instanceof StoreError && error.subject.record === ROW_SPACE_RECORD;

/** Returns the document of a row that was read. Throws `StaleBaseError` when another one is stored. */
export async function documentOf(context: StoreContext, { key, row }: RowEntry<DocumentRowKey>): Promise<Buffer> {
  const load = key.table === "snapshot" ? storedSession : storedOps;
  const stored = await load(context, key.runtimeId);
  if (stored?.row.sequence !== row.sequence) throw new StaleBaseError();
  return stored.bytes();
}

/** Whether the manifest counts exactly the rows that are there. Their values are not verified. */
export async function matchesManifest(
  runtimeId: RuntimeId,
  { manifest, entries, isRowSetLost = false }: StoredRuntime & Partial<ReplacedRuntime>,
): Promise<boolean> {
  if (isRowSetLost) return false;
  if (!manifest) return entries.length === 0;
  const key = { table: "runtimeManifest", runtimeId } as const;
  if (entries.length === 0 || damageOf(key, manifest)) return false;
  const found = copyRuntimeManifest(EMPTY_RUNTIME_MANIFEST);
  const budget = new YieldBudget();
  for (const { key: entry, row } of entries) {
    const { table } = entry;
    if (isCountedTable(table)) found[table] = updateDigest(found[table], undefined, row);
    const wait = budget.spend();
    if (wait) await wait;
  }
  const counted = decodeRuntimeManifest(manifest.value);
  return COUNTED_TABLES.every((table) => difference(table, counted[table], found[table]) === undefined);
}

/** Returns the contents of a runtime, or undefined when nothing is stored. Throws DAMAGED_RECORD for any damage. */
export async function exportContents(
  context: StoreContext,
  runtimeId: RuntimeId,
): Promise<ExportedRuntime | undefined> {
  const stored = await context.engine.view((view) => readRuntime(view, runtimeId));
  if (!stored.manifest && stored.entries.length === 0) return undefined;
  const records = await recordsOf(context, stored.entries);
  if (!(await matchesManifest(runtimeId, stored))) {
    throw damaged({ table: "runtimeManifest", runtimeId }, "does not match the rows that are there");
  }
  const documents = await documentsOf(stored.entries, (entry) => documentOf(context, entry));
  return { runtimeId, ...records, ...documents, findings: [] };
}

/** Returns the readable records of a runtime and its damage, or undefined when nothing is stored. */
export async function salvageContents(
  context: StoreContext,
  runtimeId: RuntimeId,
): Promise<ExportedRuntime | undefined> {
  const findings: Finding[] = [];
  const stored = await context.engine.view((view) => readRuntime(view, runtimeId, collecting(runtimeId, findings)));
  const { manifest, entries } = stored;
  if (!manifest && entries.length === 0 && findings.length === 0) return undefined;

  const audit = new RuntimeAudit(runtimeId);
  const isReadable = ({ key, row }: RowEntry): boolean => {
    const damage = audit.take(key, row);
    if (damage) findings.push(damage);
    return !damage;
  };
  if (manifest) isReadable({ key: { table: "runtimeManifest", runtimeId }, row: manifest });
  const readable: RowEntry[] = [];
  const budget = new YieldBudget();
  for (const entry of entries) {
    if (isReadable(entry)) readable.push(entry);
    const wait = budget.spend();
    if (wait) await wait;
  }
  findings.push(...audit.end());

  const documents = await documentsOf(readable, async (entry) => {
    try {
      return await documentOf(context, entry);
    } catch (error) {
      const record = describeKey(entry.key);
      findings.push({ code: "document-damaged", runtimeId, record, text: damageText(error) });
      return undefined;
    }
  });
  return { runtimeId, ...(await recordsOf(context, readable)), ...documents, findings };
}

/** Reports rows that cannot be read because the data file is damaged where they should be. */
const collecting =
  (runtimeId: RuntimeId, findings: Finding[]): Attempt =>
  async (table, read) => {
    try {
      await read();
    } catch (error) {
      const code = isLostRowSet(error) ? "row-space-damaged" : "pages-damaged";
      findings.push({ code, runtimeId, text: `${table} rows: ${damageText(error)}` });
    }
  };

/** Returns the text of a DAMAGED_RECORD error. Throws any other error. */
function damageText(error: unknown): string {
  if (error instanceof StoreError && error.reason === "DAMAGED_RECORD") return error.message;
  throw error;
}

/** Decodes every record except the two documents. Throws DAMAGED_RECORD. */
async function recordsOf(
  context: StoreContext,
  entries: readonly RowEntry[],
): Promise<Pick<ExportedRuntime, "lifecycle" | "inputs" | "receipts">> {
  const budget = new YieldBudget();
  const decodeAll = async <T>(table: RowKey["table"], decode: (entry: RowEntry) => T | Promise<T>): Promise<T[]> => {
    const decoded: T[] = [];
    for (const entry of entries) {
      if (entry.key.table === table) {
        const one = decode(entry);
        decoded.push(one instanceof Promise ? await one : one);
      }
      const wait = budget.spend();
      if (wait) await wait;
    }
    return decoded;
  };
  return {
    lifecycle: (await decodeAll("lifecycle", ({ key, row }) => decodeRow(key, row, (value) => value)))[0],
    inputs: await decodeAll("input", (entry) => inputStateOf(context, entry)),
    receipts: await decodeAll("receipt", ({ key, row }) => decodeRow(key, row, readReceipt)),
  };
}

/** Returns the two documents of a runtime. `read` returns one, or undefined when it is left out. */
async function documentsOf(
  entries: readonly RowEntry[],
  read: (entry: RowEntry<DocumentRowKey>) => Promise<Buffer | undefined>,
): Promise<Pick<ExportedRuntime, "session" | "ops">> {
  let session: ExportedRuntime["session"];
  let ops: ExportedRuntime["ops"];
  for (const { key, row } of entries) {
    if (!isDocumentRowKey(key)) continue;
    if (key.table === "snapshot") {
      const { profile } = decodeRow(key, row, decodeSnapshotFacts);
      const snapshot = await read({ key, row });
      session = snapshot && { snapshot, profile };
    } else if (isOpsFacts(row.value)) {
      ops = await read({ key, row });
    } else {
      ops = decodeRow(key, row, (value) => {
        checkOpsSnapshot(value);
        return Buffer.from(value);
      });
    }
  }
  return { session, ops };
}
