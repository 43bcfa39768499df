import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { internal, writeFailed } from "@bolthole/contract";
import type { Finding, TranscriptCheck } from "./check.js";

/** A check whose bytes the worker takes over. */
export interface OwnedCheck {
  readonly check: TranscriptCheck;
  readonly owned: ArrayBuffer[];
}

const PROGRAM = join(__dirname, "check-worker.js");

/** How many checks may wait for a worker. */
const MAX_WAITING = 256;

/** After this long without work a worker ends. */
const IDLE_MS = 10_000;

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

  /** `prepare` is called when a worker is free, so that waiting checks hold no copies. */
  async run(prepare: () => Promise<OwnedCheck>): Promise<Finding> {
    await this.turn();
    try {
      const { check, owned } = await prepare();
      const worker = this.idle.pop() ?? this.start();
      worker.ref();
      const finding = await answerOf(worker, check, owned);
      worker.unref();
      this.idle.push(worker);
      return finding;
    } finally {
      this.running -= 1;
      this.waiting.shift()?.();
      this.endIdleLater();
    }
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
    const worker = new Worker(PROGRAM, { execArgv: [], env: {} });
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

function answerOf(worker: Worker, check: TranscriptCheck, owned: ArrayBuffer[]): Promise<Finding> {
  return new Promise<Finding>((resolve, reject) => {
    // One by one: the worker object hears its own messages through listeners that must stay.
    const settle = (): void => {
      worker.off("message", answered);
      worker.off("error", failed);
      worker.off("exit", failed);
    };
    const answered = (finding: Finding): void => {
      settle();
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
    worker.postMessage(check, owned);
  });
}
