import type { Finding, RuntimeId } from "@bolthole/contract";
import {
  COUNTED,
  EMPTY_HEAD,
  type Head,
  type Tally,
  copyHead,
  decodeHead,
  isCounted,
  retally,
} from "../commit/head.js";
import type { Row, RowKey } from "../engine.js";
import { damageOf } from "./row-audit.js";

/** Goes over every row of one state of a runtime, its head too: each is what was written, and the head says what is there. */
export class RuntimeAudit {
  private head: Head | undefined;
  private readonly found = copyHead(EMPTY_HEAD);

  constructor(
    readonly runtimeId: RuntimeId,
    private readonly formBytes = Infinity,
  ) {}

  take(key: RowKey, row: Row): Finding | undefined {
    const damage = damageOf(key, row, this.formBytes);
    if (isCounted(key.table)) this.found[key.table] = retally(this.found[key.table], undefined, row);
    else if (key.table === "head" && !damage) this.head = decodeHead(row.value);
    return damage;
  }

  /** After the last row. */
  end(): Finding[] {
    const { runtimeId, head, found } = this;
    if (!head) return [{ code: "head-missing", runtimeId, record: "head", text: "no sound head counts what is there" }];
    return COUNTED.flatMap((table): Finding[] => {
      const text = difference(table, head[table], found[table]);
      return text === undefined ? [] : [{ code: "head-differs", runtimeId, record: "head", text }];
    });
  }
}

/** What the books say of a table against what is there, as text; nothing when they agree. */
export function difference(table: string, wanted: Tally, found: Tally): string | undefined {
  if (wanted.rows !== found.rows) {
    return `${table} rows: ${String(wanted.rows)} are counted, ${String(found.rows)} are there`;
  }
  return wanted.sum === found.sum ? undefined : `${table} rows: ${String(found.rows)}, but not those that were counted`;
}
