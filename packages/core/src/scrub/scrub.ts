import { type Finding, type RuntimeId, StoreError } from "@bolthole/contract";
import { type Engine, ROW_SPACE_RECORD } from "../engine.js";
import { type Clock, Pace, SYSTEM_CLOCK } from "./pace.js";
import { scrubDocument, scrubRows, scrubStoreRows } from "./scrub-reads.js";

/** The results of one pass over a store. Times are milliseconds since the epoch. */
export interface PassReport {
  readonly startedAt: number;
  readonly endedAt?: number | undefined;
  /** The number of runtimes that were read to their end. */
  readonly runtimes: number;
  readonly bytes: number;
  /** The number of all findings. */
  readonly findingCount: number;
  /** The first findings. */
  readonly findings: readonly Finding[];
}

/** A pass that has not ended. */
export interface UnfinishedPass extends PassReport {
  runtimes: number;
  bytes: number;
  findingCount: number;
  readonly findings: Finding[];
  /** The last runtime that was read; undefined before the first one. */
  after?: RuntimeId | undefined;
}

/** The state of a scrub, from which it continues after a restart. */
export interface ScrubNote {
  /** The number of passes that have ended. */
  passes: number;
  current?: UnfinishedPass | undefined;
  last?: PassReport | undefined;
}

/** Stores the note of a scrub. When a note is lost, the pass begins again, and nothing else is lost. */
export interface ScrubMemory {
  load(): ScrubNote | undefined;
  save(note: ScrubNote): void;
}

export interface ScrubOptions {
  /** The most bytes that are read per second; more than 0. */
  readonly bytesPerSecond: number;
  /** The shortest time between the beginnings of two passes. */
  readonly intervalMs: number;
  readonly memory: ScrubMemory;
  /** Called for every finding, in each pass again. */
  readonly onFinding: (finding: Finding) => void;
  /** The runtimes that are known to be damaged. They are checked first after a start. */
  readonly checkFirst?: readonly RuntimeId[] | undefined;
  /** Called with the findings of a runtime when all its rows were read. */
  readonly onChecked?: ((runtimeId: RuntimeId, findings: readonly Finding[]) => void) | undefined;
  /** Called for an error that is not damage. The scrub continues. */
  readonly onFault: (error: unknown) => void;
  /** The system's clock unless set. */
  readonly clock?: Clock | undefined;
}

export interface ScrubStatus {
  /** Whether a pass is reading at present. */
  readonly isRunning: boolean;
  readonly bytesPerSecond: number;
  /** The number of passes that have ended. */
  readonly passes: number;
  readonly current?: PassReport | undefined;
  readonly last?: PassReport | undefined;
}

/** The most time of a pass that a crash can lose. */
const SAVE_INTERVAL_MS = 30_000;
/** The pause after an error that may be temporary. */
const RETRY_MS = 10_000;
const LEAST_INTERVAL_MS = 1000;
/** Limits each sleep, so that a clock that was set forward is noticed. */
const LONGEST_SLEEP_MS = 3_600_000;
const KEPT_FINDINGS = 20;

/**
 * Reads everything that an engine stores, runtime after runtime and pass after pass. It reads slowly and in short views, so that it
 * delays no other work. After a restart it continues where it was.
 */
export class Scrub {
  private readonly stopping = new AbortController();
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
    this.pace = new Pace(options.bytesPerSecond, this.clock, this.stopping.signal);
    this.note = options.memory.load() ?? { passes: 0 };
  }

  start(): void {
    this.ended = this.run();
  }

  /** Resolves when nothing is read any more. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.ended;
    this.save();
  }

  status(): ScrubStatus {
    const { passes, current, last } = this.note;
    return { isRunning: this.isRunning, bytesPerSecond: this.options.bytesPerSecond, passes, current, last };
  }

  private async run(): Promise<void> {
    let isRechecked = false;
    for (;;) {
      try {
        if (!isRechecked) await this.recheckKnownDamage();
        isRechecked = true;
        await this.untilDue();
        await this.pass();
      } catch (error) {
        if (this.stopping.signal.aborted || isShuttingDown(error)) break;
        this.options.onFault(error);
        await this.clock.sleep(RETRY_MS, this.stopping.signal);
      } finally {
        this.isRunning = false;
      }
    }
  }

  /** Reports damage that was found before a restart immediately, if it is still there. */
  private async recheckKnownDamage(): Promise<void> {
    const { checkFirst = [] } = this.options;
    const known = [...(this.note.current?.findings ?? []), ...(this.note.last?.findings ?? [])];
    const noted = known.flatMap(({ runtimeId }) => (runtimeId === undefined ? [] : [runtimeId]));
    for (const runtimeId of new Set([...checkFirst, ...noted])) {
      for (const finding of await this.scrubRuntime(runtimeId)) this.options.onFinding(finding);
    }
  }

  private async untilDue(): Promise<void> {
    const { current, last } = this.note;
    if (current || !last) return;
    const interval = Math.max(this.options.intervalMs, LEAST_INTERVAL_MS);
    // The clock may have been set back.
    const due = Math.min(last.startedAt, this.clock.now()) + interval;
    for (let left = due - this.clock.now(); left > 0; left = due - this.clock.now()) {
      await this.clock.sleep(Math.min(left, LONGEST_SLEEP_MS), this.stopping.signal);
      this.stopping.signal.throwIfAborted();
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
      this.record(pass, await this.scrubRuntime(next));
      pass.runtimes += 1;
      pass.after = next;
      if (this.clock.now() - this.savedAt >= SAVE_INTERVAL_MS) this.save();
    }
    this.record(pass, await this.attempt(undefined, () => scrubStoreRows(this.engine, this.pace)));
    const { startedAt, runtimes, bytes, findingCount, findings } = pass;
    this.note.last = { startedAt, endedAt: this.clock.now(), runtimes, bytes, findingCount, findings };
    this.note.current = undefined;
    this.note.passes += 1;
    this.save();
  }

  /** Returns the runtime after the last one. A list of runtimes that cannot be read any further ends the pass. */
  private async nextRuntime(pass: UnfinishedPass): Promise<RuntimeId | undefined> {
    let next: RuntimeId | undefined;
    const after = pass.after === undefined ? undefined : ({ table: "runtimeManifest", runtimeId: pass.after } as const);
    const findings = await this.attempt(undefined, async () => {
      const [entry] = await this.engine.view((view) => view.scan({ table: "runtimeManifest", after }, 1));
      next = entry?.key.runtimeId;
      return [];
    });
    this.record(pass, findings);
    return next;
  }

  private async scrubRuntime(runtimeId: RuntimeId): Promise<Finding[]> {
    const { engine, pace } = this;
    const rows = await this.attempt(runtimeId, () => scrubRows(engine, runtimeId, pace));
    if (rows) this.options.onChecked?.(runtimeId, rows);
    const document = await this.attempt(runtimeId, () => scrubDocument(engine, runtimeId, pace));
    return [...(rows ?? []), ...(document ?? [])];
  }

  /** Runs one read and returns its findings. An error that is not damage ends this read alone: then it returns undefined. */
  private async attempt(
    runtimeId: RuntimeId | undefined,
    read: () => Promise<Finding[]>,
  ): Promise<Finding[] | undefined> {
    for (;;) {
      try {
        return await read();
      } catch (error) {
        if (this.stopping.signal.aborted || isShuttingDown(error)) throw error;
        const reason = error instanceof StoreError ? error.reason : undefined;
        if (error instanceof StoreError && reason === "DAMAGED_RECORD") return [findingOf(error, runtimeId)];
        if (reason !== "BUSY") {
          this.options.onFault(error);
          return undefined;
        }
        await this.clock.sleep(RETRY_MS, this.stopping.signal);
      }
    }
  }

  private record(pass: UnfinishedPass, findings: readonly Finding[] = []): void {
    pass.bytes += this.pace.bytes;
    this.pace.bytes = 0;
    for (const finding of findings) {
      pass.findingCount += 1;
      if (pass.findings.length < KEPT_FINDINGS) pass.findings.push(finding);
      this.options.onFinding(finding);
    }
  }

  private save(): void {
    this.savedAt = this.clock.now();
    this.options.memory.save(this.note);
  }
}

const isShuttingDown = (error: unknown): boolean => error instanceof StoreError && error.reason === "SHUTTING_DOWN";

/** Returns the finding of damage that ended a read. An engine names the runtime of a document, but cannot name that of a page. */
const findingOf = ({ message, subject }: StoreError, runtimeId: RuntimeId | undefined): Finding => ({
  code: codeOf(subject),
  runtimeId,
  record: subject.record,
  text: message,
});

const codeOf = ({ runtimeId, record }: StoreError["subject"]): Finding["code"] => {
  if (runtimeId === undefined) return "pages-damaged";
  return record === ROW_SPACE_RECORD ? "row-space-damaged" : "document-damaged";
};
