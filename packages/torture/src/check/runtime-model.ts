import type { Seen } from "../load/load-record.js";
import type { RecordKey, SentLine } from "../ledger/lines.js";

/** What the ledger says of one operation. */
export interface Known {
  readonly sent: SentLine;
  fate: "open" | "applied" | "not applied" | "sealed";
  version?: string;
  isLost: boolean;
  isSealing: boolean;
  /** Whether its records were there after the last restart; undefined where that cannot be told. */
  isThere?: boolean | undefined;
}

/** What must be stored of one runtime, by the ledger alone. */
export class RuntimeModel {
  readonly records = new Map<RecordKey, Seen>();
  /** The operation that is under way or without an answer. */
  open: Known | undefined;
  readonly operations = new Map<string, Known>();
  /** Written since the last full look. */
  readonly fresh = new Set<RecordKey>();
  /** Everything that was ever stored here, as `key digest version`. */
  readonly everStored = new Set<string>();
  isRetired = false;

  constructor(readonly runtimeId: string) {}

  apply(known: Known, version: string): void {
    known.fate = "applied";
    known.version = version;
    for (const [key, digest] of known.sent.effects) {
      this.fresh.add(key);
      if (digest === null) {
        this.records.delete(key);
      } else {
        this.records.set(key, { digest, version });
        this.everStored.add(`${key} ${digest} ${version}`);
      }
    }
    this.close(known);
  }

  close(known: Known): void {
    if (this.open === known) this.open = undefined;
  }

  keysOf(kind: "input" | "receipt"): RecordKey[] {
    return [...this.records.keys()].filter((key) => key.startsWith(`${kind} `));
  }

  /** Its history is not asked for any more; what it holds is. */
  forget(): void {
    this.operations.clear();
    this.everStored.clear();
    this.fresh.clear();
  }
}
