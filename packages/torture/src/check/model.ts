import type { StoreErrorReason } from "@bolthole/contract";
import {
  type AckLine,
  type AgainLine,
  type Line,
  type ReadLine,
  STORE,
  type SentLine,
  type StatusLine,
} from "../ledger/lines.js";
import type { Findings } from "./findings.js";
import { OauthChain } from "./oauth-chain.js";
import { type Known, RuntimeModel } from "./runtime-model.js";

export interface Counts {
  sent: number;
  acknowledged: number;
  replayed: number;
  repeats: number;
  reads: number;
  lost: number;
  lostApplied: number;
  lostSealed: number;
  lostRepeated: number;
  lostNotApplied: number;
  /** Expected what was not so, and were refused for it. */
  refused: number;
}

const NONE: Counts = {
  sent: 0,
  acknowledged: 0,
  replayed: 0,
  repeats: 0,
  reads: 0,
  lost: 0,
  lostApplied: 0,
  lostSealed: 0,
  lostRepeated: 0,
  lostNotApplied: 0,
  refused: 0,
};

const REFUSALS: readonly string[] = ["FENCE_CONFLICT", "VERSION_CONFLICT"] satisfies StoreErrorReason[];

/** Follows the ledgers line by line: what must be stored, and which answers contradict each other. */
export class Model {
  readonly runtimes = new Map<string, RuntimeModel>();
  readonly oauth: OauthChain;
  readonly counts: Counts = { ...NONE };
  /** Reads beside the writers, judged once every operation is settled. */
  private reads: ReadLine[] = [];
  private readonly owners = new Map<string, RuntimeModel>();

  constructor(private readonly findings: Findings) {
    this.oauth = new OauthChain(findings);
  }

  take(line: Line): void {
    switch (line.t) {
      case "sent":
        this.sent(line);
        break;
      case "ack":
        this.acknowledged(line);
        break;
      case "not-applied": {
        const known = this.known(line.id);
        if (known.isThere === true)
          this.contradiction(known, `was answered as not applied (${line.why}), but is there`);
        if (known.isLost) this.counts.lostNotApplied += 1;
        if (REFUSALS.includes(line.why)) this.counts.refused += 1;
        this.end(known, "not applied");
        break;
      }
      case "lost":
        this.known(line.id).isLost = true;
        this.counts.lost += 1;
        break;
      case "sealing":
        this.known(line.id).isSealing = true;
        break;
      case "status":
        this.status(line);
        break;
      case "sealed": {
        const known = this.known(line.id);
        if (known.isThere === true) this.contradiction(known, "is refused as sealed, but is there");
        this.counts.lostSealed += 1;
        this.end(known, "sealed");
        break;
      }
      case "again":
        this.again(line);
        break;
      case "read":
        this.counts.reads += 1;
        if (line.settled) this.settledRead(line);
        else this.reads.push(line);
        break;
      case "wrong":
        this.findings.add("sound answers", line.runtime, line.what);
        break;
      case "retired":
        this.runtime(line.runtime).isRetired = true;
        break;
    }
  }

  /** With every operation settled: what anybody has read must have been stored. */
  judgeReads(): void {
    for (const { runtime, key, digest, version } of this.reads) {
      if (!this.runtime(runtime).everStored.has(`${key} ${String(digest)} ${String(version)}`)) {
        this.findings.add("read", runtime, `${key} was read at version ${String(version)}, and never became durable`);
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
    const known: Known = { sent: line, fate: "open", isLost: false, isSealing: false };
    model.operations.set(line.id, known);
    this.owners.set(line.id, model);
    if (line.runtime === STORE) return;
    if (model.open) throw new Error(`the ledger has two operations of ${line.runtime} under way at once`);
    model.open = known;
  }

  private acknowledged({ id, version, replayed }: AckLine): void {
    const known = this.known(id);
    this.counts.acknowledged += 1;
    if (replayed) this.counts.replayed += 1;
    if (known.fate === "sealed") this.contradiction(known, "was sealed, and is applied all the same");
    if (known.isThere === true && !replayed) {
      this.findings.add("at most once", known.sent.runtime, `${nameOf(known)} was there, and is applied once more`);
    }
    if (known.isThere === false && replayed)
      this.contradiction(known, "is answered as applied before, and was not there");
    if (known.isLost) this.counts[replayed ? "lostApplied" : "lostRepeated"] += 1;
    this.apply(known, version);
  }

  private status({ id, state, version }: StatusLine): void {
    const known = this.known(id);
    if (state === "applied") {
      if (known.isThere === false) this.contradiction(known, "is applied for GetCommit, and was not there");
      if (known.fate === "sealed") this.contradiction(known, "was sealed, and is applied for GetCommit");
      this.counts.lostApplied += 1;
      this.apply(known, version ?? "");
    } else {
      if (known.isThere === true) this.contradiction(known, `is ${state} for GetCommit, and is there`);
      if (state === "expired") this.contradiction(known, "is expired for GetCommit, and was made just now");
      if (state === "sealed") {
        if (!known.isSealing) this.contradiction(known, "is sealed for GetCommit, and nobody sealed it");
        known.fate = "sealed";
      } else if (known.fate === "sealed") {
        this.contradiction(known, `was sealed, and is ${state} for GetCommit`);
      }
    }
  }

  private again({ id, version, replayed }: AgainLine): void {
    const known = this.known(id);
    this.counts.repeats += 1;
    if (replayed && version === known.version) return;
    const how = replayed ? `another version, ${version}` : `a change of its own, ${version}`;
    this.findings.add(
      "at most once",
      known.sent.runtime,
      `${nameOf(known)}, applied as ${String(known.version)}, was answered with ${how} when it was repeated`,
    );
  }

  private settledRead({ runtime, key, digest, version }: ReadLine): void {
    const stored = this.runtime(runtime).records.get(key);
    if ((stored?.digest ?? null) === digest && (stored?.version ?? null) === version) return;
    const expected = stored ? `version ${stored.version}` : "nothing";
    const isOther = stored && stored.version === version ? ", with other content" : "";
    this.findings.add(
      "known content",
      runtime,
      `${key}: expected ${expected}, read ${version === null ? "nothing" : `version ${version}`}${isOther}`,
    );
  }

  private apply(known: Known, version: string): void {
    if (known.sent.link === undefined) this.runtime(known.sent.runtime).apply(known, version);
    else this.oauth.apply(known, known.sent.link, version);
  }

  private end(known: Known, fate: "not applied" | "sealed"): void {
    known.fate = fate;
    this.runtime(known.sent.runtime).close(known);
  }

  private contradiction(known: Known, what: string): void {
    this.findings.add("request outcome", known.sent.runtime, `${nameOf(known)} ${what}`);
  }

  runtime(runtimeId: string): RuntimeModel {
    let model = this.runtimes.get(runtimeId);
    if (!model) {
      model = new RuntimeModel(runtimeId);
      this.runtimes.set(runtimeId, model);
    }
    return model;
  }

  private known(id: string): Known {
    const known = this.owners.get(id)?.operations.get(id);
    if (!known) throw new Error(`the ledger speaks of ${id}, which it never began`);
    return known;
  }
}

export const nameOf = ({ sent }: Known): string => `${sent.method} ${sent.id}`;
