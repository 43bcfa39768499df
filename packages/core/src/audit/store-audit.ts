import type { Finding, StoreCounts } from "@bolthole/contract";
import { updateDigest } from "../commit/runtime-manifest.js";
import { describeKey } from "../commit/row.js";
import { EMPTY_STORE_MANIFEST, type StoreManifest, decodeStoreManifest } from "../commit/store-manifest.js";
import type { Row, RowKey } from "../engine.js";
import { decodeSnapshotFacts } from "../documents/snapshot-facts.js";
import { damageOf } from "./row-audit.js";
import { RuntimeAudit, difference } from "./runtime-audit.js";

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
  private books: StoreManifest | undefined;
  private found = EMPTY_STORE_MANIFEST;
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
        if (damage) findings.push(storeDiffers("its own row is damaged"));
        else this.books = decodeStoreManifest(row.value);
        break;
      case "outcome":
        this.counts.outcomes += 1;
        this.note("outcome", row);
        break;
      case "oauth":
      case "runtimeManifest":
        this.note(key.table, row);
        break;
      case "snapshot":
      case "lifecycle":
      case "ops":
      case "input":
      case "receipt":
        this.counts.rows += 1;
        if (key.table === "snapshot" && !damage) findings.push(...documentDiffers(key, row, document));
    }
    return findings;
  }

  /** After the last row. */
  end(): Finding[] {
    const findings = this.endRuntime();
    const { books = EMPTY_STORE_MANIFEST, found } = this;
    for (const table of ["outcome", "oauth", "runtimeManifest"] as const) {
      const text = difference(table, books[table], found[table]);
      if (text !== undefined) findings.push(storeDiffers(text));
    }
    return findings;
  }

  private note(table: "outcome" | "oauth" | "runtimeManifest", row: Row): void {
    this.found = { ...this.found, [table]: updateDigest(this.found[table], undefined, row) };
  }

  private endRuntime(): Finding[] {
    const findings = this.runtime?.end() ?? [];
    this.runtime = undefined;
    return findings;
  }
}

export const storeDiffers = (what: string): Finding => ({
  code: "store-differs",
  text: `the books of the store differ: ${what}`,
});

function documentDiffers(key: RowKey, row: Row, document: AuditedRow["document"]): Finding[] {
  const facts = decodeSnapshotFacts(row.value);
  const { length, crc32 } = document ?? { length: 0, crc32: 0 };
  if (facts.length === length && facts.crc32 === crc32) return [];
  const runtimeId = "runtimeId" in key ? key.runtimeId : undefined;
  const text = `${String(facts.length)} bytes belong to the snapshot, its document has ${String(length)}, or is another one`;
  return [{ code: "document-differs", runtimeId, record: describeKey(key), text }];
}
