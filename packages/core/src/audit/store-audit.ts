import { type Finding, type RuntimeId, type StoreCounts, StoreError } from "@bolthole/contract";
import { readOpsSnapshot, readReceipt } from "@bolthole/json";
import {
  COUNTED_TABLES,
  type CountedTable,
  EMPTY_STORE_MANIFEST,
  NO_ROWS,
  type RuntimeManifest,
  type StoreManifest,
  type TableDigest,
  decodeRuntimeManifest,
  decodeStoreManifest,
  differenceText,
  isCountedTable,
  isSameDigest,
  updateDigest,
} from "../commit/manifests.js";
import { decodeOutcome } from "../commit/outcome.js";
import { checksumOf, decodeRow, describeKey, isDocumentRowKey, verifiedValue } from "../commit/row.js";
import { decodeOpsFacts, isOpsFacts } from "../documents/ops-facts.js";
import { decodeSnapshotFacts } from "../documents/snapshot-facts.js";
import type { DocumentFacts } from "../documents/stored-document.js";
import type { DocumentRowKey, Row, RowKey } from "../engine.js";
import { decodeInputState } from "../input-rows/input-load.js";
import { checkLifecycleRecord } from "../operations/records.js";

/** Returns the damage of a single row, if any. The form of a value longer than `formBytes` is not checked, only its checksum. */
export function damageOf(key: RowKey, row: Row, formBytes = Infinity): Finding | undefined {
  const runtimeId = "runtimeId" in key ? key.runtimeId : undefined;
  const record = describeKey(key);
  try {
    verifiedValue(key, row);
  } catch {
    return { code: "row-damaged", runtimeId, record, text: `the row ${row.problem ?? "does not match its checksum"}` };
  }
  if (row.value.length > formBytes) return undefined;
  try {
    decodeRow(key, row, (value) => decodeValue(key, value, row));
    return undefined;
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return { code: "row-unreadable", runtimeId, record, text: error.message };
  }
}

/** Decodes a value in the same way as the loads of its table. */
function decodeValue(key: RowKey, value: Uint8Array, row: Row): unknown {
  switch (key.table) {
    case "runtimeManifest":
      return decodeRuntimeManifest(value);
    case "storeManifest":
      return decodeStoreManifest(value);
    case "outcome":
      return decodeOutcome(value);
    case "snapshot":
      return decodeSnapshotFacts(value);
    case "input":
      return decodeInputState(value, row);
    case "receipt":
      return readReceipt(value);
    case "ops":
      return isOpsFacts(value) ? decodeOpsFacts(value) : readOpsSnapshot(value);
    case "lifecycle":
      checkLifecycleRecord(value);
      return undefined;
    case "oauth":
      return value;
  }
}

/** Compares the stored digest of a table with its rows. Returns the difference as text, if any. */
export function difference(table: string, stored: TableDigest, found: TableDigest): string | undefined {
  if (isSameDigest(stored, found)) return undefined;
  return `${table} rows: ${differenceText(stored, found)}`;
}

/**
 * The digest of the rows of one table that are there. A damaged row may have a wrong checksum, although the row with which it was
 * counted had the right one.
 */
class FoundRows {
  private digest = NO_ROWS;
  /** For each damaged row, the difference to the sum if its content is right and its checksum is wrong. */
  private readonly shifts: number[] = [];
  private hasUnreadable = false;

  add(key: RowKey, row: Row, isDamaged: boolean): void {
    this.digest = updateDigest(this.digest, undefined, row);
    if (!isDamaged) return;
    this.shifts.push((checksumOf(key, row.sequence, row.value) - row.checksum) >>> 0);
    this.hasUnreadable ||= row.checksum < 0;
  }

  /**
   * Compares the digest that was stored with the rows. Returns the difference as text, if any. A difference that the damage of
   * the rows explains is none: the damaged rows are reported already, and no row is missing.
   */
  difference(table: string, stored: TableDigest): string | undefined {
    const { digest, shifts } = this;
    const text = difference(table, stored, digest);
    if (text === undefined || stored.rows !== digest.rows) return text;
    const missing = (stored.sum - digest.sum) >>> 0;
    const all = shifts.reduce((sum, shift) => (sum + shift) >>> 0, 0);
    return this.hasUnreadable || missing === all || shifts.includes(missing) ? undefined : text;
  }
}

/** Checks all rows of one state of a runtime, the runtime manifest included, and compares the manifest with the rows. */
export class RuntimeAudit {
  private manifest: RuntimeManifest | undefined;
  private readonly found: Record<CountedTable, FoundRows> = {
    snapshot: new FoundRows(),
    lifecycle: new FoundRows(),
    ops: new FoundRows(),
    input: new FoundRows(),
    receipt: new FoundRows(),
  };

  constructor(
    readonly runtimeId: RuntimeId,
    private readonly formBytes = Infinity,
  ) {}

  /** Checks one row. The rows may come in any order. */
  take(key: RowKey, row: Row): Finding | undefined {
    const damage = damageOf(key, row, this.formBytes);
    if (isCountedTable(key.table)) this.found[key.table].add(key, row, damage !== undefined);
    else if (key.table === "runtimeManifest" && !damage) this.manifest = decodeRuntimeManifest(row.value);
    return damage;
  }

  /** Compares the manifest with the rows, after the last row. */
  end(): Finding[] {
    const { runtimeId, manifest, found } = this;
    const record = "runtime manifest";
    if (!manifest) {
      const text = "no readable runtime manifest counts the stored rows";
      return [{ code: "head-missing", runtimeId, record, text }];
    }
    return COUNTED_TABLES.flatMap((table): Finding[] => {
      const text = found[table].difference(table, manifest[table]);
      return text === undefined ? [] : [{ code: "head-differs", runtimeId, record, text }];
    });
  }
}

/** A row, with the length and the checksum of its stored document, if it has one that is not empty. */
export interface AuditedRow {
  readonly key: RowKey;
  readonly row: Row;
  readonly document?: { readonly length: number; readonly crc32: number } | undefined;
}

/**
 * Checks all rows of one state of a store, and compares the manifests with the rows. The rows of the store itself must come
 * first, then one runtime after the other, its manifest before its other rows.
 */
export class StoreAudit {
  readonly counts = { runtimes: 0, rows: 0, outcomes: 0 } satisfies StoreCounts;
  private manifest: StoreManifest | "unreadable" | undefined;
  private readonly found = { outcome: new FoundRows(), oauth: new FoundRows(), runtimeManifest: new FoundRows() };
  private runtime: RuntimeAudit | undefined;

  take({ key, row, document }: AuditedRow): Finding[] {
    const findings: Finding[] = [];
    if ("runtimeId" in key && key.runtimeId !== this.runtime?.runtimeId) {
      findings.push(...this.endRuntime());
      this.runtime = new RuntimeAudit(key.runtimeId);
      this.counts.runtimes += 1;
    }
    const damage = "runtimeId" in key && this.runtime ? this.runtime.take(key, row) : damageOf(key, row);
    if (damage) findings.push(damage);
    switch (key.table) {
      case "storeManifest":
        this.manifest = damage ? "unreadable" : decodeStoreManifest(row.value);
        break;
      case "outcome":
        this.counts.outcomes += 1;
        this.found.outcome.add(key, row, damage !== undefined);
        break;
      case "oauth":
      case "runtimeManifest":
        this.found[key.table].add(key, row, damage !== undefined);
        break;
      case "snapshot":
      case "lifecycle":
      case "ops":
      case "input":
      case "receipt":
        this.counts.rows += 1;
        if (isDocumentRowKey(key) && !damage) findings.push(...documentDiffers(key, row, document));
    }
    return findings;
  }

  /** Compares the store manifest with the rows, after the last row. */
  end(): Finding[] {
    const findings = this.endRuntime();
    const { manifest = EMPTY_STORE_MANIFEST, found } = this;
    // It is reported already, and the next start counts it again.
    if (manifest === "unreadable") return findings;
    for (const table of ["outcome", "oauth", "runtimeManifest"] as const) {
      const text = found[table].difference(table, manifest[table]);
      if (text !== undefined) findings.push(storeDiffers(text));
    }
    return findings;
  }

  private endRuntime(): Finding[] {
    const findings = this.runtime?.end() ?? [];
    this.runtime = undefined;
    return findings;
  }
}

export const storeDiffers = (problem: string): Finding => ({
  code: "store-differs",
  text: `the store manifest does not match the rows that are there: ${problem}`,
});

const NO_DOCUMENT: DocumentFacts = { length: 0, crc32: 0 };

/** Returns the facts about the document that an engine keeps for a row. Undefined for a row whose value is the document. */
export function documentFactsOf({ table }: DocumentRowKey, { value }: Row): DocumentFacts | undefined {
  if (table === "snapshot") return decodeSnapshotFacts(value);
  return isOpsFacts(value) ? decodeOpsFacts(value) : undefined;
}

function documentDiffers(key: DocumentRowKey, row: Row, document: AuditedRow["document"]): Finding[] {
  const facts = documentFactsOf(key, row) ?? NO_DOCUMENT;
  const { length, crc32 } = document ?? NO_DOCUMENT;
  if (facts.length === length && facts.crc32 === crc32) return [];
  const { runtimeId } = key;
  const expected = `${String(facts.length)} bytes with CRC-32 ${String(facts.crc32)}`;
  const text = `expected a document of ${expected}, found ${String(length)} bytes with CRC-32 ${String(crc32)}`;
  return [{ code: "document-differs", runtimeId, record: describeKey(key), text }];
}
