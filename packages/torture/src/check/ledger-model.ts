import type { StoreErrorReason, VersionedStore } from "@bolthole/contract";
import {
  type AckLine,
  type Line,
  type ReadLine,
  type RecordKey,
  type RepeatLine,
  STORE,
  type SentLine,
  type StatusLine,
} from "../ledger.js";
import { type StoredRecord, loadRecord } from "../load/records.js";
import type { Violations } from "../run.js";

/** One operation as the ledger records it. */
export interface LedgerOperation {
  readonly sent: SentLine;
  fate: "open" | "applied" | "not applied" | "sealed";
  version?: string;
  /** Whether its first attempt ended without a response. */
  isUnanswered: boolean;
  /** Whether a client asked to seal its request id. */
  isSealing: boolean;
  /** Whether its records were stored after the last restart; undefined when the records do not show it. */
  isStored?: boolean | undefined;
}

/** The records that one runtime must have, according to the ledger. */
export class RuntimeModel {
  readonly records = new Map<RecordKey, StoredRecord>();
  /** The operation that is in progress or has no response yet. */
  open: LedgerOperation | undefined;
  readonly operations = new Map<string, LedgerOperation>();
  /** The keys that were written since the runtime was last checked. */
  readonly fresh = new Set<RecordKey>();
  /** Every state of every record so far, as `key digest version`. */
  readonly everStored = new Set<string>();
  isRetired = false;

  constructor(readonly runtimeId: string) {}

  apply(operation: LedgerOperation, version: string): void {
    operation.fate = "applied";
    operation.version = version;
    for (const [key, digest] of operation.sent.effects) {
      this.fresh.add(key);
      if (digest === null) {
        this.records.delete(key);
      } else {
        this.records.set(key, { digest, version });
        this.everStored.add(`${key} ${digest} ${version}`);
      }
    }
    this.close(operation);
  }

  close(operation: LedgerOperation): void {
    if (this.open === operation) this.open = undefined;
  }

  keysOf(kind: "input" | "receipt"): RecordKey[] {
    return [...this.records.keys()].filter((key) => key.startsWith(`${kind} `));
  }

  /** Drops the history of a retired runtime. Its records stay, because they are still checked. */
  forget(): void {
    this.operations.clear();
    this.everStored.clear();
    this.fresh.clear();
  }
}

interface Link extends StoredRecord {
  readonly id: string;
}

/**
 * The values of the OAuth record, numbered from 1. Each update expects the value before it, so two updates can never
 * have the same number.
 */
class OauthChain {
  private readonly links = new Map<number, Link>();
  private last = 0;

  constructor(private readonly violations: Violations) {}

  apply(operation: LedgerOperation, link: number, version: string): void {
    operation.fate = "applied";
    operation.version = version;
    const [, digest = null] = operation.sent.effects[0] ?? [];
    const taken = this.links.get(link);
    if (taken && taken.id !== operation.sent.id) {
      this.violations.add(
        "compare-and-set",
        STORE,
        `${taken.id} and ${operation.sent.id} both replaced value ${String(link - 1)}`,
      );
    }
    this.links.set(link, { id: operation.sent.id, digest: digest ?? "", version });
    this.last = Math.max(this.last, link);
  }

  /** Compares the stored value with the newest one. `isSettled` means that every update has a known outcome. */
  async verify(store: VersionedStore, model: RuntimeModel, isSettled: boolean): Promise<void> {
    const seen = await loadRecord(store, STORE, "oauth");
    const newest = this.links.get(this.last);
    const isNewest = seen?.digest === newest?.digest && seen?.version === newest?.version;
    const isUnanswered = [...model.operations.values()].some(
      ({ sent, fate }) => fate === "open" && (sent.link ?? 0) > this.last && sent.effects[0]?.[1] === seen?.digest,
    );
    if (!isNewest && (isSettled || !isUnanswered)) {
      const expected = newest ? `version ${newest.version}` : "nothing";
      const found = seen ? `version ${seen.version}` : "nothing";
      this.violations.add(
        "acknowledged",
        STORE,
        `OAuth value ${String(this.last)}: expected ${expected}, found ${found}`,
      );
    }
    if (!isSettled) return;
    for (let link = 1; link < this.last; link += 1) {
      if (!this.links.has(link)) {
        this.violations.add(
          "compare-and-set",
          STORE,
          `OAuth value ${String(link)} was replaced, but no client wrote it`,
        );
      }
    }
  }
}

/** The counts of the operations of a run, by their results. */
export interface Counts {
  sent: number;
  acknowledged: number;
  replayed: number;
  repeats: number;
  reads: number;
  /** Operations whose first attempt got no response. The next four members count their final results. */
  unanswered: number;
  foundApplied: number;
  sealed: number;
  appliedByRepeat: number;
  unansweredNotApplied: number;
  /** Operations with a wrong expectation, which were refused as they must be. */
  refused: number;
}

const NONE: Counts = {
  sent: 0,
  acknowledged: 0,
  replayed: 0,
  repeats: 0,
  reads: 0,
  unanswered: 0,
  foundApplied: 0,
  sealed: 0,
  appliedByRepeat: 0,
  unansweredNotApplied: 0,
  refused: 0,
};

const REFUSALS: readonly string[] = ["FENCE_CONFLICT", "VERSION_CONFLICT"] satisfies StoreErrorReason[];

/** Reads the ledgers line by line, computes the records that must be stored, and reports responses that contradict each other. */
export class LedgerModel {
  readonly runtimes = new Map<string, RuntimeModel>();
  readonly oauth: OauthChain;
  readonly counts: Counts = { ...NONE };
  /** Reads during writes. They are checked when every operation is settled. */
  private reads: ReadLine[] = [];
  private readonly owners = new Map<string, RuntimeModel>();

  constructor(private readonly violations: Violations) {
    this.oauth = new OauthChain(violations);
  }

  add(line: Line): void {
    switch (line.t) {
      case "sent":
        this.sent(line);
        break;
      case "ack":
        this.acknowledged(line);
        break;
      case "not-applied": {
        const operation = this.operation(line.id);
        if (operation.isStored === true)
          this.contradiction(operation, `was reported as not applied (${line.why}), but is stored`);
        if (operation.isUnanswered) this.counts.unansweredNotApplied += 1;
        if (REFUSALS.includes(line.why)) this.counts.refused += 1;
        this.end(operation, "not applied");
        break;
      }
      case "lost":
        this.operation(line.id).isUnanswered = true;
        this.counts.unanswered += 1;
        break;
      case "sealing":
        this.operation(line.id).isSealing = true;
        break;
      case "status":
        this.status(line);
        break;
      case "sealed": {
        const operation = this.operation(line.id);
        if (operation.isStored === true) this.contradiction(operation, "is refused as sealed, but is stored");
        this.counts.sealed += 1;
        this.end(operation, "sealed");
        break;
      }
      case "repeat":
        this.repeat(line);
        break;
      case "read":
        this.counts.reads += 1;
        if (line.settled) this.settledRead(line);
        else this.reads.push(line);
        break;
      case "wrong":
        this.violations.add("correct responses", line.runtime, line.what);
        break;
      case "retired":
        this.runtime(line.runtime).isRetired = true;
        break;
    }
  }

  /** Reports records that were read but never stored. Every operation must be settled. */
  judgeReads(): void {
    for (const { runtime, key, digest, version } of this.reads) {
      if (!this.runtime(runtime).everStored.has(`${key} ${String(digest)} ${String(version)}`)) {
        this.violations.add(
          "durable reads",
          runtime,
          `${key} was read at version ${String(version)}, and never became durable`,
        );
      }
    }
    this.reads = [];
    for (const model of this.runtimes.values()) {
      if (!model.isRetired || model.operations.size === 0) continue;
      for (const id of model.operations.keys()) this.owners.delete(id);
      model.forget();
    }
  }

  private sent(line: SentLine): void {
    this.counts.sent += 1;
    const model = this.runtime(line.runtime);
    const operation: LedgerOperation = { sent: line, fate: "open", isUnanswered: false, isSealing: false };
    model.operations.set(line.id, operation);
    this.owners.set(line.id, model);
    if (line.runtime === STORE) return;
    if (model.open) throw new Error(`the ledger has two operations of ${line.runtime} in progress at the same time`);
    model.open = operation;
  }

  private acknowledged({ id, version, replayed }: AckLine): void {
    const operation = this.operation(id);
    this.counts.acknowledged += 1;
    if (replayed) this.counts.replayed += 1;
    if (operation.fate === "sealed") this.contradiction(operation, "was sealed, but is acknowledged");
    if (operation.isStored === true && !replayed) {
      this.violations.add(
        "at most once",
        operation.sent.runtime,
        `${nameOf(operation)} was stored, and was applied a second time`,
      );
    }
    if (operation.isStored === false && replayed)
      this.contradiction(operation, "has a replayed response, but was not stored");
    if (operation.isUnanswered) this.counts[replayed ? "foundApplied" : "appliedByRepeat"] += 1;
    this.apply(operation, version);
  }

  private status({ id, state, version }: StatusLine): void {
    const operation = this.operation(id);
    if (state === "applied") {
      if (operation.isStored === false)
        this.contradiction(operation, "is applied according to GetCommit, but was not stored");
      if (operation.fate === "sealed")
        this.contradiction(operation, "was sealed, but is applied according to GetCommit");
      this.counts.foundApplied += 1;
      this.apply(operation, version ?? "");
    } else {
      if (operation.isStored === true)
        this.contradiction(operation, `is ${state} according to GetCommit, but is stored`);
      if (state === "expired") this.contradiction(operation, "is expired according to GetCommit, but is new");
      if (state === "sealed") {
        if (!operation.isSealing)
          this.contradiction(operation, "is sealed according to GetCommit, but no client sealed it");
        operation.fate = "sealed";
      } else if (operation.fate === "sealed") {
        this.contradiction(operation, `was sealed, but is ${state} according to GetCommit`);
      }
    }
  }

  private repeat({ id, version, replayed }: RepeatLine): void {
    const operation = this.operation(id);
    this.counts.repeats += 1;
    if (replayed && version === operation.version) return;
    const how = replayed ? `another version, ${version}` : `a new commit, ${version}`;
    this.violations.add(
      "at most once",
      operation.sent.runtime,
      `${nameOf(operation)}, applied as ${String(operation.version)}, returned ${how} when it was repeated`,
    );
  }

  private settledRead({ runtime, key, digest, version }: ReadLine): void {
    const stored = this.runtime(runtime).records.get(key);
    if ((stored?.digest ?? null) === digest && (stored?.version ?? null) === version) return;
    const expected = stored ? `version ${stored.version}` : "nothing";
    const isOther = stored && stored.version === version ? ", with other content" : "";
    this.violations.add(
      "known content",
      runtime,
      `${key}: expected ${expected}, found ${version === null ? "nothing" : `version ${version}`}${isOther}`,
    );
  }

  private apply(operation: LedgerOperation, version: string): void {
    if (operation.sent.link === undefined) this.runtime(operation.sent.runtime).apply(operation, version);
    else this.oauth.apply(operation, operation.sent.link, version);
  }

  private end(operation: LedgerOperation, fate: "not applied" | "sealed"): void {
    operation.fate = fate;
    this.runtime(operation.sent.runtime).close(operation);
  }

  private contradiction(operation: LedgerOperation, what: string): void {
    this.violations.add("request outcome", operation.sent.runtime, `${nameOf(operation)} ${what}`);
  }

  runtime(runtimeId: string): RuntimeModel {
    let model = this.runtimes.get(runtimeId);
    if (!model) {
      model = new RuntimeModel(runtimeId);
      this.runtimes.set(runtimeId, model);
    }
    return model;
  }

  private operation(id: string): LedgerOperation {
    const operation = this.owners.get(id)?.operations.get(id);
    if (!operation) throw new Error(`the ledger has a line for ${id}, but no line that sends it`);
    return operation;
  }
}

export const nameOf = ({ sent }: LedgerOperation): string => `${sent.method} ${sent.id}`;
