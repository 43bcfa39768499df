import { LRUCache } from "lru-cache";
import rfdc from "rfdc";
import type {
  CommittedInput,
  CommittedInputs,
  InputId,
  KeptInput,
  LoadedInputStates,
  RuntimeId,
  StoredInputState,
  UnchangedInputs,
  Version,
} from "@bolthole/contract";
import { type KnownRow, KnownRows, type RowCopy, areDistinct } from "./known-rows.js";

/**
 * "When all rows of the runtime together had `version`, each of `rows` was stored like this." Rows that nobody here has
 * seen may stand beside them. It stays true whatever others do, since no version comes twice; it is of use as long as
 * `version` is current, which the daemon checks.
 */
interface Ledger {
  readonly version: Version;
  readonly rows: KnownRows;
}

/** Rows of one request, split into those that have to travel and those that are known to be stored as they are. */
export interface OutgoingInputs {
  readonly travelling: readonly StoredInputState[];
  readonly unchanged: UnchangedInputs | undefined;
  /** The others, as they are known. */
  readonly known: readonly KnownRow[];
  /** Learns from the answer, and gives it as if all rows had travelled. */
  answered(answer: CommittedInputs): CommittedInputs;
}

/** About what a copy takes besides the texts in it that have no bounds, and what an entry of a list in it takes. */
const ROW_BYTES = 1024;
const ENTRY_BYTES = 128;

/**
 * What this client knows of the runtimes' input rows. The rule: an answer says which version all rows had `before` and
 * which `after`. After it, every row of the request is stored as it was given, whether it travelled or not. When
 * `before` is the version of what was known, the rest of that still holds at `after`; otherwise somebody else wrote in
 * between, and nothing but the rows of the request is known.
 */
export class KnownInputs {
  private readonly ledgers: LRUCache<RuntimeId, Ledger>;

  constructor(private readonly maxBytes: number) {
    this.ledgers = new LRUCache({ maxSize: Math.max(1, maxBytes) });
  }

  forget(runtimeId: RuntimeId): void {
    this.ledgers.delete(runtimeId);
  }

  /** What has to travel of these rows: over what is known now, or over what was known at another time. */
  split(
    runtimeId: RuntimeId,
    rows: readonly StoredInputState[],
    basis?: { readonly known: KnownRows; readonly unchanged: UnchangedInputs | undefined },
  ): OutgoingInputs {
    if (basis) return this.outgoing(runtimeId, rows, basis.known, basis.unchanged);
    const ledger = this.ledgers.get(runtimeId);
    return this.outgoing(runtimeId, rows, ledger?.rows ?? new KnownRows(), ledger && { inputsVersion: ledger.version });
  }

  /** All rows travel. */
  all(runtimeId: RuntimeId, rows: readonly StoredInputState[], unchanged?: UnchangedInputs): OutgoingInputs {
    return { ...this.outgoing(runtimeId, rows, new KnownRows(), undefined), unchanged };
  }

  /** One row is about to be written by itself; learns from the answer. */
  one(runtimeId: RuntimeId, row: StoredInputState): (answer: CommittedInput) => void {
    const copies = this.copies([row]);
    return (answer) => {
      this.learn(runtimeId, answer, [], copies, () => answer.version);
    };
  }

  /** Learns the rows that are read to their end, unless something else was learned meanwhile. */
  observe(runtimeId: RuntimeId, loaded: LoadedInputStates): LoadedInputStates {
    const { inputsVersion, batches, failures } = loaded;
    if (this.maxBytes === 0 || inputsVersion === "") return loaded;
    const before = this.ledgers.peek(runtimeId)?.version;
    if (before === inputsVersion) return loaded;
    const { ledgers, maxBytes } = this;
    async function* learning(): LoadedInputStates["batches"] {
      const rows = new KnownRows();
      const ledger: Ledger = { version: inputsVersion, rows };
      for await (const batch of batches) {
        for (const { value, version } of batch) {
          if (rows.bytes < maxBytes) rows.put({ ...copyOf(value), version });
        }
        yield batch;
      }
      if (rows.bytes < maxBytes && ledgers.peek(runtimeId)?.version === before)
        ledgers.set(runtimeId, ledger, sizeOf(ledger));
    }
    return { inputsVersion, batches: learning(), failures };
  }

  private outgoing(
    runtimeId: RuntimeId,
    rows: readonly StoredInputState[],
    stored: KnownRows,
    version: UnchangedInputs | undefined,
  ): OutgoingInputs {
    const compared = stored.compare(rows);
    const { travelling } = compared;
    const known = compared.known.filter((row) => row !== undefined);
    const unchanged = known.length > 0 ? version : undefined;
    const travellingIds = travelling.map(({ inputId }) => inputId);
    const copies = this.copies(travelling);
    const answered = (answer: CommittedInputs): CommittedInputs => {
      const kept = new Map(answer.keptInputs.map(({ inputId, version }) => [inputId, version]));
      this.learn(runtimeId, answer, known, copies, (inputId) => kept.get(inputId) ?? answer.version);
      if (known.length === 0) return answer;
      if (answer.replayed) return { ...answer, keptInputs: [] };
      return {
        ...answer,
        // Of a thousand rows it would be a fifth of a millisecond for each caller, and few look at it.
        get keptInputs(): KeptInput[] {
          const others = travellingIds.values();
          return compared.known.flatMap((row) => {
            const inputId = row?.state.inputId ?? others.next().value;
            const version = row?.version ?? (inputId === undefined ? undefined : kept.get(inputId));
            return inputId === undefined || version === undefined ? [] : [{ inputId, version }];
          });
        },
      };
    };
    return { travelling, unchanged, known, answered };
  }

  /** Undefined: these rows are not to be known. */
  private copies(rows: readonly StoredInputState[]): readonly RowCopy[] | undefined {
    if (this.maxBytes === 0 || !areDistinct(rows)) return undefined;
    try {
      return rows.map(copyOf);
    } catch {
      // What becomes of such a row is the store's business; here it is only no row to remember.
      return undefined;
    }
  }

  private learn(
    runtimeId: RuntimeId,
    { inputs }: CommittedInput,
    known: readonly KnownRow[],
    copies: readonly RowCopy[] | undefined,
    versionOf: (inputId: InputId) => Version,
  ): void {
    // A replayed answer tells nothing of what was written since.
    if (!inputs || !copies) {
      this.forget(runtimeId);
      return;
    }
    let ledger = this.ledgers.peek(runtimeId);
    if (ledger?.version !== inputs.before) {
      ledger = { version: inputs.before, rows: KnownRows.of(known) };
    }
    for (const copy of copies) ledger.rows.put({ ...copy, version: versionOf(copy.state.inputId) });
    // A new object: the cache counts the bytes of a value that it has already no second time.
    this.ledgers.set(runtimeId, { ...ledger, version: inputs.after }, sizeOf(ledger));
  }
}

const sizeOf = ({ rows }: Ledger): { size: number } => ({ size: rows.bytes + 1 });

const clone = rfdc();

/** Throws when the row is none, as one from a caller without types may be. */
function copyOf(row: StoredInputState): RowCopy {
  const { persistedInput = "", idempotencyKey = "", history, reconstructionSource } = row;
  const sources = reconstructionSource?.kind === "coalescing" ? reconstructionSource.sourceInputIds.length : 0;
  const reasons = history.reduce((total, { reason = "" }) => total + reason.length, 0);
  const entries = ENTRY_BYTES * (history.length + sources);
  return { state: clone(row), bytes: ROW_BYTES + persistedInput.length + idempotencyKey.length + reasons + entries };
}
