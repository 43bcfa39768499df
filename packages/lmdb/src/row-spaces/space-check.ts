import type { Finding, RuntimeId } from "@bolthole/contract";
import { type RowKey, describeKey } from "@bolthole/core";
import type { ReadTransaction } from "../environment.js";
import { hashedIdOf } from "../hashed-ids.js";
import {
  DEFAULT_ROW_SPACE,
  type RowSpaceKey,
  afterRowSpace,
  hasRowSpaceId,
  isInDefaultRowSpace,
  parseKey,
  parseRowSpaceKey,
  pointerKey,
  rowBounds,
  rowSpaceBounds,
  rowSpaceKindBounds,
  rowSpaceOf,
  runtimeIdText,
  unusedRowSpaceBounds,
} from "../keys.js";
import { type StoredRow, decodeRecord } from "../record.js";
import { lastSpaceId } from "./row-spaces.js";
import { type Pointer, decodeOwner, decodePointer } from "./space-records.js";

/** A row as a check reads it. */
export interface WalkedRow {
  readonly storedKey: Buffer;
  /** The parsed key. Undefined when no table has the stored key. */
  readonly key: RowKey | undefined;
  readonly row: StoredRow;
  /** The size of the stored key and the stored value. */
  readonly bytes: number;
}

/**
 * Walks all rows of one state in the order that `StoreAudit` expects: the rows of the store, then those of each runtime, in
 * whichever row space they are. Replaced rows that are not deleted yet belong to no runtime and are left out. After the walk,
 * `findings` returns the damage and the unfinished work of the row spaces themselves.
 */
export class RowWalk {
  /** The pointers of the runtimes, by the text of the runtime id. */
  private readonly pointers = new Map<string, Pointer>();
  /** The runtimes whose default row space is garbage, by the text of the runtime id. */
  private readonly defaultGarbage = new Set<string>();
  /** The numbered row spaces that a pointer or a record names. */
  private readonly named = new Set<number>();
  private readonly found: Finding[] = [];
  /** The number of rows that no pointer leads to, by the text of the runtime id. */
  private readonly unreachable = new Map<string, number>();
  private lastSpace = 0;

  constructor(private readonly transaction: ReadTransaction) {
    for (const kind of ["staging", "garbage"] as const) this.readRecords(kind);
    this.readPointers();
  }

  /** The largest row space id that is stored. 0 without one. */
  get lastSpaceId(): number {
    return Math.max(this.lastSpace, lastSpaceId(this.transaction));
  }

  *rows(): Generator<WalkedRow, void> {
    const { start, end } = rowBounds();
    const left = new Map(this.pointers);
    let runtime: string | undefined;
    let first: Buffer = Buffer.of();
    for (const { key, value } of this.transaction.range(start, end)) {
      const next = runtimeIdText(key);
      if (next !== runtime) {
        yield* this.rowSpaceOf(runtime, left);
        runtime = next;
        first = key;
      }
      if (runtime !== undefined && isInDefaultRowSpace(key)) {
        if (this.defaultGarbage.has(runtime)) continue;
        if (this.pointers.has(runtime)) {
          this.unreachable.set(runtime, (this.unreachable.get(runtime) ?? 0) + 1);
          continue;
        }
      }
      const row = decodeRecord(value);
      const parsed = parseKey(key, row.runtimeId) ?? this.keyOfDamagedId(key, first);
      yield { storedKey: key, key: parsed, row, bytes: key.length + value.length };
    }
    yield* this.rowSpaceOf(runtime, left);
    // These runtimes have no other row, so their row spaces should be empty.
    for (const id of [...left.keys()]) yield* this.rowSpaceOf(id, left);
  }

  /** Call it after the rows were walked. */
  findings(): Finding[] {
    return [...this.found, ...this.unreachableRows(), ...this.orphans(), ...this.strangeValues()];
  }

  /**
   * Returns the key of a row whose own copy of a long runtime id is damaged. No load reads that copy, so the row is there; without
   * it, the runtime or the whole store would have a row less than its manifest counts.
   */
  private keyOfDamagedId(key: Buffer, first: Buffer): RowKey | undefined {
    const runtimeId = runtimeIdText(key) === undefined ? undefined : hashedIdOf(this.transaction, first);
    const parsed = runtimeId === undefined ? undefined : parseKey(key, runtimeId);
    if (parsed) {
      const text = "the copy of the runtime id in it is damaged; the next write of the record replaces it";
      this.found.push({ code: "row-damaged", runtimeId, record: describeKey(parsed), text });
    }
    return parsed;
  }

  /** Walks the row space of a runtime, if it has one, and removes it from `left`. */
  private *rowSpaceOf(runtime: string | undefined, left: Map<string, Pointer>): Generator<WalkedRow, void> {
    const pointer = runtime === undefined ? undefined : left.get(runtime);
    if (runtime === undefined || !pointer) return;
    left.delete(runtime);
    const { runtimeId, space } = pointer;
    const { start, end } = rowSpaceBounds(runtimeId, space);
    for (const { key, value } of this.transaction.range(start, end)) {
      const parsed = parseRowSpaceKey(key, runtimeId);
      yield { storedKey: key, key: parsed, row: decodeRecord(value), bytes: key.length + value.length };
    }
  }

  private readRecords(kind: "staging" | "garbage"): void {
    for (const { key, value } of this.all(kind)) {
      if (!hasRowSpaceId(key)) {
        this.found.push(strangeValue(key));
        continue;
      }
      const space = rowSpaceOf(key);
      this.lastSpace = Math.max(this.lastSpace, space);
      const runtimeId = decodeOwner(key, value);
      const isDefault = space === DEFAULT_ROW_SPACE;
      const name = isDefault ? "of the default row space" : `of row space ${space}`;
      if (!isDefault) this.named.add(space);
      if (runtimeId === undefined) {
        this.found.push({ code: "row-space-damaged", text: `the ${kind} record ${name} is damaged` });
        continue;
      }
      if (isDefault) this.defaultGarbage.add(textOf(runtimeId));
      const text =
        kind === "staging"
          ? `row space ${space} has rows of an import that is not committed`
          : `the replaced rows ${name} are not deleted yet`;
      this.found.push({ code: "row-space-unfinished", runtimeId, text });
    }
  }

  private readPointers(): void {
    const abandoned = new Set(this.named);
    for (const { key, value } of this.all("pointer")) {
      const pointer = decodePointer(key, value);
      if (!pointer) {
        const text = "the pointer to the row space of a runtime is damaged";
        this.found.push({ code: "row-space-damaged", text: `${text} (key ${key.toString("hex")})` });
        continue;
      }
      const { space, runtimeId } = pointer;
      this.lastSpace = Math.max(this.lastSpace, space);
      if (abandoned.has(space) || this.named.has(space)) {
        const other = abandoned.has(space) ? "is also staged or garbage" : "also belongs to another runtime";
        this.found.push({ code: "row-space-damaged", runtimeId, text: `row space ${space} ${other}` });
      }
      this.named.add(space);
      this.pointers.set(textOf(runtimeId), pointer);
    }
  }

  private *unreachableRows(): Generator<Finding, void> {
    for (const [runtime, count] of this.unreachable) {
      const runtimeId = this.pointers.get(runtime)?.runtimeId;
      const text = `${count} rows are in the default row space of a runtime that has another one`;
      yield { code: "row-space-orphan", runtimeId, text };
    }
  }

  private *orphans(): Generator<Finding, void> {
    const { start, end } = rowSpaceKindBounds("row");
    for (let from = start; ;) {
      const [first] = this.transaction.keys(from, end);
      if (!first) return;
      if (!hasRowSpaceId(first)) {
        yield strangeValue(first);
        from = Buffer.concat([first, Buffer.of(0)]);
        continue;
      }
      const space = rowSpaceOf(first);
      if (!this.named.has(space)) {
        yield { code: "row-space-orphan", text: `no runtime has the rows of row space ${space}` };
      }
      from = afterRowSpace(space);
    }
  }

  private *strangeValues(): Generator<Finding, void> {
    for (const { start, end } of unusedRowSpaceBounds()) {
      for (const key of this.transaction.keys(start, end)) yield strangeValue(key);
    }
  }

  private all(kind: RowSpaceKey): ReturnType<ReadTransaction["range"]> {
    const { start, end } = rowSpaceKindBounds(kind);
    return this.transaction.range(start, end);
  }
}

const strangeValue = (key: Buffer): Finding => ({
  code: "row-strange",
  text: `a value is stored under the key ${key.toString("hex")}, which no table has`,
});

const textOf = (runtimeId: RuntimeId): string => runtimeIdText(pointerKey(runtimeId)) ?? "";
