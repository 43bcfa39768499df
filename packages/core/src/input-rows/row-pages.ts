import type { Row, RowEntry, RowRange, RowSetKey, View } from "../engine.js";
import type { HeldView, HeldViews } from "../held-views.js";
import { isSameRow } from "../commit/row.js";
import { RowSetDigest } from "../commit/row-set.js";
import { isLongValue } from "./long-rows.js";

/** A row of a page. The value of a long input row is left out, and is read again when the worker is free. */
export interface PageEntry<K extends RowSetKey = RowSetKey> extends RowEntry<K> {
  /** The length of the value. */
  readonly bytes: number;
}

/** Whether the value of a row was left out of its page. */
export const isLeftOut = ({ row, bytes }: PageEntry): boolean => bytes > row.value.length;

/** The rows that are read, and what else belongs to one state of them. */
export interface PagedRows<K extends RowSetKey> {
  readonly runtimeId: string;
  /** The tables, in the order in which they are read. */
  readonly tables: readonly K["table"][];
  /** Reads what shows the state of the rows, in the view of the first page. */
  start(view: View): Promise<void>;
  /** Whether a later view has the rows of the first one. */
  isCurrent(view: View): Promise<boolean>;
  /** Returns the error of a read when rows were written before all of them were read. */
  changed(): Error;
  /** Runs the scan of a page. It may report damage, and return undefined: then the rest of the table is left out. */
  scan<T>(table: K["table"], scan: () => Promise<T>): Promise<T | undefined>;
  /** Called after the last row was read, before its page is returned. */
  end(found: RowSetDigest): Promise<void> | void;
}

/** The most rows of a page. Its message is encoded in a few milliseconds. */
const PAGE_ROWS = 512;
/** The most bytes of stored values in a page of several rows, so that its message stays below 1 MiB on the wire. */
export const PAGE_BYTES = 700_000;
/** How many bytes are read ahead when a view ends before all rows were read. */
const AHEAD_BYTES = 4 << 20;

const NO_BYTES = new Uint8Array();

/**
 * Reads rows of a runtime page by page. All pages show one state: one view is held open, and when its time has passed, another
 * one is used only if none of the rows was written in between.
 */
export class RowPages<K extends RowSetKey> {
  private isStarted = false;
  /** The number of tables that were read to their end. */
  private completeTables = 0;
  private view: HeldView | undefined;
  private after: RowSetKey | undefined;
  private readonly digest = new RowSetDigest();
  private readonly ahead: PageEntry<K>[][] = [];
  private hasLongRows = false;

  constructor(
    private readonly views: HeldViews,
    private readonly rows: PagedRows<K>,
  ) {}

  private get hasAll(): boolean {
    return this.completeTables === this.rows.tables.length;
  }

  /** Returns the next rows, all of one table. An empty page means that there are no more. */
  async next(): Promise<readonly PageEntry<K>[]> {
    while (this.ahead.length === 0 && !this.hasAll) await this.readAhead();
    return this.ahead.shift() ?? [];
  }

  close(): void {
    this.view?.close();
  }

  /** Reads a row again whose value was left out. Throws when the row was written since. */
  async readAgain({ key, row }: PageEntry<K>): Promise<Row> {
    const { view } = this;
    const readRow = (rows: View): Promise<Row | undefined> => rows.get(key);
    const present = await (view && !view.hasEnded ? view : this.views).read(readRow);
    if (!present || !isSameRow(present, row)) throw this.rows.changed();
    return present;
  }

  private async readAhead(): Promise<void> {
    if (!this.view || this.view.hasEnded) {
      this.view?.close();
      this.view = this.views.hold();
    }
    const { view, rows } = this;
    await view.read(async (open) => {
      if (!this.isStarted) await rows.start(open);
      else if (!(await rows.isCurrent(open))) throw rows.changed();
      this.isStarted = true;
      let bytes = 0;
      do bytes += await this.readPage(open);
      while (!this.hasAll && view.hasEnded && bytes < AHEAD_BYTES);
    });
    if ((this.hasAll && !this.hasLongRows) || view.hasEnded) view.close();
    if (this.hasAll) await rows.end(this.digest);
  }

  /** Reads one page, and returns the number of its bytes. */
  private async readPage(view: View): Promise<number> {
    const { after, rows } = this;
    const { runtimeId } = rows;
    const table = rows.tables[this.completeTables];
    const range = { table, runtimeId, after } as RowRange;
    const page = (table && (await rows.scan(table, () => view.scan(range, PAGE_ROWS, PAGE_BYTES)))) as
      RowEntry<K>[] | undefined;
    let bytes = 0;
    const entries: PageEntry<K>[] = [];
    for (const { key, row } of page ?? []) {
      const { length } = row.value;
      bytes += length;
      const isLong = key.table === "input" && isLongValue(row.value);
      this.hasLongRows ||= isLong;
      entries.push({ key, row: isLong ? { ...row, value: NO_BYTES } : row, bytes: length });
    }
    this.digest.add(entries);
    if (entries.length > 0) this.ahead.push(entries);
    this.after = page?.at(-1)?.key ?? after;
    if (!page || (page.length < PAGE_ROWS && bytes < PAGE_BYTES)) {
      this.completeTables += 1;
      this.after = undefined;
    }
    return bytes;
  }
}
