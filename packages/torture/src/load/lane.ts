import { setTimeout as sleep } from "node:timers/promises";
import { OutcomeUnknownError, StoreError, type VersionedStore } from "@bolthole/contract";
import type { LedgerWriter } from "../ledger/ledger-writer.js";
import { type RecordKey, STORE } from "../ledger/lines.js";
import type { Random } from "../random.js";
import { loadRecord } from "./load-record.js";
import { makeOauthUpdate, makeOperation } from "./make-operation.js";
import type { Operation } from "./operation.js";
import { RuntimeState, type SessionSize } from "./runtime-state.js";

/** Failures that change nothing and that a daemon which is not there, or a call that ended early, explains. */
const HARMLESS: readonly string[] = ["UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "BUSY", "SHUTTING_DOWN"];

/** So soon a hasty caller gives up. Whether it does decides nothing about the verdict. */
const HASTY_MS = 250;
const PATIENT_MS = 60_000;
const REFUSED_PAUSE_MS = 20;
const RECENT = 6;
const RECEIPTS_OF_A_RUNTIME = 120;
const RESOLVE_ATTEMPTS = 1000;

/** One writer with one runtime after the other. It never has two operations of its runtime under way. */
export class Lane {
  state: RuntimeState;
  private generation = 0;
  /** Operations that took effect, to be repeated at a later time. */
  private recent: { readonly operation: Operation; readonly version: string }[] = [];
  private lost: Operation | undefined;
  private pauseMs = 0;
  private readonly sealing = new Set<string>();
  /** Something was answered that no fault excuses: nothing sensible can follow. */
  private isGivenUp = false;

  constructor(
    private readonly name: string,
    private readonly size: SessionSize,
    private readonly random: Random,
    private readonly ledger: LedgerWriter,
    private readonly excuses: readonly string[],
    private readonly sharesOauth: boolean,
  ) {
    this.state = this.nextState();
  }

  async load(store: VersionedStore, halt: AbortSignal): Promise<void> {
    while (!halt.aborted && !this.isGivenUp) {
      const { random } = this;
      if (random.oneIn(12)) await this.read(store);
      else if (random.oneIn(15)) await this.again(store);
      else if (this.sharesOauth && random.oneIn(25)) await this.updateOauth(store);
      else await this.perform(store, makeOperation(random, this.state));
      await this.rest();
      // What is unknown while the daemon lives is settled at once; after a fault it waits to be looked at first.
      await this.resolve(store, halt);
      if (this.state.receipts.length >= RECEIPTS_OF_A_RUNTIME && !this.lost) this.retire();
    }
  }

  /** Finds out what became of an operation without an answer: by repeating it, by asking, or by sealing it. */
  async resolve(store: VersionedStore, halt?: AbortSignal): Promise<void> {
    for (let attempt = 0; this.lost && !this.isGivenUp && halt?.aborted !== true; attempt += 1) {
      const operation = this.lost;
      if (attempt > RESOLVE_ATTEMPTS) {
        this.wrong(operation, `${operation.id} stays unknown after ${String(attempt)} attempts`);
        return;
      }
      try {
        if (await this.tryToResolve(store, operation)) this.lost = undefined;
      } catch (error) {
        this.judge(operation, error);
        await this.rest();
      }
    }
  }

  private async tryToResolve(store: VersionedStore, operation: Operation): Promise<boolean> {
    const { id } = operation;
    const call = { deadline: Date.now() + PATIENT_MS };
    const way = this.random.pick(["repeat", "seal", "ask"]);
    if (way !== "repeat") {
      const seal = way === "seal";
      if (seal) {
        this.sealing.add(id);
        this.ledger.append({ t: "sealing", id });
      }
      const status = await store.getCommit({ requestId: id, seal }, call);
      const version = status.state === "applied" ? status.version : undefined;
      this.ledger.append({ t: "status", id, state: status.state, version });
      if (version !== undefined) {
        this.adopt(operation, version);
        return true;
      }
      if (status.state === "pending") return false;
    }
    const answer = await operation.send(store, call);
    this.answered(operation, answer);
    return true;
  }

  private async perform(store: VersionedStore, operation: Operation): Promise<void> {
    const { id, runtime, method, effects, link } = operation;
    this.ledger.append({ t: "sent", id, runtime, method, effects, link });
    const isPatient = this.random.oneIn(4);
    const hurry = new AbortController();
    const cut = !isPatient && this.random.oneIn(15);
    const timer = cut
      ? setTimeout(() => {
          hurry.abort();
        }, this.random.below(4))
      : undefined;
    try {
      const deadline = Date.now() + (isPatient ? PATIENT_MS : HASTY_MS);
      this.answered(operation, await operation.send(store, { deadline, signal: hurry.signal }));
    } catch (error) {
      this.judge(operation, error);
      const isHarmless = error instanceof StoreError && error.applied === "no" && this.isExcused(error.reason);
      if (isHarmless) {
        this.ledger.append({ t: "not-applied", id, why: error.reason });
      } else if (!isRefusedAsMeant(operation, error)) {
        this.ledger.append({ t: "lost", id });
        this.lost = operation;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  private answered(operation: Operation, answer: { version: string; replayed: boolean } | undefined): void {
    const { id, misses } = operation;
    if (answer) {
      this.ledger.append({ t: "ack", id, version: answer.version, replayed: answer.replayed });
      if (misses === "always") this.wrong(operation, `${id} should have missed`);
      if (operation.refusedAs) this.wrong(operation, `${id} should have been refused as ${operation.refusedAs}`);
      this.adopt(operation, answer.version);
    } else {
      this.ledger.append({ t: "not-applied", id, why: "missed" });
      if (misses === "never") this.wrong(operation, `${id} (${operation.method}) missed, and nobody else writes there`);
    }
  }

  private adopt(operation: Operation, version: string): void {
    operation.adopt(version);
    this.recent.push({ operation, version });
    if (this.recent.length > RECENT) this.recent.shift();
  }

  /** Repeats something old: it must be known, and must not come back over what was written since. */
  private async again(store: VersionedStore): Promise<void> {
    const old = this.recent[this.random.below(this.recent.length)];
    if (!old) return;
    const { operation } = old;
    try {
      const answer = await operation.send(store, { deadline: Date.now() + HASTY_MS });
      if (answer) this.ledger.append({ t: "again", id: operation.id, ...pick(answer) });
      else this.wrong(operation, `a repeat of ${operation.id} missed, although the first call was applied`);
    } catch (error) {
      this.judge(operation, error);
    }
  }

  private async read(store: VersionedStore): Promise<void> {
    const { state, random } = this;
    const receipt = state.receipts[random.below(state.receipts.length)];
    const input = state.inputIds[random.below(state.inputIds.length)];
    const keys: [RecordKey, ...RecordKey[]] = ["snapshot", "lifecycle", "ops"];
    if (input !== undefined) keys.push(`input ${input}`);
    if (receipt) keys.push(`receipt ${receipt.runId} ${receipt.sequence.toString()}`);
    const key = random.pick(keys);
    try {
      const seen = await loadRecord(store, state.runtimeId, key, { deadline: Date.now() + HASTY_MS });
      const { digest = null, version = null } = seen ?? {};
      this.ledger.append({ t: "read", runtime: state.runtimeId, key, digest, version, settled: true });
    } catch (error) {
      this.judge({ runtime: state.runtimeId, method: `a read of ${key}` }, error);
    }
  }

  private async updateOauth(store: VersionedStore): Promise<void> {
    let current: { link: number; version: string } | undefined;
    try {
      const loaded = await store.loadAuthOauthFlowSnapshot({}, { deadline: Date.now() + HASTY_MS });
      if (loaded) {
        const { link } = JSON.parse(Buffer.from(loaded.value).toString()) as { link: number };
        current = { link, version: loaded.version };
      }
    } catch (error) {
      this.judge({ runtime: STORE, method: "a read of the OAuth value" }, error);
      return;
    }
    await this.perform(store, makeOauthUpdate(current));
  }

  /** Notes what no fault excuses. */
  private judge(
    operation: Pick<Operation, "runtime" | "method" | "refusedAs"> & { readonly id?: string },
    error: unknown,
  ): void {
    if (error instanceof OutcomeUnknownError) return;
    if (!(error instanceof StoreError)) throw error;
    const { reason } = error;
    if (this.excuses.includes(reason)) this.pauseMs = REFUSED_PAUSE_MS;
    if (this.isExcused(reason) || reason === "OUTCOME_UNKNOWN") return;
    const { id } = operation;
    if (id !== undefined && isRefusedAsMeant(operation, error)) {
      this.ledger.append({ t: "not-applied", id, why: reason });
      if (this.lost?.id === id) this.lost = undefined;
      return;
    }
    if (reason === "REQUEST_ID_SEALED" && id !== undefined && this.sealing.has(id)) {
      this.ledger.append({ t: "sealed", id });
      if (this.lost?.id === id) this.lost = undefined;
      return;
    }
    this.wrong(operation, `${operation.method}${id === undefined ? "" : ` ${id}`}: ${reason}: ${error.message}`);
  }

  private isExcused(reason: string): boolean {
    return HARMLESS.includes(reason) || this.excuses.includes(reason);
  }

  /** After a refusal that will be the same for a while. */
  private async rest(): Promise<void> {
    if (this.pauseMs > 0) await sleep(this.pauseMs);
    this.pauseMs = 0;
  }

  private wrong({ runtime }: Pick<Operation, "runtime">, what: string): void {
    this.ledger.append({ t: "wrong", runtime, what });
    this.isGivenUp = true;
  }

  private retire(): void {
    this.ledger.append({ t: "retired", runtime: this.state.runtimeId });
    this.recent = [];
    this.state = this.nextState();
  }

  private nextState(): RuntimeState {
    this.generation += 1;
    return new RuntimeState(`${this.name} ${String(this.generation)}`, this.size, this.random);
  }
}

const isRefusedAsMeant = ({ refusedAs }: Pick<Operation, "refusedAs">, error: unknown): boolean =>
  refusedAs !== undefined && error instanceof StoreError && error.reason === refusedAs;

const pick = ({
  version,
  replayed,
}: {
  version: string;
  replayed: boolean;
}): { version: string; replayed: boolean } => ({
  version,
  replayed,
});
