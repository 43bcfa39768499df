import type { Finding, RuntimeId } from "@bolthole/contract";
import {
  COUNTED_TABLES,
  EMPTY_RUNTIME_MANIFEST,
  type RuntimeManifest,
  type TableDigest,
  copyRuntimeManifest,
  decodeRuntimeManifest,
  isCountedTable,
  updateDigest,
} from "../commit/runtime-manifest.js";
import type { Row, RowKey } from "../engine.js";
import { damageOf } from "./row-audit.js";

/** Goes over every row of one state of a runtime, its head too: each is what was written, and the head says what is there. */
export class RuntimeAudit {
  private manifest: RuntimeManifest | undefined;
  private readonly found = copyRuntimeManifest(EMPTY_RUNTIME_MANIFEST);

  constructor(
    readonly runtimeId: RuntimeId,
    private readonly formBytes = Infinity,
  ) {}

  take(key: RowKey, row: Row): Finding | undefined {
    const damage = damageOf(key, row, this.formBytes);
    if (isCountedTable(key.table)) this.found[key.table] = updateDigest(this.found[key.table], undefined, row);
    else if (key.table === "runtimeManifest" && !damage) this.manifest = decodeRuntimeManifest(row.value);
    return damage;
  }

  /** After the last row. */
  end(): Finding[] {
    const { runtimeId, manifest, found } = this;
    if (!manifest)
      return [
        {
          code: "head-missing",
          runtimeId,
          record: "runtime manifest",
          text: "no readable runtime manifest counts the stored rows",
        },
      ];
    return COUNTED_TABLES.flatMap((table): Finding[] => {
      const text = difference(table, manifest[table], found[table]);
      return text === undefined ? [] : [{ code: "head-differs", runtimeId, record: "runtime manifest", text }];
    });
  }
}

/** What the books say of a table against what is there, as text; nothing when they agree. */
export function difference(table: string, wanted: TableDigest, found: TableDigest): string | undefined {
  if (wanted.rows !== found.rows) {
    return `${table} rows: ${String(wanted.rows)} are counted, ${String(found.rows)} are there`;
  }
  return wanted.sum === found.sum ? undefined : `${table} rows: ${String(found.rows)}, but not those that were counted`;
}
