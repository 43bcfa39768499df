import { type Finding, type StoreCounts, StoreError } from "@bolthole/contract";
import { readOpsSnapshot, readReceipt } from "@bolthole/contract/json";
import {
  COUNTED,
  type CountedTable,
  EMPTY_HEAD,
  type Head,
  type Tally,
  copyHead,
  decodeHead,
  retally,
} from "../commit/head.js";
import { decodeOutcome } from "../commit/outcome.js";
import { describeKey, soundValue } from "../commit/row.js";
import { EMPTY_TALLY, type StoreTally, decodeTally } from "../commit/tally.js";
import type { Row, RowKey } from "../engine.js";
import { readRow } from "../operations/input.js";
import { checkLifecycleRecord } from "../rules/lifecycle.js";
import { decodeSnapshotFacts } from "../snapshot.js";
import { decodeRow } from "../store-context.js";

/** A row, and what the engine knows of the document that goes with a `snapshot`; nothing for an empty one. */
export interface AuditedRow {
  readonly key: RowKey;
  readonly row: Row;
  readonly document?: { readonly length: number; readonly crc32: number } | undefined;
}

/**
 * Goes over every row of one state of a store: each is what was written and has its form, and the books say what is there.
 * The store's own rows come first, then runtime after runtime, the head before the rest.
 */
export class StoreAudit {
  readonly counts = { runtimes: 0, rows: 0, outcomes: 0 } satisfies StoreCounts;
  private books: StoreTally | undefined;
  private found = EMPTY_TALLY;
  private runtime: RuntimeAudit | undefined;

  take({ key, row, document }: AuditedRow): Finding[] {
    const findings: Finding[] = [];
    if ("runtimeId" in key && key.runtimeId !== this.runtime?.runtimeId) {
      findings.push(...this.endRuntime());
      this.runtime = new RuntimeAudit(key.runtimeId);
      this.counts.runtimes += 1;
    }
    const damage = damageOf(key, row);
    if (damage) findings.push(damage);
    switch (key.table) {
      case "tally":
        if (damage) findings.push(differs("its own row is damaged"));
        else this.books = decodeTally(row.value);
        break;
      case "outcome":
        this.counts.outcomes += 1;
        this.note("outcome", row);
        break;
      case "oauth":
        this.note("oauth", row);
        break;
      case "head":
        this.note("head", row);
        if (!damage) this.runtime?.takeHead(decodeHead(row.value));
        break;
      case "snapshot":
      case "lifecycle":
      case "ops":
      case "input":
      case "receipt":
        this.counts.rows += 1;
        this.runtime?.take(key.table, row);
        if (key.table === "snapshot" && !damage) findings.push(...documentDiffers(key, row, document));
    }
    return findings;
  }

  /** After the last row. */
  end(): Finding[] {
    const findings = this.endRuntime();
    const { books = EMPTY_TALLY, found } = this;
    for (const table of ["outcome", "oauth", "head"] as const) {
      if (!isSame(books[table], found[table]))
        findings.push(differs(`${table} rows: ${comparison(books[table], found[table])}`));
    }
    return findings;
  }

  private note(table: "outcome" | "oauth" | "head", row: Row): void {
    this.found = { ...this.found, [table]: retally(this.found[table], undefined, row) };
  }

  private endRuntime(): Finding[] {
    const findings = this.runtime?.end() ?? [];
    this.runtime = undefined;
    return findings;
  }
}

class RuntimeAudit {
  private head: Head | undefined;
  private readonly found = copyHead(EMPTY_HEAD);

  constructor(readonly runtimeId: string) {}

  takeHead(head: Head): void {
    this.head = head;
  }

  take(table: CountedTable, row: Row): void {
    this.found[table] = retally(this.found[table], undefined, row);
  }

  end(): Finding[] {
    const { runtimeId, head, found } = this;
    if (!head) return [{ code: "head-missing", runtimeId, record: "head", text: "no sound head counts what is there" }];
    return COUNTED.flatMap((table): Finding[] => {
      if (isSame(head[table], found[table])) return [];
      const text = `${table} rows: ${comparison(head[table], found[table])}`;
      return [{ code: "head-differs", runtimeId, record: "head", text }];
    });
  }
}

const isSame = (one: Tally, other: Tally): boolean => one.rows === other.rows && one.sum === other.sum;

const comparison = (wanted: Tally, found: Tally): string =>
  wanted.rows === found.rows
    ? `${String(found.rows)}, but not those that were counted`
    : `${String(wanted.rows)} are counted, ${String(found.rows)} are there`;

const differs = (what: string): Finding => ({ code: "store-differs", text: `the books of the store differ: ${what}` });

/** What is wrong with a row in itself. */
function damageOf(key: RowKey, row: Row): Finding | undefined {
  const runtimeId = "runtimeId" in key ? key.runtimeId : undefined;
  const record = describeKey(key);
  try {
    soundValue(key, row);
  } catch {
    return { code: "row-damaged", runtimeId, record, text: "the row does not match its checksum" };
  }
  try {
    decodeRow(key, row, (value) => readForm(key, value, row));
    return undefined;
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return { code: "row-unreadable", runtimeId, record, text: error.message };
  }
}

/** Reads a value as the loads of its table do. */
function readForm(key: RowKey, value: Uint8Array, row: Row): unknown {
  switch (key.table) {
    case "head":
      return decodeHead(value);
    case "tally":
      return decodeTally(value);
    case "outcome":
      return decodeOutcome(value);
    case "snapshot":
      return decodeSnapshotFacts(value);
    case "input":
      return readRow(value, row);
    case "receipt":
      return readReceipt(value);
    case "ops":
      return readOpsSnapshot(value);
    case "lifecycle":
      checkLifecycleRecord(value);
      return undefined;
    case "oauth":
      return value;
  }
}

function documentDiffers(key: RowKey, row: Row, document: AuditedRow["document"]): Finding[] {
  const facts = decodeSnapshotFacts(row.value);
  const { length, crc32 } = document ?? { length: 0, crc32: 0 };
  if (facts.length === length && facts.crc32 === crc32) return [];
  const runtimeId = "runtimeId" in key ? key.runtimeId : undefined;
  const text = `${String(facts.length)} bytes belong to the snapshot, its document has ${String(length)}, or is another one`;
  return [{ code: "document-differs", runtimeId, record: describeKey(key), text }];
}
