import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import { HealthProbe } from "../daemon.js";

/** What a healthy client saw in one part of a run. */
export interface Observation {
  readonly writes: number;
  /** The 99th percentile of the time of a write, in milliseconds. */
  readonly p99: number;
  /** The writes that failed, each with its message. */
  readonly failures: readonly string[];
  /** The health checks and status calls without a response in time. */
  readonly unanswered: readonly string[];
}

const WRITERS = 4;
const PAUSE_MS = 5;
const PROBE_INTERVAL_MS = 250;
/** The attacker takes the processor, too, so that this allows for a busy machine. */
const PROBE_MS = 10_000;

/** A healthy client: it writes small records, and asks for the health and the status of the daemon. */
export class Witness {
  private readonly times: number[] = [];
  /** When each write that runs was started. */
  private readonly running = new Set<{ readonly startedAt: number }>();
  private failures: string[] = [];
  private unanswered: string[] = [];
  private isEnding = false;
  private readonly work: Promise<unknown>;

  private constructor(
    private readonly store: BoltholeStore,
    private readonly targets: readonly string[],
    private readonly askStatus: () => Promise<unknown>,
  ) {
    const writers = Array.from({ length: WRITERS }, (_, number) =>
      this.write(`(unledgered) witness ${String(number)}`),
    );
    this.work = Promise.all([...writers, this.probe()]);
  }

  /** Writes at the first of the targets, and asks for the health at each of them. */
  static async start(targets: readonly string[], askStatus: () => Promise<unknown>): Promise<Witness> {
    return new Witness(await connect(targets[0] ?? "", { timeoutMs: 60_000 }), targets, askStatus);
  }

  /** Returns what was seen since the last call. */
  observe(): Observation {
    const now = performance.now();
    const completed = this.times.splice(0);
    // A write that has no response yet counts with its time so far.
    const times = [...completed, ...[...this.running].map(({ startedAt }) => now - startedAt)].sort((a, b) => a - b);
    const seen = {
      writes: completed.length,
      p99: times[Math.floor(times.length * 0.99)] ?? Infinity,
      failures: this.failures,
      unanswered: this.unanswered,
    };
    this.failures = [];
    this.unanswered = [];
    return seen;
  }

  async end(): Promise<void> {
    this.isEnding = true;
    await this.work;
    await this.store.close();
  }

  private async write(runtime: string): Promise<void> {
    while (!this.isEnding) {
      const startedAt = performance.now();
      const write = { startedAt };
      this.running.add(write);
      try {
        await this.store.commitMachineLifecycle(runtime, { runtimeState: "idle", binding: {} }, []);
        this.times.push(performance.now() - startedAt);
      } catch (error) {
        this.failures.push(String(error));
      } finally {
        this.running.delete(write);
      }
      await sleep(PAUSE_MS);
    }
  }

  private async probe(): Promise<void> {
    while (!this.isEnding) {
      for (const target of this.targets) {
        // A new connection each time: an attack may leave no place for one.
        const health = new HealthProbe(target, PROBE_MS);
        if (!(await health.isServing())) this.unanswered.push(`health at ${target}`);
        health.close();
      }
      const late = sleep(PROBE_MS, "late");
      const answer = await Promise.race([this.askStatus().then(() => "answered", String), late]);
      if (answer !== "answered") this.unanswered.push(`status: ${answer}`);
      await sleep(PROBE_INTERVAL_MS);
    }
  }
}
