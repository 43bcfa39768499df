import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { type TranscriptRewriteCommit, internal, writeFailed } from "@bolthole/contract";
import type { DocumentBlock } from "../documents/document-memory.js";
import type { OpsVerdict } from "../documents/ops-check.js";
import type { WorkerCheck, WorkerResult } from "./check-worker.js";
import type { FullCheck, TranscriptVerdict } from "./full-check.js";

/** A full check whose documents are in memory that can be transferred to a worker. */
export interface TransferableCheck {
  readonly incoming: DocumentBlock;
  /** The document to compare with. Without it, the document must only be a session. */
  readonly guard?:
    { readonly previous: DocumentBlock | undefined; readonly commit: TranscriptRewriteCommit | undefined } | undefined;
  readonly buildsIndex: boolean;
}

/** Runs checks on a worker. The memory of the documents belongs to the worker until the promise settles. */
export interface FreeWorker {
  checkSession(check: TransferableCheck): Promise<TranscriptVerdict>;
  /** Checks the JSON of an operation snapshot. */
  checkOps(document: DocumentBlock): Promise<OpsVerdict>;
}

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

  constructor(private readonly size = Math.min(2, Math.max(1, availableParallelism() - 1))) {}

  /**
   * Calls `task` when a worker is free, so that a waiting check holds no copies of its documents. Throws `BUSY` when too
   * many checks wait.
   */
  async run<Verdict>(task: (worker: FreeWorker) => Promise<Verdict>): Promise<Verdict> {
    await this.acquire();
    try {
      return await task({
        checkSession: ({ incoming, guard, buildsIndex }) => {
          const session: FullCheck = {
            incoming: incoming.bytes,
            guard: guard && { previous: guard.previous?.bytes, commit: guard.commit },
            buildsIndex,
          };
          const blocks = guard?.previous ? [incoming, guard.previous] : [incoming];
          return this.runCheck({ session }, blocks) as Promise<TranscriptVerdict>;
        },
        checkOps: (document) => this.runCheck({ ops: document.bytes }, [document]) as Promise<OpsVerdict>,
      });
    } finally {
      this.running -= 1;
      this.waiting.shift()?.();
      this.endIdleLater();
    }
  }

  private async runCheck(check: WorkerCheck, blocks: readonly DocumentBlock[]): Promise<WorkerResult["verdict"]> {
    const worker = this.idle.pop() ?? this.start();
    worker.ref();
    const verdict = await verdictOf(worker, check, blocks);
    worker.unref();
    this.idle.push(worker);
    return verdict;
  }

  private async acquire(): Promise<void> {
    if (this.running >= this.size) {
      if (this.waiting.length >= MAX_WAITING) {
        const text = `${MAX_WAITING} large documents already wait for a check; retry with the same request id`;
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

function verdictOf(
  worker: Worker,
  check: WorkerCheck,
  blocks: readonly DocumentBlock[],
): Promise<WorkerResult["verdict"]> {
  return new Promise((resolve, reject) => {
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
      reject(internal("the worker that checked a document ended before it returned a verdict", cause));
    };
    worker.on("message", succeed);
    worker.on("error", fail);
    worker.on("exit", fail);
    worker.postMessage(
      check,
      blocks.map(({ memory }) => memory),
    );
  });
}
