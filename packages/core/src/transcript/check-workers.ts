import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { type TranscriptRewriteCommit, internal, writeFailed } from "@bolthole/contract";
import type { DocumentBlock } from "../documents/document-memory.js";
import type { WorkerResult } from "./check-worker.js";
import type { FullCheck, TranscriptVerdict } from "./full-check.js";

/** A full check whose documents are in memory that can be transferred to a worker. */
export interface TransferableCheck {
  readonly incoming: DocumentBlock;
  /** The document to compare with. Without it, the document must only be a session. */
  readonly guard?:
    { readonly previous: DocumentBlock | undefined; readonly commit: TranscriptRewriteCommit | undefined } | undefined;
  readonly buildsIndex: boolean;
}

/** Runs a check on a worker. The memory of the documents belongs to the worker until the promise settles. */
type RunCheck = (check: TransferableCheck) => Promise<TranscriptVerdict>;

const PROGRAM = join(__dirname, "check-worker.js");

/** The most checks that may wait for a worker. */
const MAX_WAITING = 256;

/** The time without work after which a worker ends. */
const IDLE_MS = 10_000;

/** A check allocates few objects, and they live as long as the check: a larger young generation would only be filled. */
const YOUNG_GENERATION_MIB = 4;

/**
 * Worker threads for checks that would block the event loop. A worker starts when it is needed. An idle worker does not
 * keep the process running.
 */
export class CheckWorkers {
  private readonly idle: Worker[] = [];
  private readonly waiting: (() => void)[] = [];
  private running = 0;
  private idleTimer: NodeJS.Timeout | undefined;

  constructor(private readonly size: number) {}

  /**
   * Calls `task` when a worker is free, so that a waiting check holds no copies of its documents. Throws `BUSY` when too
   * many checks wait.
   */
  async run(task: (runCheck: RunCheck) => Promise<TranscriptVerdict>): Promise<TranscriptVerdict> {
    await this.acquire();
    try {
      return await task((check) => this.runCheck(check));
    } finally {
      this.running -= 1;
      this.waiting.shift()?.();
      this.endIdleLater();
    }
  }

  private async runCheck(check: TransferableCheck): Promise<TranscriptVerdict> {
    const worker = this.idle.pop() ?? this.start();
    worker.ref();
    const verdict = await verdictOf(worker, check);
    worker.unref();
    this.idle.push(worker);
    return verdict;
  }

  private async acquire(): Promise<void> {
    if (this.running >= this.size) {
      if (this.waiting.length >= MAX_WAITING) {
        const text = `${MAX_WAITING} large session documents already wait for a check; retry with the same request id`;
        throw writeFailed("BUSY", text);
      }
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    this.running += 1;
  }

  private start(): Worker {
    // A worker must not inherit the flags of a test runner, or loaders that the process was started with.
    const worker = new Worker(PROGRAM, {
      execArgv: [],
      env: {},
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB },
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

function verdictOf(worker: Worker, { incoming, guard, buildsIndex }: TransferableCheck): Promise<TranscriptVerdict> {
  const blocks = guard?.previous ? [incoming, guard.previous] : [incoming];
  return new Promise<TranscriptVerdict>((resolve, reject) => {
    // The listeners are removed one by one: the worker object has internal listeners for the same events.
    const settle = (): void => {
      worker.off("message", succeed);
      worker.off("error", fail);
      worker.off("exit", fail);
    };
    const succeed = ({ verdict, memory }: WorkerResult): void => {
      settle();
      for (const [index, block] of blocks.entries()) block.memory = memory[index] ?? block.memory;
      resolve(verdict);
    };
    const fail = (cause: unknown): void => {
      settle();
      void worker.terminate();
      reject(internal("the worker that checked a session document ended before it returned a verdict", cause));
    };
    worker.on("message", succeed);
    worker.on("error", fail);
    worker.on("exit", fail);
    const check: FullCheck = {
      incoming: incoming.bytes,
      guard: guard && { previous: guard.previous?.bytes, commit: guard.commit },
      buildsIndex,
    };
    worker.postMessage(
      check,
      blocks.map(({ memory }) => memory),
    );
  });
}
