import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "@bolthole/client";
import { DaemonProcess, type Ending } from "@bolthole/conformance/process";
import type { VersionedStore } from "@bolthole/contract";
import { type Counts, LedgerModel } from "./check/ledger-model.js";
import { StoreChecker } from "./check/store-checker.js";
import { DAEMON } from "./daemon.js";
import { ClientProcess, type Endpoint } from "./load/client-process.js";
import { Random } from "./random.js";
import {
  Counter,
  type Kind,
  type RunOptions,
  type RunReport,
  Violations,
  hasNextCycle,
  preloadEnvironment,
  secondsSince,
} from "./run.js";

const CLIENTS = 3;
const WRITERS = 8;
/** The size of the sessions of each client's first writer; the sessions of all other writers are small. */
const SESSIONS = ["large", "huge"] as const;
const POLL_MS = 20;
const CALL_MS = 30_000;
/** The outcome limit is low, so that outcomes are pruned under load as well. */
const ARGS = ["--outcome-max-count", "20000", "--log-level", "warn"];

/** The objects that a kind needs to inject its fault. */
export interface FaultContext {
  readonly daemon: DaemonProcess;
  readonly random: Random;
  readonly violations: Violations;
  /** Counts an event for the report. */
  readonly count: (event: string, times?: number) => void;
}

/** The daemon's surroundings in one run, and the way to break them. */
export interface Setup {
  /** The daemon's data folder; it need not exist. */
  readonly data: string;
  /** Variables of the daemon only. */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Further arguments of the daemon. */
  readonly args?: readonly string[];
  /** Returns the endpoints that clients use, one after the other. Without it they use the daemon's unix socket. */
  endpoints?(daemon: DaemonProcess, random: Random): Promise<readonly Endpoint[]>;
  /** Injects the fault while clients write. Returns how the daemon ended, or undefined when it still runs. */
  injectFault(context: FaultContext): Promise<Ending | undefined>;
  /** Removes the fault, so that the daemon can start and clients can settle their operations. */
  recover(): Promise<void>;
  /** Releases the resources of the setup. The data folder must stay when `isKept`. */
  dispose(isKept: boolean): Promise<void>;
}

/** A kind in which every cycle is a load of writes, one fault, and a check against the ledger. */
export interface FaultKind {
  readonly name: string;
  readonly description: string;
  /** Writes that must be acknowledged before each fault. */
  readonly acknowledgedBefore: number;
  /** The number of client processes; 3 unless set. */
  readonly clients?: number | undefined;
  /** The fault follows at a random time within this many milliseconds. */
  readonly withinMs: number;
  /** The exit codes and signals with which a daemon may end under the fault, besides SIGKILL. */
  readonly endings: readonly string[];
  /** Refusals that the fault explains, besides those of a daemon that does not run. */
  readonly allowedRefusals: readonly string[];
  readonly mountsDisk: boolean;
  prepare(folder: string): Promise<Setup>;
}

export const faultKind = (kind: FaultKind): Kind => ({
  name: kind.name,
  description: kind.description,
  mountsDisk: kind.mountsDisk,
  run: (options) => new FaultRun(kind, options).run(),
});

/** One run: the same store through all cycles, until the run ends or a promise is broken. */
class FaultRun {
  private readonly random: Random;
  private readonly violations = new Violations();
  private readonly model = new LedgerModel(this.violations);
  private readonly checker: StoreChecker;
  private readonly clients: ClientProcess[] = [];
  private readonly endings = new Counter();
  private readonly events = new Counter();
  private cycles = 0;
  private leastAcknowledged = Infinity;

  constructor(
    private readonly kind: FaultKind,
    private readonly options: RunOptions,
  ) {
    this.random = new Random(options.seed);
    this.checker = new StoreChecker(this.model, this.violations, this.random);
  }

  async run(): Promise<RunReport> {
    const { folder, preload } = this.options;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const startedAt = performance.now();
    const setup = await this.kind.prepare(folder);
    const env = { ...setup.env, ...preloadEnvironment(preload) };
    const args = [...ARGS, ...(setup.args ?? [])];
    const daemon = new DaemonProcess({ main: DAEMON, data: setup.data, args, env });
    let checkedAtEnd = 0;
    try {
      this.startClients();
      await daemon.start();
      while (hasNextCycle(this.options, this.cycles, this.violations)) await this.cycle(daemon, setup);
      if (this.violations.all.length === 0) {
        checkedAtEnd = await withStore(daemon, (store) => this.checker.checkRetired(store));
      }
    } finally {
      await Promise.all(this.clients.map((client) => client.end()));
      await daemon.stop("SIGKILL");
      writeFileSync(join(folder, "daemon.log"), daemon.output);
      await setup.dispose(this.violations.all.length > 0);
    }
    return this.report(secondsSince(startedAt), checkedAtEnd);
  }

  private startClients(): void {
    const { folder, seed } = this.options;
    const { clients = CLIENTS } = this.kind;
    for (let client = 0; client < clients; client += 1) {
      this.clients.push(
        new ClientProcess({
          name: `client ${String(client)}`,
          seed: seed * 100 + client,
          writers: WRITERS,
          sessions: SESSIONS[client] ?? "small",
          sharesOauth: true,
          ledger: join(folder, `ledger-${String(client)}.jsonl`),
          allowedRefusals: this.kind.allowedRefusals,
        }),
      );
    }
  }

  private async cycle(daemon: DaemonProcess, setup: Setup): Promise<void> {
    this.cycles += 1;
    const before = { ...this.model.counts };
    const endpoints = (await setup.endpoints?.(daemon, this.random)) ?? [{ target: daemon.target }];
    const loads = this.clients.map((client, index) =>
      client.run({ do: "load", endpoint: endpoints[index % endpoints.length] ?? { target: daemon.target } }),
    );
    // The loads are awaited below; without a handler a failure before that would end this process.
    for (const load of loads) load.catch(() => undefined);
    await this.untilAcknowledged(before.acknowledged, loads);
    await sleep(this.random.below(this.kind.withinMs));
    const ending = await setup.injectFault({
      daemon,
      random: this.random,
      violations: this.violations,
      count: (event, times = 1) => {
        this.events.add(event, times);
      },
    });
    const faultAt = performance.now();
    for (const client of this.clients) client.halt();
    this.noteEnding(ending);
    await setup.recover();
    try {
      if (ending) await daemon.start();
      await Promise.all(loads);
      this.readLedgers();
      const acknowledged = this.model.counts.acknowledged - before.acknowledged;
      this.leastAcknowledged = Math.min(this.leastAcknowledged, acknowledged);
      await withStore(daemon, (store) => this.check(store, daemon.target, ending !== undefined));
    } catch (error) {
      this.violations.add("restart", "", error instanceof Error ? error.message.slice(-2000) : String(error));
    }
    this.reportCycle(before, faultAt, ending);
  }

  private async check(store: VersionedStore, target: string, isRestarted: boolean): Promise<void> {
    // While the daemon still runs, an operation without a response may be in progress. The store can be compared only
    // after all of them are settled.
    if (isRestarted) await this.checker.afterRestart(store);
    const unsettled = isRestarted ? this.checker.unsettled() : this.checker.inUse();
    await Promise.all(this.clients.map((client) => client.run({ do: "settle", endpoint: { target } })));
    this.readLedgers();
    await this.checker.afterSettling(store, unsettled);
  }

  private async untilAcknowledged(before: number, loads: readonly Promise<void>[]): Promise<void> {
    const ended = Promise.race(loads).then(() => {
      throw new Error("a client ended its load before it was halted");
    });
    ended.catch(() => undefined);
    const wanted = before + this.kind.acknowledgedBefore;
    while (this.model.counts.acknowledged < wanted && this.violations.all.length === 0) {
      if (this.options.interrupted.aborted) return;
      await Promise.race([ended, sleep(POLL_MS)]);
      this.readLedgers();
    }
  }

  private readLedgers(): void {
    for (const client of this.clients) for (const line of client.ledger.read()) this.model.add(line);
  }

  private noteEnding(ending: Ending | undefined): void {
    const how = endingName(ending);
    this.endings.add(how);
    if (!ending || how === "SIGKILL" || this.kind.endings.includes(how)) return;
    this.violations.add("restart", "", `the daemon ended with ${how}, which the fault does not explain`);
  }

  private reportCycle(before: Counts, faultAt: number, ending: Ending | undefined): void {
    const { counts } = this.model;
    const since = (name: keyof Counts): number => counts[name] - before[name];
    const cycle = {
      cycle: this.cycles,
      ending: endingName(ending),
      acknowledged: since("acknowledged"),
      replayed: since("replayed"),
      reads: since("reads"),
      unanswered: since("unanswered"),
      foundApplied: since("foundApplied"),
      sealed: since("sealed"),
      appliedByRepeat: since("appliedByRepeat"),
      /** Milliseconds from the fault to the end of all checks. */
      checkedInMs: Math.round(performance.now() - faultAt),
      violations: this.violations.all.length,
    };
    this.options.onCycle(
      cycle,
      `cycle ${String(cycle.cycle)} (${cycle.ending}): ${String(cycle.acknowledged)} acknowledged, ` +
        `${String(cycle.unanswered)} without a response (${String(cycle.foundApplied)} applied, ` +
        `${String(cycle.sealed)} sealed, ${String(cycle.appliedByRepeat)} applied by a repeat), ` +
        `${String(cycle.reads)} reads, checked in ${String(cycle.checkedInMs)} ms, ${String(cycle.violations)} violations`,
    );
  }

  private report(seconds: number, checkedAtEnd: number): RunReport {
    const { counts, runtimes } = this.model;
    const least = Number.isFinite(this.leastAcknowledged) ? this.leastAcknowledged : 0;
    return {
      kind: this.kind.name,
      seed: this.options.seed,
      cycles: this.cycles,
      seconds,
      violations: this.violations.all,
      acknowledged: counts.acknowledged,
      unanswered: {
        count: counts.unanswered,
        applied: counts.foundApplied,
        sealed: counts.sealed,
        appliedByRepeat: counts.appliedByRepeat,
        notApplied: counts.unansweredNotApplied,
      },
      endings: this.endings.toObject(),
      events: { ...this.events.toObject(), "acknowledged writes in the smallest cycle": least },
      lines: [
        `daemon ended by: ${this.endings.toString()}`,
        `${String(counts.acknowledged)} acknowledged writes (at least ${String(least)} in a cycle), ` +
          `${String(counts.reads)} reads, ${String(runtimes.size - 1)} runtimes, ` +
          `${String(checkedAtEnd)} retired runtimes read completely at the end`,
        `${String(counts.repeats)} repeats of acknowledged requests, ${String(counts.replayed)} replayed responses to retries, ` +
          `${String(counts.refused)} refusals by fence tokens and versions`,
        `${String(counts.unanswered)} operations without a response: ${String(counts.foundApplied)} had been applied, ` +
          `${String(counts.sealed)} sealed, ${String(counts.appliedByRepeat)} applied by a repeat, ` +
          `${String(counts.unansweredNotApplied)} missed or were refused`,
        ...(this.events.size > 0 ? [this.events.toString()] : []),
      ],
    };
  }
}

const endingName = (ending: Ending | undefined): string => (ending ? String(ending.code ?? ending.signal) : "lives on");

async function withStore<T>(daemon: DaemonProcess, use: (store: VersionedStore) => Promise<T>): Promise<T> {
  const store = await connect(daemon.target, { timeoutMs: CALL_MS });
  try {
    return await use(store.versioned);
  } finally {
    await store.close();
  }
}
