import type { VersionedStore } from "@bolthole/contract";
import { type Seen, loadRecord } from "../load/load-record.js";
import { STORE } from "../ledger/lines.js";
import type { Findings } from "./findings.js";
import type { Known, RuntimeModel } from "./runtime-model.js";

interface Link extends Seen {
  readonly id: string;
}

/** The values that the one OAuth record took: each update expected the one before, so each place is taken once. */
export class OauthChain {
  private readonly links = new Map<number, Link>();
  private last = 0;

  constructor(private readonly findings: Findings) {}

  apply(known: Known, link: number, version: string): void {
    known.fate = "applied";
    known.version = version;
    const [, digest = null] = known.sent.effects[0] ?? [];
    const taken = this.links.get(link);
    if (taken && taken.id !== known.sent.id) {
      this.findings.add(
        "compare-and-set",
        STORE,
        `${taken.id} and ${known.sent.id} both replaced value ${String(link - 1)}`,
      );
    }
    this.links.set(link, { id: known.sent.id, digest: digest ?? "", version });
    this.last = Math.max(this.last, link);
  }

  /** `isSettled`: no update is without an answer any more. */
  async verify(store: VersionedStore, model: RuntimeModel, isSettled: boolean): Promise<void> {
    const seen = await loadRecord(store, STORE, "oauth");
    const newest = this.links.get(this.last);
    const isNewest = seen?.digest === newest?.digest && seen?.version === newest?.version;
    const isLost = [...model.operations.values()].some(
      ({ sent, fate }) => fate === "open" && (sent.link ?? 0) > this.last && sent.effects[0]?.[1] === seen?.digest,
    );
    if (!isNewest && (isSettled || !isLost)) {
      const found = seen ? `version ${seen.version}` : "nothing";
      this.findings.add(
        "acknowledged",
        STORE,
        `OAuth value ${String(this.last)} (${newest?.version ?? "none"}): found ${found}`,
      );
    }
    if (!isSettled) return;
    for (let link = 1; link < this.last; link += 1) {
      if (!this.links.has(link)) {
        this.findings.add("compare-and-set", STORE, `OAuth value ${String(link)} was replaced, and nobody wrote it`);
      }
    }
  }
}
