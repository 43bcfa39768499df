import type { InputId, StoredInputState, Version } from "@bolthole/contract";
import { isSameRow } from "./same-row.js";

/** A private copy of a row: callers may change theirs when their call is over. */
export interface RowCopy {
  readonly state: StoredInputState;
  readonly bytes: number;
}

export interface KnownRow extends RowCopy {
  readonly version: Version;
}

/** Rows of one request, held against those that are known. */
export interface Compared {
  /** At the place of each row of the request the known one, if it is stored like that. */
  readonly known: readonly (KnownRow | undefined)[];
  /** The others. */
  readonly travelling: readonly StoredInputState[];
}

/** Only ids in the one spelling that the store gives back stand for one row each. */
const CANONICAL_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Rows with different ids. A ledger comes whole at each boundary, and in its old order: so a row is looked for there first. */
export class KnownRows {
  private readonly rows: KnownRow[] = [];
  private readonly places = new Map<InputId, number>();
  bytes = 0;

  static of(rows: Iterable<KnownRow>): KnownRows {
    const known = new KnownRows();
    for (const row of rows) known.put(row);
    return known;
  }

  put(row: KnownRow): void {
    const { inputId } = row.state;
    const place = this.places.get(inputId);
    this.bytes += row.bytes - (place === undefined ? 0 : (this.rows[place]?.bytes ?? 0));
    this.rows[place ?? this.rows.length] = row;
    if (place === undefined) this.places.set(inputId, this.rows.length - 1);
  }

  /** Which rows are stored as they are. None counts for known when one id comes twice. */
  compare(rows: readonly StoredInputState[]): Compared {
    const known: (KnownRow | undefined)[] = [];
    const travelling: StoredInputState[] = [];
    /** Where the next row is looked for first; places that only rise have no id twice. */
    let next = 0;
    let doTheyRise = true;
    for (const row of rows) {
      const place = this.placeOf(row.inputId, next);
      const one = place === undefined ? undefined : this.rows[place];
      if (place !== undefined) {
        doTheyRise &&= place >= next;
        next = place + 1;
      }
      const isKnown = one !== undefined && isSameRow(one.state, row);
      known.push(isKnown ? one : undefined);
      if (!isKnown) travelling.push(row);
    }
    const areOnce = areDistinct(travelling) && (doTheyRise || areIdsDistinct(rows));
    return areOnce ? { known, travelling } : { known: [], travelling: rows };
  }

  private placeOf(inputId: InputId, likely: number): number | undefined {
    return this.rows[likely]?.state.inputId === inputId ? likely : this.places.get(inputId);
  }
}

/** Of two rows with one id the last wins, which is the store's business. */
export const areDistinct = (rows: readonly StoredInputState[]): boolean =>
  areIdsDistinct(rows) && rows.every(({ inputId }) => CANONICAL_ID.test(inputId));

const areIdsDistinct = (rows: readonly StoredInputState[]): boolean =>
  new Set(rows.map(({ inputId }) => inputId)).size === rows.length;
