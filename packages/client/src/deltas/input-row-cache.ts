import equal from "fast-deep-equal";
import rfdc from "rfdc";
import type {
  CommittedInput,
  CommittedInputs,
  InputHistoryEntry,
  InputId,
  KeptInput,
  LoadedInputStates,
  RuntimeId,
  StoredInputState,
  UnchangedInputs,
  Version,
} from "@bolthole/contract";
import { ByteBudgetCache } from "./byte-budget-cache.js";

/**
 * The cached rows of one runtime: when all its input rows together had `version`, each of `rows` was stored in this form.
 *
 * This stays true after other writes, because no version is used twice. The runtime may have more rows than these. The
 * entry can be used while `version` is current, and the daemon checks that.
 */
interface RuntimeRows {
  readonly version: Version;
  readonly rows: CachedRows;
}

/** The input rows of one request, divided into rows to send and rows that the store already has. */
export interface OutgoingRows {
  readonly sent: readonly StoredInputState[];
  /** The version at which the store has the omitted rows. Undefined when no row is omitted. */
  readonly unchangedInputs: UnchangedInputs | undefined;
  readonly omitted: readonly CachedRow[];
  /** Updates the cache from the response. Returns the response to the same request with all rows sent. */
  complete(response: CommittedInputs): CommittedInputs;
}

/**
 * The input rows that this client has sent or loaded, as private copies.
 *
 * The rule: a response says which version all rows had before the commit and after it. After the commit, every row of the
 * request is stored in the form that the caller gave, sent or omitted. When the version before is the cached one, the
 * other cached rows hold at the version after it too. Otherwise another client wrote in between, and only the rows of
 * the request are known.
 */
export class InputRowCache {
  private readonly runtimes: ByteBudgetCache<RuntimeRows>;

  constructor(private readonly maxBytes: number) {
    this.runtimes = new ByteBudgetCache(maxBytes);
  }

  forget(runtimeId: RuntimeId): void {
    this.runtimes.delete(runtimeId);
  }

  /** Omits the rows that the cache has in the same form. */
  split(runtimeId: RuntimeId, rows: readonly StoredInputState[]): OutgoingRows {
    const cached = this.runtimes.get(runtimeId);
    const unchangedInputs = cached && { inputsVersion: cached.version };
    return this.splitBy(runtimeId, rows, cached?.rows ?? new CachedRows(), unchangedInputs);
  }

  /** Omits the rows that `stored` has in the same form, to make an earlier request again. */
  splitBy(
    runtimeId: RuntimeId,
    rows: readonly StoredInputState[],
    stored: CachedRows,
    unchangedInputs: UnchangedInputs | undefined,
  ): OutgoingRows {
    const { sent, cached } = stored.compare(rows);
    const omitted = cached.filter((row) => row !== undefined);
    const sentIds = sent.map(({ inputId }) => inputId);
    const copies = this.copyRows(sent);
    const complete = (response: CommittedInputs): CommittedInputs => {
      const kept = new Map(response.keptInputs.map(({ inputId, version }) => [inputId, version]));
      this.update(runtimeId, response, omitted, copies, (inputId) => kept.get(inputId) ?? response.version);
      if (omitted.length === 0) return response;
      // The replayed response of a store of before version 0.2 does not say which rows were kept.
      if (!response.inputs) return { ...response, keptInputs: [] };
      return {
        ...response,
        // A getter, because few callers read it: for a thousand rows this takes a fifth of a millisecond.
        get keptInputs(): KeptInput[] {
          const otherIds = sentIds.values();
          return cached.flatMap((row) => {
            const inputId = row?.state.inputId ?? otherIds.next().value;
            const version = row?.version ?? (inputId === undefined ? undefined : kept.get(inputId));
            return inputId === undefined || version === undefined ? [] : [{ inputId, version }];
          });
        },
      };
    };
    return { sent, unchangedInputs: omitted.length > 0 ? unchangedInputs : undefined, omitted, complete };
  }

  /** Omits no row. `unchangedInputs` is the caller's own. */
  sendAll(runtimeId: RuntimeId, rows: readonly StoredInputState[], unchangedInputs?: UnchangedInputs): OutgoingRows {
    return { ...this.splitBy(runtimeId, rows, new CachedRows(), undefined), unchangedInputs };
  }

  /** Copies a row that is about to be written alone. Returns the function that updates the cache from the response. */
  writeOne(runtimeId: RuntimeId, row: StoredInputState): (response: CommittedInput) => void {
    const copies = this.copyRows([row]);
    return (response) => {
      this.update(runtimeId, response, [], copies, () => response.version);
    };
  }

  /**
   * Returns the loaded rows, and caches them once the caller has read them to the end. When the runtime's entry changed
   * during the load, that entry stays.
   */
  observe(runtimeId: RuntimeId, loaded: LoadedInputStates): LoadedInputStates {
    const { inputsVersion, batches, failures } = loaded;
    if (this.maxBytes === 0 || inputsVersion === "") return loaded;
    const before = this.runtimes.peek(runtimeId)?.version;
    if (before === inputsVersion) return loaded;
    const { runtimes, maxBytes } = this;
    async function* collectRows(): LoadedInputStates["batches"] {
      const rows = new CachedRows();
      for await (const batch of batches) {
        for (const { value, version } of batch) {
          if (rows.bytes < maxBytes) rows.put({ ...copyRow(value), version });
        }
        yield batch;
      }
      if (rows.bytes < maxBytes && runtimes.peek(runtimeId)?.version === before) {
        runtimes.set(runtimeId, { version: inputsVersion, rows }, rows.bytes + 1);
      }
    }
    return { inputsVersion, batches: collectRows(), failures };
  }

  /** Returns undefined when these rows cannot be cached. */
  private copyRows(rows: readonly StoredInputState[]): readonly RowCopy[] | undefined {
    if (this.maxBytes === 0 || !areDistinct(rows)) return undefined;
    try {
      return rows.map(copyRow);
    } catch {
      // A caller without types passed something else. The store reports it; the cache only leaves it out.
      return undefined;
    }
  }

  private update(
    runtimeId: RuntimeId,
    { inputs }: CommittedInput,
    omitted: readonly CachedRow[],
    copies: readonly RowCopy[] | undefined,
    versionOf: (inputId: InputId) => Version,
  ): void {
    // A replayed response has the versions of the first one. The rows may have changed since then; the daemon then refuses
    // the version. It has no `inputs` if its outcome was stored before outcomes kept them.
    if (!inputs || !copies) {
      this.forget(runtimeId);
      return;
    }
    const cached = this.runtimes.peek(runtimeId);
    const rows = cached?.version === inputs.before ? cached.rows : CachedRows.of(omitted);
    for (const copy of copies) rows.put({ ...copy, version: versionOf(copy.state.inputId) });
    this.runtimes.set(runtimeId, { version: inputs.after, rows }, rows.bytes + 1);
  }
}

/** A private copy of a row: the caller may change its own row after the call. */
interface RowCopy {
  readonly state: StoredInputState;
  /** The estimated size. */
  readonly bytes: number;
}

export interface CachedRow extends RowCopy {
  readonly version: Version;
}

/** The rows of one request, compared with cached rows. */
interface RowComparison {
  /** For each row of the request: the cached row, if the row is stored in this form. */
  readonly cached: readonly (CachedRow | undefined)[];
  /** The other rows. */
  readonly sent: readonly StoredInputState[];
}

/** Rows with different ids. A caller passes all its rows at each boundary in the same order, so `compare` expects this order. */
export class CachedRows {
  bytes = 0;
  private readonly rows: CachedRow[] = [];
  private readonly indexes = new Map<InputId, number>();

  static of(rows: Iterable<CachedRow>): CachedRows {
    const cached = new CachedRows();
    for (const row of rows) cached.put(row);
    return cached;
  }

  /** Adds a row, or replaces the row with the same id. */
  put(row: CachedRow): void {
    const { inputId } = row.state;
    const index = this.indexes.get(inputId);
    this.bytes += row.bytes - (index === undefined ? 0 : (this.rows[index]?.bytes ?? 0));
    this.rows[index ?? this.rows.length] = row;
    if (index === undefined) this.indexes.set(inputId, this.rows.length - 1);
  }

  /** Finds the rows that are stored in this form. Finds none when two rows have the same id. */
  compare(rows: readonly StoredInputState[]): RowComparison {
    const cached: (CachedRow | undefined)[] = [];
    const sent: StoredInputState[] = [];
    /** The index where the next row is expected. */
    let next = 0;
    // Indexes that only rise prove that no id was repeated, without a set of all ids.
    let isRising = true;
    for (const row of rows) {
      const index = this.indexOf(row.inputId, next);
      const one = index === undefined ? undefined : this.rows[index];
      if (index !== undefined) {
        isRising &&= index >= next;
        next = index + 1;
      }
      const isCached = one !== undefined && isSameRow(one.state, row);
      cached.push(isCached ? one : undefined);
      if (!isCached) sent.push(row);
    }
    const isDistinct = areDistinct(sent) && (isRising || areIdsDistinct(rows));
    return isDistinct ? { cached, sent } : { cached: [], sent: rows };
  }

  private indexOf(inputId: InputId, expected: number): number | undefined {
    return this.rows[expected]?.state.inputId === inputId ? expected : this.indexes.get(inputId);
  }
}

/** The store returns ids in this spelling. Two ids in other spellings may be the same id. */
const CANONICAL_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether no two rows have the same id. If two have, the store keeps the last one, so all rows must be sent. */
const areDistinct = (rows: readonly StoredInputState[]): boolean =>
  areIdsDistinct(rows) && rows.every(({ inputId }) => CANONICAL_ID.test(inputId));

const areIdsDistinct = (rows: readonly StoredInputState[]): boolean =>
  new Set(rows.map(({ inputId }) => inputId)).size === rows.length;

/** The estimated size of a copy, without its texts of unlimited length. */
const ROW_BYTES = 1024;
/** The estimated size of one list entry in a row. */
const ENTRY_BYTES = 128;

const clone = rfdc();

/** Throws when the value is not a row. */
function copyRow(row: StoredInputState): RowCopy {
  const { persistedInput = "", idempotencyKey = "", history, reconstructionSource } = row;
  const sources = reconstructionSource?.kind === "coalescing" ? reconstructionSource.sourceInputIds.length : 0;
  const reasons = history.reduce((total, { reason = "" }) => total + reason.length, 0);
  const entries = ENTRY_BYTES * (history.length + sources);
  return { state: clone(row), bytes: ROW_BYTES + persistedInput.length + idempotencyKey.length + reasons + entries };
}

/**
 * Whether two rows are stored in the same form. All rows of a runtime are compared at every boundary, so each field is
 * named: a generic comparison takes several times as long.
 */
export const isSameRow = (one: StoredInputState, other: StoredInputState): boolean =>
  one.updatedAt === other.updatedAt &&
  one.attemptCount === other.attemptCount &&
  one.currentState === other.currentState &&
  one.inputId === other.inputId &&
  one.durability === other.durability &&
  one.idempotencyKey === other.idempotencyKey &&
  one.recoveryCount === other.recoveryCount &&
  one.lastRunId === other.lastRunId &&
  one.lastBoundarySequence === other.lastBoundarySequence &&
  one.admissionSequence === other.admissionSequence &&
  one.recoveryLane === other.recoveryLane &&
  one.createdAt === other.createdAt &&
  one.persistedInput === other.persistedInput &&
  isSameHistory(one.history, other.history) &&
  equal(one.terminalOutcome, other.terminalOutcome) &&
  equal(one.policy, other.policy) &&
  equal(one.runtimeSemantics, other.runtimeSemantics) &&
  equal(one.reconstructionSource, other.reconstructionSource);

function isSameHistory(one: readonly InputHistoryEntry[], other: readonly InputHistoryEntry[]): boolean {
  if (one.length !== other.length) return false;
  for (let index = 0; index < one.length; index += 1) if (!isSameEntry(one[index], other[index])) return false;
  return true;
}

const isSameEntry = (one: InputHistoryEntry | undefined, other: InputHistoryEntry | undefined): boolean =>
  one?.timestamp === other?.timestamp &&
  one?.from === other?.from &&
  one?.to === other?.to &&
  one?.reason === other?.reason;
