import { type ExportedRuntime, type Finding, type RuntimeId, StoreError } from "@bolthole/contract";
import { readInputState, readOpsSnapshot, readReceipt } from "@bolthole/json";
import { RuntimeAudit } from "../audit/store-audit.js";
import { deriveRuntimeManifest } from "../commit/external-rows.js";
import { isCountedTable } from "../commit/manifests.js";
import { damaged, decodeRow, describeKey, isVerified } from "../commit/row.js";
import { decodeSnapshotFacts, storedSession } from "../documents/stored-document.js";
import { type Row, type RowEntry, type RowKey, StaleBaseError, type View, pagesOf } from "../engine.js";
import type { StoreContext } from "../store-context.js";

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
      for await (const page of pagesOf(view, { table, runtimeId })) entries.push(...page);
    });
  }
  let manifest: Row | undefined;
  await attempt("runtimeManifest", async () => {
    manifest = await view.get({ table: "runtimeManifest", runtimeId });
  });
  return { manifest, entries };
}

/** Returns the document of a row that was read. Throws `StaleBaseError` when another one is stored. */
export async function documentOf(context: StoreContext, runtimeId: RuntimeId, { row }: RowEntry): Promise<Buffer> {
  const stored = await storedSession(context, runtimeId);
  if (stored?.row.sequence !== row.sequence) throw new StaleBaseError();
  return stored.bytes();
}

/** Whether the manifest counts exactly the rows that are there. Their values are not verified. */
export function matchesManifest(runtimeId: RuntimeId, { manifest, entries }: StoredRuntime): boolean {
  const counted = entries.flatMap(({ key: { table }, row }) => (isCountedTable(table) ? [{ table, row }] : []));
  if (!manifest) return counted.length === 0;
  const derived = deriveRuntimeManifest(counted, manifest.value);
  const key = { table: "runtimeManifest", runtimeId } as const;
  return derived !== undefined && Buffer.compare(derived, manifest.value) === 0 && isVerified(key, manifest);
}

/** Returns the contents of a runtime, or undefined when nothing is stored. Throws DAMAGED_RECORD for any damage. */
export async function exportContents(
  context: StoreContext,
  runtimeId: RuntimeId,
): Promise<ExportedRuntime | undefined> {
  const stored = await context.engine.view((view) => readRuntime(view, runtimeId));
  if (!stored.manifest && stored.entries.length === 0) return undefined;
  const records = recordsOf(stored.entries);
  if (!matchesManifest(runtimeId, stored)) {
    throw damaged({ table: "runtimeManifest", runtimeId }, "does not match the rows that are there");
  }
  const snapshot = stored.entries.find(({ key }) => key.table === "snapshot");
  return { runtimeId, ...records, session: snapshot && (await sessionOf(context, runtimeId, snapshot)), findings: [] };
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
  const readable = entries.filter(isReadable);
  findings.push(...audit.end());

  const snapshot = readable.find(({ key }) => key.table === "snapshot");
  let session: ExportedRuntime["session"];
  if (snapshot) {
    try {
      session = await sessionOf(context, runtimeId, snapshot);
    } catch (error) {
      findings.push({
        code: "document-damaged",
        runtimeId,
        record: describeKey(snapshot.key),
        text: damageText(error),
      });
    }
  }
  return { runtimeId, ...recordsOf(readable), session, findings };
}

/** Reports rows that cannot be read because the data file is damaged where they should be. */
const collecting =
  (runtimeId: RuntimeId, findings: Finding[]): Attempt =>
  async (table, read) => {
    try {
      await read();
    } catch (error) {
      findings.push({ code: "pages-damaged", runtimeId, text: `${table} rows: ${damageText(error)}` });
    }
  };

/** Returns the text of a DAMAGED_RECORD error. Throws any other error. */
function damageText(error: unknown): string {
  if (error instanceof StoreError && error.reason === "DAMAGED_RECORD") return error.message;
  throw error;
}

/** Decodes every record except the session. Throws DAMAGED_RECORD. */
function recordsOf(entries: readonly RowEntry[]): Pick<ExportedRuntime, "lifecycle" | "ops" | "inputs" | "receipts"> {
  const decodeAll = <T>(table: RowKey["table"], decode: (value: Uint8Array) => T): T[] =>
    entries.flatMap(({ key, row }) => (key.table === table ? [decodeRow(key, row, decode)] : []));
  return {
    lifecycle: decodeAll("lifecycle", (value) => value)[0],
    ops: decodeAll("ops", readOpsSnapshot)[0],
    inputs: decodeAll("input", readInputState),
    receipts: decodeAll("receipt", readReceipt),
  };
}

const sessionOf = async (
  context: StoreContext,
  runtimeId: RuntimeId,
  snapshot: RowEntry,
): Promise<NonNullable<ExportedRuntime["session"]>> => ({
  snapshot: await documentOf(context, runtimeId, snapshot),
  profile: decodeRow(snapshot.key, snapshot.row, decodeSnapshotFacts).profile,
});
