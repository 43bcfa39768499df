import { type Row, type RowKey, compareKeys, keyText } from "./row.js";

/** Names one row of a `ReadSet`. */
export interface RowHandle<K extends RowKey = RowKey> {
  readonly key: K;
  /** The position of the row in the set. For the engines; rules name rows by their handles alone. */
  readonly index: number;
}

/** The rows of a `ReadSet` as they were read. */
export interface RowReader {
  get(handle: RowHandle): Row | undefined;
}

/** In a set of up to this many rows, comparing keys one by one is faster than a map of their texts. */
const SEARCHED_ROWS = 16;

/**
 * The rows that a write batch reads, and that it may write. A row that is added again gets the handle that it has already, so
 * that no row can be written under two names.
 */
export class ReadSet {
  private readonly list: RowHandle[] = [];
  private byText: Map<string, RowHandle> | undefined;

  get handles(): readonly RowHandle[] {
    return this.list;
  }

  add<K extends RowKey>(key: K): RowHandle<K> {
    const known = this.find(key);
    if (known) return known as RowHandle<K>;
    const handle = { key, index: this.list.length };
    this.list.push(handle);
    this.byText?.set(keyText(key), handle);
    return handle;
  }

  private find(key: RowKey): RowHandle | undefined {
    if (this.list.length <= SEARCHED_ROWS) {
      return this.list.find((one) => one.key.table === key.table && compareKeys(one.key, key) === 0);
    }
    this.byText ??= new Map(this.list.map((one) => [keyText(one.key), one]));
    return this.byText.get(keyText(key));
  }
}

/** Rows in the order of their read set. */
export class ReadRows implements RowReader {
  constructor(private readonly rows: readonly { readonly row: Row | undefined }[]) {}

  get({ key, index }: RowHandle): Row | undefined {
    const found = this.rows[index];
    if (!found) throw new RangeError(`the batch did not read the row ${keyText(key)}`);
    return found.row;
  }
}
