import { Worker } from "node:worker_threads";
import { type Fail, internal, writeFailed } from "@bolthole/contract";

/** Sends a job to a worker and returns its reply. The memory in `transfer` belongs to the worker until then. */
export type Exchange<Job, Reply> = (job: Job, transfer: readonly ArrayBuffer[]) => Promise<Reply>;

export interface WorkerPoolOptions {
  /** The path of the program that each worker runs: it sends one reply for each message. */
  readonly program: string;
  /** The most workers that run at the same time. */
  readonly size: number;
  /** The work in the texts of errors, such as "large session documents ... a check". */
  readonly waitingText: string;
  readonly endedText: string;
}

/** The most tasks that may wait for a worker. */
const MAX_WAITING = 256;

/** The time without work after which a worker ends. */
const IDLE_MS = 10_000;

/** A job allocates few objects, and they live as long as the job: a larger young generation would only be filled. */
const YOUNG_GENERATION_MIB = 4;

/**
 * Worker threads for work that would block the event loop. A worker starts when it is needed. An idle worker does not keep
 * the process running.
 */
export class WorkerPool<Job, Reply> {
  private readonly idle: Worker[] = [];
  private readonly waiting: (() => void)[] = [];
  private running = 0;
  private idleTimer: NodeJS.Timeout | undefined;

  constructor(private readonly options: WorkerPoolOptions) {}

  /**
   * Calls `task` when a worker is free, so that a waiting task holds no memory. Throws `BUSY` when too many tasks wait, as an
   * error of `fail`.
   */
  async run<T>(task: (exchange: Exchange<Job, Reply>) => Promise<T>, fail: Fail = writeFailed): Promise<T> {
    await this.acquire(fail);
    try {
      return await task((job, transfer) => this.exchange(job, transfer));
    } finally {
      this.release();
      this.endIdleLater();
    }
  }

  private async exchange(job: Job, transfer: readonly ArrayBuffer[]): Promise<Reply> {
    const worker = this.idle.pop() ?? this.start();
    worker.ref();
    const reply = await this.replyOf(worker, job, transfer);
    worker.unref();
    this.idle.push(worker);
    return reply;
  }

  private async acquire(fail: Fail): Promise<void> {
    if (this.running >= this.options.size) {
      if (this.waiting.length >= MAX_WAITING) {
        const text = `${MAX_WAITING} ${this.options.waitingText}; try again a little later`;
        throw fail("BUSY", text);
      }
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    } else {
      this.running += 1;
    }
  }

  /** Hands the worker over to the next waiting task, so that no other task can take it in between. */
  private release(): void {
    const next = this.waiting.shift();
    if (next) next();
    else this.running -= 1;
  }

  private start(): Worker {
    // A worker must not inherit the flags of a test runner, or loaders that the process was started with.
    const worker = new Worker(this.options.program, {
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

  private replyOf(worker: Worker, job: Job, transfer: readonly ArrayBuffer[]): Promise<Reply> {
    return new Promise<Reply>((resolve, reject) => {
      // The listeners are removed one by one: the worker object has internal listeners for the same events.
      const settle = (): void => {
        worker.off("message", succeed);
        worker.off("error", fail);
        worker.off("exit", fail);
      };
      const succeed = (reply: Reply): void => {
        settle();
        resolve(reply);
      };
      const fail = (cause: unknown): void => {
        settle();
        void worker.terminate();
        reject(internal(this.options.endedText, cause));
      };
      worker.on("message", succeed);
      worker.on("error", fail);
      worker.on("exit", fail);
      try {
        worker.postMessage(job, transfer);
      } catch (error) {
        // The job cannot be copied. The worker would keep the process running.
        fail(error);
      }
    });
  }

  private endIdleLater(): void {
    clearTimeout(this.idleTimer);
    this.idleTimer = setTimeout(() => {
      for (const worker of this.idle.splice(0)) void worker.terminate();
    }, IDLE_MS).unref();
  }
}
