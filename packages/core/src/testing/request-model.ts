import type { RequestIdTimes } from "@bolthole/contract";
import { timeOfRequest } from "../commit/request-id.js";
import type { Random } from "./random.js";

/** The response to a request. */
export type ResponseKind = "executed" | "replayed" | "expired" | "ahead" | "sealed";
/** The response to a question about a request id. */
export type StatusKind = "applied" | "pending" | "not_found" | "sealed" | "expired" | "ahead";

/** The facts about all request ids of one time line. */
interface Facts {
  /** The ids that were executed or sealed. */
  readonly outcomes: Map<string, "applied" | "sealed">;
  /** The ids whose outcome is certainly not stored any more. */
  readonly gone: Set<string>;
  /** The ids that must never be executed: executed in any time line, or with a final response. */
  readonly spent: Set<string>;
  /** The ids whose outcome may have been deleted before an operator lowered the horizon. */
  readonly uncertain: Set<string>;
}

const noFacts = (): Facts => ({ outcomes: new Map(), gone: new Set(), spent: new Set(), uncertain: new Set() });

const copyOf = ({ outcomes, gone, spent, uncertain }: Facts): Facts => ({
  outcomes: new Map(outcomes),
  gone: new Set(gone),
  spent: new Set(spent),
  uncertain: new Set(uncertain),
});

/** How many ids a repeat chooses from. */
const RECENT = 400;

/**
 * A model of what a store may respond to a request id: the map of all outcomes that were ever made, the horizon that the store
 * reports, and the ids that must never be executed.
 */
export class RequestModel {
  /** The horizon that the store reported last. */
  horizonMs = 0;
  /** The ids with the true time of their execution. */
  readonly honest = new Set<string>();
  private facts = noFacts();
  private backup = noFacts();
  private recent: string[] = [];

  /** Returns the responses to a request that are allowed. */
  expect(requestId: string, { horizonMs, latestMs }: RequestIdTimes): ResponseKind[] {
    const outcome = this.facts.gone.has(requestId) ? undefined : this.facts.outcomes.get(requestId);
    const time = timeOfRequest(requestId);
    const kept: ResponseKind | undefined = outcome && (outcome === "applied" ? "replayed" : "sealed");
    if (kept && this.facts.uncertain.has(requestId)) return [kept, "expired", "executed", "ahead"];
    // Below the horizon, an outcome may still be stored.
    if (time < horizonMs) return kept ? [kept, "expired"] : ["expired"];
    if (kept) return [kept];
    if (this.facts.spent.has(requestId)) return [];
    return time > latestMs ? ["ahead"] : ["executed"];
  }

  /** Returns the states of a request id that are allowed. */
  expectStatus(requestId: string, times: RequestIdTimes, seal: boolean): StatusKind[] {
    return this.expect(requestId, times).map((kind): StatusKind => {
      if (kind === "replayed") return "applied";
      if (kind === "executed") return seal ? "sealed" : "not_found";
      return kind;
    });
  }

  record(requestId: string, kind: ResponseKind): void {
    // Executed ones are more interesting.
    for (let copies = kind === "executed" ? 3 : 1; copies > 0; copies -= 1) this.recent.push(requestId);
    if (this.recent.length > 2 * RECENT) this.recent = this.recent.slice(-RECENT);
    this.facts.uncertain.delete(requestId);
    if (kind === "executed") {
      this.facts.outcomes.set(requestId, "applied");
      this.facts.gone.delete(requestId);
    }
    if (kind === "expired" || kind === "ahead") this.facts.gone.add(requestId);
    if (kind === "executed" || kind === "expired" || kind === "sealed") this.facts.spent.add(requestId);
  }

  recordStatus(requestId: string, kind: StatusKind): void {
    this.facts.uncertain.delete(requestId);
    if (kind === "sealed") {
      this.facts.outcomes.set(requestId, "sealed");
      this.facts.gone.delete(requestId);
    } else if (kind !== "applied") {
      this.facts.gone.add(requestId);
    }
    if (kind === "sealed" || kind === "expired") this.facts.spent.add(requestId);
    if (kind === "sealed") this.recent.push(requestId, requestId, requestId);
    if (kind === "not_found") this.recent.push(requestId);
  }

  /** Returns the number of outcomes that are newer than this one, up to a time. */
  newerThan(requestId: string, untilMs: number): number {
    let count = 0;
    for (const other of this.facts.outcomes.keys()) {
      if (other > requestId && timeOfRequest(other) <= untilMs) count += 1;
    }
    return count;
  }

  /** Returns one of the last ids. */
  pick(random: Random): string | undefined {
    return this.recent[random.below(Math.max(1, this.recent.length))];
  }

  backUp(): void {
    this.backup = copyOf(this.facts);
  }

  /**
   * Continues from the backup. Every id up to `latestMs` that was executed or got a final response in the lost time line
   * must not be executed. The lost time line may have accepted later ids, under a clock that was wrong; of those, only the ones
   * in the backup are known to the new store. Outcomes below the horizon of the new store are dropped.
   */
  restore(latestMs: number, horizonMs: number): void {
    const lost = this.facts.spent;
    this.facts = copyOf(this.backup);
    for (const id of lost) if (timeOfRequest(id) <= latestMs) this.facts.spent.add(id);
    for (const id of this.facts.outcomes.keys()) if (timeOfRequest(id) < horizonMs) this.facts.gone.add(id);
    this.horizonMs = horizonMs;
    this.honest.clear();
  }

  /** Forgets the ids between a new horizon and the old one. They may be executed again. */
  giveUp(fromMs: number, toMs: number): void {
    const isGivenUp = (id: string): boolean => timeOfRequest(id) >= fromMs && timeOfRequest(id) < toMs;
    for (const facts of [this.facts, this.backup]) {
      for (const id of facts.spent) if (isGivenUp(id)) facts.spent.delete(id);
    }
    for (const id of this.facts.outcomes.keys()) if (isGivenUp(id)) this.facts.uncertain.add(id);
  }
}
