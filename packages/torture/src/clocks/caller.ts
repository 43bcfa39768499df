import { setTimeout as sleep } from "node:timers/promises";
import { OutcomeUnknownError, StoreError, type StoredInputState, type VersionedStore } from "@bolthole/contract";
import { type StoredRecord, digestOf, freshId, inputRow, loadInputs } from "../load/records.js";
import type { Random } from "../random.js";
import type { Violations } from "../run.js";

/** The facts about clocks and horizons that decide what a caller may be told. */
export interface ClockWorld {
  /** The true time. No clock that the daemon sees need show it. */
  readonly trueMs: number;
  /** The time that the clock of the daemon's machine shows. */
  readonly machineMs: number;
  /** Whether a wrong clock, or a horizon that it left, explains the refusal of an id because of its time. */
  readonly isDisturbed: boolean;
  /** Grows whenever `isDisturbed` changes and whenever a long time passes at once. */
  readonly changes: number;
  /** Whether the outcome of an applied request must still be stored. */
  mustKeep(request: AppliedRequest): boolean;
  noteApplied(request: AppliedRequest): void;
  /** Counts an event for the report. */
  count(event: string): void;
}

export interface AppliedRequest {
  readonly id: string;
  /** The time in the id. */
  readonly timeMs: number;
  /** The true time of the response. */
  readonly appliedAtMs: number;
}

/** The way in which a caller makes the times of its ids. */
export interface CallerClock {
  readonly name: string;
  idTime(world: ClockWorld): number;
  /** Whether its ids must be accepted when the clock of the daemon is right. */
  readonly isHonest: boolean;
}

/** A request with everything that is known about it. */
interface Sent {
  readonly id: string;
  readonly timeMs: number;
  readonly row: StoredInputState;
  version?: string;
  appliedAtMs?: number;
  /** Whether it was refused for ever: it must never be executed. */
  isSpent: boolean;
}

const INPUTS = 3;
const REMEMBERED = 300;
const CALL_MS = 20_000;
const PAUSE_MS = 12;
const REFUSED_PAUSE_MS = 25;
/** A daemon that does not run, or a call that ended early, explains these. */
const EXPLAINED: readonly string[] = [
  "UNAVAILABLE",
  "CANCELLED",
  "DEADLINE_EXCEEDED",
  "BUSY",
  "SHUTTING_DOWN",
  "OUTCOME_UNKNOWN",
];

/**
 * A caller without the rule of docs/errors.md, as a client in another language: it makes the id of each request with a clock of its
 * own. It writes the rows of one runtime, one request at a time, sends late copies of earlier requests, seals ids, and compares every
 * response and every stored row with its history.
 */
export class Caller {
  /** The number of new requests that were applied. */
  written = 0;
  private readonly inputIds = Array.from({ length: INPUTS }, () => freshId());
  private history: Sent[] = [];
  private unsettled: Sent | undefined;
  private readonly stored = new Map<string, StoredRecord>();

  constructor(
    readonly clock: CallerClock,
    private readonly store: VersionedStore,
    private readonly world: ClockWorld,
    private readonly random: Random,
    private readonly violations: Violations,
  ) {}

  private get runtimeId(): string {
    return `clock ${this.clock.name}`;
  }

  /** Makes requests until it is halted. */
  async run(halt: AbortSignal): Promise<void> {
    while (!halt.aborted && this.violations.all.length === 0) {
      await this.step();
      await sleep(PAUSE_MS);
    }
  }

  /** Settles the request without a response and compares all rows. The daemon must run, and its clock must be right. */
  async settle(): Promise<void> {
    for (let attempt = 0; this.unsettled && attempt < 200; attempt += 1) await this.send(this.unsettled);
    if (this.unsettled) this.report("request outcome", `${this.unsettled.id} could not be settled`);
    await this.compareRows();
  }

  /** Forgets the requests for which an operator gave up every promise: those between a new horizon and the old one. */
  giveUp(fromMs: number, toMs: number): void {
    this.history = this.history.filter(({ timeMs }) => timeMs < fromMs || timeMs >= toMs);
  }

  private async step(): Promise<void> {
    if (this.unsettled) {
      await this.send(this.unsettled);
      return;
    }
    const kind = this.random.below(100);
    const old = this.history[this.random.below(Math.max(1, this.history.length))];
    if (kind < 60 || !old) return this.send(this.newRequest());
    if (kind < 88) return this.sendCopy(old);
    if (kind < 95) return this.seal();
    return this.compareRows();
  }

  private newRequest(): Sent {
    const id = this.newId();
    const inputId = this.inputIds[this.random.below(INPUTS)] ?? "";
    return { id, timeMs: timeOf(id), row: inputRow(this.random, inputId, id), isSpent: false };
  }

  private newId(): string {
    return withTime(freshId(), this.clock.idTime(this.world));
  }

  private persist({ id, row }: Sent): Promise<{ readonly version: string; readonly replayed: boolean }> {
    const call = { deadline: Date.now() + CALL_MS };
    return this.store.persistInputState({ runtimeId: this.runtimeId, state: row, requestId: id }, call);
  }

  /** Sends a new request, or one whose outcome is unknown. */
  private async send(sent: Sent): Promise<void> {
    const isNew = this.unsettled !== sent;
    const { changes, isDisturbed } = this.world;
    try {
      // A new request may be replayed: the client repeats one whose response was lost.
      const { version } = await this.persist(sent);
      this.applied(sent, version);
      if (isNew) this.written += 1;
    } catch (error) {
      const reason = this.reasonOf(error);
      if (reason === undefined) {
        this.unsettled = sent;
        return;
      }
      if ((reason === "expired" || reason === "ahead") && !isNew) {
        await this.settleRefused(sent, reason);
        return;
      }
      const isExplained = isDisturbed || this.world.isDisturbed || changes !== this.world.changes;
      if (isNew && this.clock.isHonest && !isExplained) {
        this.report("stays in service", `an id of a correct clock was refused: ${String(error)}`);
      }
      if (reason !== "ahead") this.remember({ ...sent, isSpent: true });
      this.world.count(`new ids refused as ${reason}`);
      await sleep(REFUSED_PAUSE_MS);
    }
  }

  /**
   * Finds out whether a request was applied whose repeat was refused because of its time: its row shows it, although its outcome may
   * have been deleted. A request that is ahead has no outcome, so it was not applied, and no copy of it is on the way any more.
   */
  private async settleRefused(sent: Sent, reason: "expired" | "ahead"): Promise<void> {
    const found = await this.load();
    const row = found?.get(sent.row.inputId);
    if (!found) return;
    if (row?.digest === digestOf(sent.row)) this.applied(sent, row.version);
    else this.unsettled = undefined;
    if (reason === "ahead") return;
    sent.isSpent = true;
    if (sent.version === undefined) this.remember(sent);
  }

  private applied(sent: Sent, version: string): void {
    const appliedAtMs = this.world.trueMs;
    Object.assign(sent, { version, appliedAtMs });
    this.unsettled = undefined;
    this.stored.set(sent.row.inputId, { digest: digestOf(sent.row), version });
    this.remember(sent);
    this.world.noteApplied({ id: sent.id, timeMs: sent.timeMs, appliedAtMs });
  }

  private remember(sent: Sent): void {
    this.history.push(sent);
    // The oldest ones are the ones whose outcomes are deleted first.
    if (this.history.length > REMEMBERED) this.history.splice(this.random.below(REMEMBERED), 1);
  }

  /** Sends a late copy of a request that has its final response. */
  private async sendCopy(sent: Sent): Promise<void> {
    const { id, version, appliedAtMs, timeMs, isSpent } = sent;
    try {
      const response = await this.persist(sent);
      if (!response.replayed) this.report("at most once", `${id} was executed again`);
      else if (isSpent && version === undefined) this.report("at most once", `${id} was applied after a final refusal`);
      else if (response.version === version) this.world.count("copies replayed");
      else this.report("request outcome", `${id}: expected ${String(version)}, found ${response.version}`);
    } catch (error) {
      const reason = this.reasonOf(error);
      if (reason === undefined) return;
      this.world.count("copies refused");
      if (isSpent || appliedAtMs === undefined) return;
      if (reason !== "expired")
        this.report("request outcome", `a copy of the applied ${id} was refused: ${String(error)}`);
      else if (this.world.mustKeep({ id, timeMs, appliedAtMs })) {
        this.report("request outcome", `the outcome of ${id} was deleted too early: ${String(error)}`);
      } else sent.isSpent = true;
    }
  }

  /** Seals the id of a request that is sent later. */
  private async seal(): Promise<void> {
    const sent = this.newRequest();
    try {
      const { state } = await this.store.getCommit(
        { requestId: sent.id, seal: true },
        { deadline: Date.now() + CALL_MS },
      );
      if (state === "sealed" || state === "expired") this.remember({ ...sent, isSpent: true });
      else this.report("request outcome", `the status of the sealed ${sent.id}: ${state}`);
    } catch (error) {
      this.reasonOf(error);
    }
  }

  private async load(): Promise<Map<string, StoredRecord> | undefined> {
    try {
      const rows = await loadInputs(this.store, this.runtimeId, { deadline: Date.now() + CALL_MS });
      return new Map(
        this.inputIds.flatMap((id) => {
          const row = rows.get(`input ${id}`);
          return row ? [[id, row] as const] : [];
        }),
      );
    } catch (error) {
      this.reasonOf(error);
      return undefined;
    }
  }

  private async compareRows(): Promise<void> {
    if (this.unsettled) return;
    const found = await this.load();
    if (!found) return;
    for (const id of this.inputIds) {
      const [expected, row] = [this.stored.get(id), found.get(id)];
      if (expected?.version === row?.version && expected?.digest === row?.digest) continue;
      const text = `${id}: expected version ${expected?.version ?? "none"}, found ${row?.version ?? "none"}`;
      this.report("acknowledged", text);
    }
  }

  /** Returns what a refusal says about an id; undefined when the fault explains the failure. Reports every other failure. */
  private reasonOf(error: unknown): "expired" | "ahead" | "sealed" | undefined {
    if (error instanceof OutcomeUnknownError) return undefined;
    if (!(error instanceof StoreError)) throw error;
    if (EXPLAINED.includes(error.reason)) return undefined;
    if (error.reason === "REQUEST_ID_EXPIRED") return "expired";
    if (error.reason === "REQUEST_ID_SEALED") return "sealed";
    if (error.reason === "INVALID_ARGUMENT" && error.subject.record === "request_id") return "ahead";
    this.report("correct responses", String(error));
    return undefined;
  }

  private report(promise: Parameters<Violations["add"]>[0], what: string): void {
    this.violations.add(promise, this.runtimeId, what);
  }
}

/** Returns the id with another time. */
export function withTime(id: string, timeMs: number): string {
  const time = Math.max(0, Math.floor(timeMs)).toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}${id.slice(13)}`;
}

const timeOf = (id: string): number => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
