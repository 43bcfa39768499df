import { type Finding, type RuntimeId, StoreError } from "@bolthole/contract";
import type { Engine } from "../engine.js";
import { type Clock, Pace, SYSTEM_CLOCK } from "./pace.js";
import { scrubDocument } from "./runtime-document.js";
import { scrubRows } from "./runtime-rows.js";
import { type PassReport, type ScrubMemory, type ScrubNote, type UnfinishedPass, noteFinding } from "./scrub-note.js";
import { scrubStoreRows } from "./store-rows.js";

export interface ScrubOptions {
  /** More than 0. */
  readonly bytesPerSecond: number;
  /** A pass begins so long after the last one began, at the earliest. */
  readonly intervalMs: number;
  readonly memory: ScrubMemory;
  /** Called for everything that is found, in each pass anew. */
  readonly onFinding: (finding: Finding) => void;
  /** Called when something went wrong that is no damage; the scrub goes on. */
  readonly onFault: (error: unknown) => void;
  readonly clock?: Clock | undefined;
}

export interface ScrubStatus {
  readonly isRunning: boolean;
  readonly bytesPerSecond: number;
  /** That came to their end. */
  readonly passes: number;
  readonly current?: PassReport | undefined;
  readonly last?: PassReport | undefined;
}

/** A crash loses no more of a pass than this. */
const SAVE_MS = 30_000;
/** After something that may be over soon. */
const RETRY_MS = 10_000;
const LEAST_INTERVAL_MS = 1000;
/** A clock that is put forward is noticed. */
const LONGEST_SLEEP_MS = 3_600_000;

/**
 * Reads everything that an engine holds, runtime after runtime, again and again: slowly, in short looks, and beside all other
 * work. It goes on where it was after a restart.
 */
export class Scrub {
  private readonly over = new AbortController();
  private readonly pace: Pace;
  private readonly clock: Clock;
  private readonly note: ScrubNote;
  private isRunning = false;
  private savedAt = 0;
  private ended = Promise.resolve();

  constructor(
    private readonly engine: Engine,
    private readonly options: ScrubOptions,
  ) {
    this.clock = options.clock ?? SYSTEM_CLOCK;
    this.pace = new Pace(options.bytesPerSecond, this.clock, this.over.signal);
    this.note = options.memory.load() ?? { passes: 0 };
  }

  start(): void {
    this.ended = this.run();
  }

  /** Resolves when nothing is being read any more. */
  async stop(): Promise<void> {
    this.over.abort();
    await this.ended;
    this.save();
  }

  status(): ScrubStatus {
    const { passes, current, last } = this.note;
    return { isRunning: this.isRunning, bytesPerSecond: this.options.bytesPerSecond, passes, current, last };
  }

  private async run(): Promise<void> {
    let isKnown = false;
    for (;;) {
      try {
        if (!isKnown) await this.lookAgain();
        isKnown = true;
        await this.untilDue();
        await this.pass();
      } catch (error) {
        if (this.over.signal.aborted || isStopping(error)) break;
        this.options.onFault(error);
        await this.clock.sleep(RETRY_MS, this.over.signal);
      } finally {
        this.isRunning = false;
      }
    }
  }

  /** What was known to be damaged before a restart is told at once, if it still is. */
  private async lookAgain(): Promise<void> {
    const known = [...(this.note.current?.findings ?? []), ...(this.note.last?.findings ?? [])];
    const runtimes = new Set(known.flatMap(({ runtimeId }) => (runtimeId === undefined ? [] : [runtimeId])));
    for (const runtimeId of runtimes) {
      for (const finding of await this.runtime(runtimeId)) this.options.onFinding(finding);
    }
  }

  private async untilDue(): Promise<void> {
    const { current, last } = this.note;
    if (current || !last) return;
    const interval = Math.max(this.options.intervalMs, LEAST_INTERVAL_MS);
    // The clock may have been put back.
    const due = Math.min(last.startedAt, this.clock.now()) + interval;
    for (let left = due - this.clock.now(); left > 0; left = due - this.clock.now()) {
      await this.clock.sleep(Math.min(left, LONGEST_SLEEP_MS), this.over.signal);
      this.over.signal.throwIfAborted();
    }
  }

  private async pass(): Promise<void> {
    const pass = (this.note.current ??= {
      startedAt: this.clock.now(),
      runtimes: 0,
      bytes: 0,
      findingCount: 0,
      findings: [],
    });
    this.isRunning = true;
    this.pace.bytes = 0;
    this.save();
    for (;;) {
      const next = await this.nextRuntime(pass);
      if (next === undefined) break;
      this.take(pass, await this.runtime(next));
      pass.runtimes += 1;
      pass.after = next;
      if (this.clock.now() - this.savedAt >= SAVE_MS) this.save();
    }
    this.take(pass, await this.attempt(undefined, () => scrubStoreRows(this.engine, this.pace)));
    const { startedAt, runtimes, bytes, findingCount, findings } = pass;
    this.note.last = { startedAt, endedAt: this.clock.now(), runtimes, bytes, findingCount, findings };
    this.note.current = undefined;
    this.note.passes += 1;
    this.save();
  }

  /** A list of runtimes that cannot be read any further ends the pass. */
  private async nextRuntime(pass: UnfinishedPass): Promise<RuntimeId | undefined> {
    let next: RuntimeId | undefined;
    const after = pass.after === undefined ? undefined : ({ table: "runtimeManifest", runtimeId: pass.after } as const);
    const findings = await this.attempt(undefined, async () => {
      const [head] = await this.engine.view((view) => view.scan({ table: "runtimeManifest", after }, 1));
      next = head?.key.runtimeId;
      return [];
    });
    this.take(pass, findings);
    return next;
  }

  private async runtime(runtimeId: RuntimeId): Promise<Finding[]> {
    const { engine, pace } = this;
    return [
      ...(await this.attempt(runtimeId, () => scrubRows(engine, runtimeId, pace))),
      ...(await this.attempt(runtimeId, () => scrubDocument(engine, runtimeId, pace))),
    ];
  }

  /** One reading, and what it found. What is no damage concerns this reading alone. */
  private async attempt(runtimeId: RuntimeId | undefined, read: () => Promise<Finding[]>): Promise<Finding[]> {
    for (;;) {
      try {
        return await read();
      } catch (error) {
        if (this.over.signal.aborted || isStopping(error)) throw error;
        const reason = error instanceof StoreError ? error.reason : undefined;
        if (error instanceof StoreError && reason === "DAMAGED_RECORD") return [metDamage(error, runtimeId)];
        if (reason !== "BUSY") {
          this.options.onFault(error);
          return [];
        }
        await this.clock.sleep(RETRY_MS, this.over.signal);
      }
    }
  }

  private take(pass: UnfinishedPass, findings: readonly Finding[]): void {
    pass.bytes += this.pace.bytes;
    this.pace.bytes = 0;
    for (const finding of findings) {
      noteFinding(pass, finding);
      this.options.onFinding(finding);
    }
  }

  private save(): void {
    this.savedAt = this.clock.now();
    this.options.memory.save(this.note);
  }
}

const isStopping = (error: unknown): boolean => error instanceof StoreError && error.reason === "SHUTTING_DOWN";

/** An engine names the runtime of a document that it cannot read; of its own pages it cannot say whose they are. */
const metDamage = ({ message, subject }: StoreError, runtimeId: RuntimeId | undefined): Finding => ({
  code: subject.runtimeId === undefined ? "pages-damaged" : "document-damaged",
  runtimeId,
  record: subject.record,
  text: message,
});
