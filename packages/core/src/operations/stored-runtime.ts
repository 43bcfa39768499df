import { type RuntimeId, StoreError } from "@bolthole/contract";
import { damageOf } from "../audit/store-audit.js";
import {
  COUNTED_TABLES,
  type CountedTable,
  NO_ROWS,
  type TableDigest,
  decodeRuntimeManifest,
  isSameDigest,
  updateDigest,
} from "../commit/manifests.js";
import { RowSetDigest } from "../commit/row-set.js";
import { storedOps } from "../documents/ops-facts.js";
import { storedSession } from "../documents/snapshot-facts.js";
import {
  type DocumentRowKey,
  ROW_SPACE_RECORD,
  type Row,
  type RowEntry,
  type RowSetKey,
  StaleBaseError,
  type View,
  pagesOf,
} from "../engine.js";
import type { StoreContext } from "../store-context.js";

/** The tables of which a runtime has at most one row each. */
export const SINGLE_TABLES = ["snapshot", "lifecycle", "ops"] as const;

/** The most input rows and receipts that a commit writes or deletes one by one. More of them are replaced as a row set. */
const MAX_FEW_ROWS = 256;
/** The most bytes of their values: a few milliseconds of the event loop. */
const MAX_FEW_BYTES = 1 << 20;

/** Whether rows are so few that a commit writes or deletes them one by one. */
export const areFew = (rows: number, bytes: number): boolean => rows <= MAX_FEW_ROWS && bytes <= MAX_FEW_BYTES;

/** What is stored of a runtime that is to be replaced or deleted. Many rows are counted, and not kept. */
export interface ReplacedRuntime {
  readonly manifest: Row | undefined;
  /** The rows of which there is at most one each. */
  readonly singles: readonly RowEntry[];
  /** The digests of the input rows and receipts. */
  readonly rows: Pick<RowSetDigest, "input" | "receipt">;
  /** The input rows and receipts in the order of their keys, when they are few. */
  readonly few: readonly RowEntry<RowSetKey>[] | undefined;
  /** Whether the engine cannot find the row set. It is not among the rows then, but can be replaced. */
  readonly isRowSetLost: boolean;
  /** Whether the manifest counts exactly the rows that are there. Their values are not verified. */
  readonly matchesManifest: boolean;
}

/**
 * Reads what is stored of a runtime that is to be replaced or deleted, also when the engine cannot find its row set. Nothing is
 * verified or decoded.
 */
export async function readReplaced(view: View, runtimeId: RuntimeId): Promise<ReplacedRuntime> {
  const singles: RowEntry[] = [];
  for (const table of SINGLE_TABLES) {
    const key = { table, runtimeId };
    const row = await view.get(key);
    if (row) singles.push({ key, row });
  }
  const rows = new RowSetDigest();
  let few: RowEntry<RowSetKey>[] | undefined = [];
  let bytes = 0;
  let isRowSetLost = false;
  for (const table of ["input", "receipt"] as const) {
    try {
      for await (const page of pagesOf(view, { table, runtimeId })) {
        rows.add(page);
        bytes += page.reduce((total, { row }) => total + row.value.length, 0);
        if (few && areFew(few.length + page.length, bytes)) few.push(...page);
        else few = undefined;
      }
    } catch (error) {
      if (!isLostRowSet(error)) throw error;
      isRowSetLost = true;
    }
  }
  const manifest = await view.get({ table: "runtimeManifest", runtimeId });
  const { input, receipt } = rows;
  const matchesManifest = !isRowSetLost && isCountedBy(runtimeId, manifest, { ...digestsOf(singles), input, receipt });
  return { manifest, singles, rows, few, isRowSetLost, matchesManifest };
}

/** Whether nothing is stored of a runtime. */
export const isNothing = ({ manifest, singles, rows, isRowSetLost }: ReplacedRuntime): boolean =>
  !manifest && singles.length === 0 && rows.input.rows === 0 && rows.receipt.rows === 0 && !isRowSetLost;

/** Whether the engine could not find the row set of a runtime. */
export const isLostRowSet = (error: unknown): boolean =>
  error instanceof StoreError && error.subject.record === ROW_SPACE_RECORD;

type Digests = Readonly<Record<CountedTable, TableDigest>>;

/** Returns the digests of the tables of which a runtime has at most one row each. */
export function digestsOf(singles: readonly RowEntry[]): Pick<Digests, (typeof SINGLE_TABLES)[number]> {
  const digest = (table: CountedTable): TableDigest => {
    const row = singles.find(({ key }) => key.table === table)?.row;
    return row ? updateDigest(NO_ROWS, undefined, row) : NO_ROWS;
  };
  return { snapshot: digest("snapshot"), lifecycle: digest("lifecycle"), ops: digest("ops") };
}

/** Whether a manifest is undamaged, and counts exactly these rows. */
export function isCountedBy(runtimeId: RuntimeId, manifest: Row | undefined, found: Digests): boolean {
  const isEmpty = COUNTED_TABLES.every((table) => found[table].rows === 0);
  if (!manifest) return isEmpty;
  if (isEmpty || damageOf({ table: "runtimeManifest", runtimeId }, manifest)) return false;
  const counted = decodeRuntimeManifest(manifest.value);
  return COUNTED_TABLES.every((table) => isSameDigest(counted[table], found[table]));
}

/** Returns the document of a row that was read. Throws `StaleBaseError` when another one is stored. */
export async function documentOf(context: StoreContext, { key, row }: RowEntry<DocumentRowKey>): Promise<Buffer> {
  const load = key.table === "snapshot" ? storedSession : storedOps;
  const stored = await load(context, key.runtimeId);
  if (stored?.row.sequence !== row.sequence) throw new StaleBaseError();
  return stored.bytes();
}
