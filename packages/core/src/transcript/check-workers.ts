import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { type TranscriptRewriteCommit, internal, writeFailed } from "@bolthole/contract";
import type { DocumentBlock } from "../documents/document-memory";
import type { WorkerAnswer } from "./check-worker.js";
import type { TranscriptVerdict, TranscriptCheck } from "./check.js";

/** A check whose documents a worker has meanwhile. */
export interface LentCheck {
  readonly incoming: DocumentBlock;
  /** Absent: the document is only read. */
  readonly guard?:
    { readonly previous: DocumentBlock | undefined; readonly commit: TranscriptRewriteCommit | undefined } | undefined;
  readonly remembers: boolean;
}

type Ask = (check: LentCheck) => Promise<TranscriptVerdict>;

const PROGRAM = join(__dirname, "check-worker.js");

/** How many checks may wait for a worker. */
const MAX_WAITING = 256;

/** After this long without work a worker ends. */
const IDLE_MS = 10_000;

/** Of a worker's heap: what a check makes is little and lives long, and more room would only be filled. */
const YOUNG_MEBIBYTES = 4;

/**
 * Worker threads for checks that would hold the event loop. They start when they are needed, and an idle one does not keep
 * the process running.
 */
export class CheckWorkers {
  private readonly idle: Worker[] = [];
  private readonly waiting: (() => void)[] = [];
  private running = 0;
  private idleTimer: NodeJS.Timeout | undefined;

  constructor(private readonly size: number) {}

  /** `task` is called when a worker is free, so that waiting checks hold no copies. */
  async run(task: (ask: Ask) => Promise<TranscriptVerdict>): Promise<TranscriptVerdict> {
    await this.turn();
    try {
      return await task((check) => this.ask(check));
    } finally {
      this.running -= 1;
      this.waiting.shift()?.();
      this.endIdleLater();
    }
  }

  private async ask(check: LentCheck): Promise<TranscriptVerdict> {
    const worker = this.idle.pop() ?? this.start();
    worker.ref();
    const finding = await answerOf(worker, check);
    worker.unref();
    this.idle.push(worker);
    return finding;
  }

  private async turn(): Promise<void> {
    if (this.running >= this.size) {
      if (this.waiting.length >= MAX_WAITING) {
        throw writeFailed("BUSY", `${String(MAX_WAITING)} large session documents are waiting to be checked`);
      }
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    this.running += 1;
  }

  private start(): Worker {
    // A worker inherits nothing that the program does not need: no test runner's flags, no handed-down loaders.
    const worker = new Worker(PROGRAM, {
      execArgv: [],
      env: {},
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MEBIBYTES },
    });
    worker.on("error", () => undefined);
    worker.on("exit", () => {
      const place = this.idle.indexOf(worker);
      if (place >= 0) this.idle.splice(place, 1);
    });
    return worker;
  }

  private endIdleLater(): void {
    clearTimeout(this.idleTimer);
    this.idleTimer = setTimeout(() => {
      for (const worker of this.idle.splice(0)) void worker.terminate();
    }, IDLE_MS).unref();
  }
}

function answerOf(worker: Worker, { incoming, guard, remembers }: LentCheck): Promise<TranscriptVerdict> {
  const lent = guard?.previous ? [incoming, guard.previous] : [incoming];
  return new Promise<TranscriptVerdict>((resolve, reject) => {
    // One by one: the worker object hears its own messages through listeners that must stay.
    const settle = (): void => {
      worker.off("message", answered);
      worker.off("error", failed);
      worker.off("exit", failed);
    };
    const answered = ({ finding, memory }: WorkerAnswer): void => {
      settle();
      for (const [index, block] of lent.entries()) block.memory = memory[index] ?? block.memory;
      resolve(finding);
    };
    const failed = (cause: unknown): void => {
      settle();
      void worker.terminate();
      reject(internal("the check of a session document ended unexpectedly", cause));
    };
    worker.on("message", answered);
    worker.on("error", failed);
    worker.on("exit", failed);
    const check: TranscriptCheck = {
      incoming: incoming.bytes,
      guard: guard && { previous: guard.previous?.bytes, commit: guard.commit },
      remembers,
    };
    worker.postMessage(
      check,
      lent.map(({ memory }) => memory),
    );
  });
}
