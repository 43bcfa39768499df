import { setTimeout as sleep } from "node:timers/promises";
import { OutcomeUnknownError, StoreError, type VersionedStore } from "@bolthole/contract";
import { type LedgerWriter, type RecordKey, STORE } from "../ledger.js";
import type { Random } from "../random.js";
import { type Acknowledgement, type Operation, RuntimeState, type SessionSize } from "./operation.js";
import { makeOauthUpdate, makeOperation } from "./operations.js";
import { type StoredRecord, loadInputs, loadRecord } from "./records.js";

/** Failures that change nothing. A daemon that does not run, or a call that ended early, explains them. */
const EXPLAINED: readonly string[] = ["UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "BUSY", "SHUTTING_DOWN"];

/** The short deadline of most calls. A deadline that passes is not a violation. */
const HASTY_MS = 250;
const PATIENT_MS = 60_000;
const REFUSED_PAUSE_MS = 20;
const RECENT = 6;
const RECEIPTS_OF_A_RUNTIME = 120;
const SETTLE_ATTEMPTS = 1000;

/** Writes one runtime after another. It never has two operations of its runtime in progress. */
export class RuntimeWriter {
  state: RuntimeState;
  private generation = 0;
  /** Applied operations that may be repeated later. */
  private recent: { readonly operation: Operation; readonly version: string }[] = [];
  /** The operation that got no response and is not settled yet. */
  private unanswered: Operation | undefined;
  private pauseMs = 0;
  private readonly sealing = new Set<string>();
  /** Whether a response came that no fault explains. The writer then stops, because its state may be wrong. */
  private hasFailed = false;

  constructor(
    private readonly name: string,
    private readonly size: SessionSize,
    private readonly random: Random,
    private readonly ledger: LedgerWriter,
    private readonly allowedRefusals: readonly string[],
    private readonly sharesOauth: boolean,
  ) {
    this.state = this.nextState();
  }

  /** Writes and reads until it is halted. */
  async load(store: VersionedStore, halt: AbortSignal): Promise<void> {
    while (!halt.aborted && !this.hasFailed) {
      const { random } = this;
      if (random.oneIn(12)) await this.read(store);
      else if (random.oneIn(15)) await this.repeat(store);
      else if (this.sharesOauth && random.oneIn(25)) await this.updateOauth(store);
      else await this.perform(store, makeOperation(random, this.state));
      await this.pause();
      // During a load an unknown outcome is settled immediately. After a fault it waits, so that the store can be checked first.
      await this.settle(store, halt);
      if (this.state.receipts.length >= RECEIPTS_OF_A_RUNTIME && !this.unanswered) this.retire();
    }
  }

  /** Settles the operation without a response: repeats it, asks for its outcome, or seals its request id. */
  async settle(store: VersionedStore, halt?: AbortSignal): Promise<void> {
    for (let attempt = 0; this.unanswered && !this.hasFailed && halt?.aborted !== true; attempt += 1) {
      const operation = this.unanswered;
      if (attempt > SETTLE_ATTEMPTS) {
        this.wrong(operation, `${operation.id} is still unknown after ${String(attempt)} attempts`);
        return;
      }
      try {
        if (await this.trySettling(store, operation)) this.unanswered = undefined;
      } catch (error) {
        this.judge(operation, error);
        await this.pause();
      }
    }
  }

  private async trySettling(store: VersionedStore, operation: Operation): Promise<boolean> {
    const { id } = operation;
    const call = { deadline: Date.now() + PATIENT_MS };
    const action = this.random.pick(["repeat", "seal", "ask"]);
    if (action !== "repeat") {
      const seal = action === "seal";
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
    const response = await operation.send(store, call);
    this.noteResponse(operation, response);
    return true;
  }

  private async perform(store: VersionedStore, operation: Operation): Promise<void> {
    const { id, runtime, method, effects, link } = operation;
    this.ledger.append({ t: "sent", id, runtime, method, effects, link });
    const isPatient = this.random.oneIn(4);
    const abort = new AbortController();
    const cut = !isPatient && this.random.oneIn(15);
    const timer = cut
      ? setTimeout(() => {
          abort.abort();
        }, this.random.below(4))
      : undefined;
    try {
      const deadline = Date.now() + (isPatient ? PATIENT_MS : HASTY_MS);
      this.noteResponse(operation, await operation.send(store, { deadline, signal: abort.signal }));
    } catch (error) {
      this.judge(operation, error);
      const isNotApplied = error instanceof StoreError && error.applied === "no" && this.isAllowed(error.reason);
      if (isNotApplied) {
        this.ledger.append({ t: "not-applied", id, why: error.reason });
      } else if (!isExpectedRefusal(operation, error)) {
        this.ledger.append({ t: "lost", id });
        this.unanswered = operation;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  private noteResponse(operation: Operation, response: Acknowledgement | undefined): void {
    const { id, misses } = operation;
    if (response) {
      this.ledger.append({ t: "ack", id, version: response.version, replayed: response.replayed });
      if (response.wrong !== undefined) this.wrong(operation, response.wrong);
      if (misses === "always")
        this.wrong(operation, `${id} was applied, but its compare-and-set expected a state that never existed`);
      if (operation.refusedAs)
        this.wrong(operation, `${id}: expected the refusal ${operation.refusedAs}, found that it was applied`);
      this.adopt(operation, response.version);
    } else {
      this.ledger.append({ t: "not-applied", id, why: "missed" });
      if (misses === "never")
        this.wrong(operation, `${id} (${operation.method}) missed, but no other client writes this runtime`);
    }
  }

  private adopt(operation: Operation, version: string): void {
    operation.adopt(version);
    this.recent.push({ operation, version });
    if (this.recent.length > RECENT) this.recent.shift();
  }

  /** Repeats an earlier operation. The response must be replayed, and newer writes must stay. */
  private async repeat(store: VersionedStore): Promise<void> {
    const old = this.recent[this.random.below(this.recent.length)];
    if (!old) return;
    const { operation } = old;
    try {
      const response = await operation.send(store, { deadline: Date.now() + HASTY_MS });
      if (response) this.ledger.append({ t: "repeat", id: operation.id, ...pick(response) });
      if (response?.wrong !== undefined) this.wrong(operation, response.wrong);
      if (!response) this.wrong(operation, `a repeat of ${operation.id} missed, although the first call was applied`);
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

  /** Appends a failed operation to the ledger: as refused, as sealed, or as wrong when no fault explains the failure. */
  private judge(
    operation: Pick<Operation, "runtime" | "method" | "refusedAs"> & { readonly id?: string },
    error: unknown,
  ): void {
    if (error instanceof OutcomeUnknownError) return;
    if (!(error instanceof StoreError)) throw error;
    const { reason } = error;
    if (this.allowedRefusals.includes(reason)) this.pauseMs = REFUSED_PAUSE_MS;
    if (this.isAllowed(reason) || reason === "OUTCOME_UNKNOWN") return;
    const { id } = operation;
    if (id !== undefined && isExpectedRefusal(operation, error)) {
      this.ledger.append({ t: "not-applied", id, why: reason });
      if (this.unanswered?.id === id) this.unanswered = undefined;
      return;
    }
    if (reason === "REQUEST_ID_SEALED" && id !== undefined && this.sealing.has(id)) {
      this.ledger.append({ t: "sealed", id });
      if (this.unanswered?.id === id) this.unanswered = undefined;
      return;
    }
    this.wrong(operation, `${operation.method}${id === undefined ? "" : ` ${id}`}: ${reason}: ${error.message}`);
  }

  private isAllowed(reason: string): boolean {
    return EXPLAINED.includes(reason) || this.allowedRefusals.includes(reason);
  }

  /** Waits after a refusal that the next operations would get as well. */
  private async pause(): Promise<void> {
    if (this.pauseMs > 0) await sleep(this.pauseMs);
    this.pauseMs = 0;
  }

  private wrong({ runtime }: Pick<Operation, "runtime">, what: string): void {
    this.ledger.append({ t: "wrong", runtime, what });
    this.hasFailed = true;
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

const isExpectedRefusal = ({ refusedAs }: Pick<Operation, "refusedAs">, error: unknown): boolean =>
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

/** Reads runtimes while they are written. Every state that it reads must turn out to be durable. */
export async function readDuringWrites(
  store: VersionedStore,
  runtimes: () => string,
  random: Random,
  ledger: LedgerWriter,
  halt: AbortSignal,
): Promise<void> {
  const noted = new Set<string>();
  while (!halt.aborted) {
    const runtime = runtimes();
    const call = { deadline: Date.now() + HASTY_MS };
    const note = (key: RecordKey, seen: StoredRecord | undefined): void => {
      if (!seen || noted.has(`${runtime} ${key} ${seen.version}`)) return;
      noted.add(`${runtime} ${key} ${seen.version}`);
      ledger.append({ t: "read", runtime, key, digest: seen.digest, version: seen.version, settled: false });
    };
    try {
      const key = random.pick(["snapshot", "lifecycle", "ops", "inputs", "inputs"]);
      if (key === "inputs") for (const [id, row] of await loadInputs(store, runtime, call)) note(id, row);
      else note(key, await loadRecord(store, runtime, key, call));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (!EXPLAINED.includes(error.reason)) {
        ledger.append({ t: "wrong", runtime, what: `a read: ${error.reason}: ${error.message}` });
      }
      await sleep(5);
    }
    await sleep(1 + random.below(4));
  }
}
