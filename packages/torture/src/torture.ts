import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "@bolthole/client";
import { DaemonProcess, type Ending } from "@bolthole/conformance/process";
import type { VersionedStore } from "@bolthole/contract";
import { Checker } from "./check/checker.js";
import { Findings } from "./check/findings.js";
import { Model } from "./check/model.js";
import { ClientProcess } from "./client-process.js";
import { DAEMON } from "./daemon-main.js";
import type { Kind, Site } from "./kinds/kind.js";
import { Random } from "./random.js";
import type { CycleReport, RunReport } from "./report.js";

const CLIENTS = 3;
const LANES = 8;
/** What the first lane of each client writes. */
const SESSIONS = ["large", "huge"] as const;
const POLL_MS = 20;
/** Small, so that outcomes are pruned under load as well. */
const ARGS = ["--outcome-max-count", "20000", "--log-level", "warn"];

export interface TortureOptions {
  readonly kind: Kind;
  readonly seed: number;
  readonly cycles: number;
  /** No cycle but the first begins after this instant. */
  readonly until: number;
  readonly folder: string;
  /** A script that is loaded into the daemon before anything else. */
  readonly preload?: string | undefined;
  readonly interrupted: AbortSignal;
  readonly onCycle: (cycle: CycleReport) => void;
}

/** One run: the same store through all cycles, until they are over or something is found. */
export class Torture {
  private readonly random: Random;
  private readonly findings = new Findings();
  private readonly model = new Model(this.findings);
  private readonly checker: Checker;
  private readonly clients: ClientProcess[] = [];
  private readonly endings: Record<string, number> = {};
  private readonly events: Record<string, number> = {};
  private cycles = 0;
  private leastAcknowledged = Infinity;

  constructor(private readonly options: TortureOptions) {
    this.random = new Random(options.seed);
    this.checker = new Checker(this.model, this.findings, this.random);
  }

  async run(): Promise<RunReport> {
    const { folder, kind, seed, preload } = this.options;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const startedAt = performance.now();
    const site = await kind.prepare(folder);
    const env = { ...site.env, ...(preload === undefined ? {} : { NODE_OPTIONS: `--require ${preload}` }) };
    const args = [...ARGS, ...(site.args ?? [])];
    const daemon = new DaemonProcess({ main: DAEMON, data: site.data, args, env });
    let lastLook = 0;
    try {
      for (let client = 0; client < CLIENTS; client += 1) {
        const ledger = join(folder, `ledger-${String(client)}.jsonl`);
        const name = `client ${String(client)}`;
        const sessions = SESSIONS[client] ?? "small";
        this.clients.push(
          new ClientProcess({
            name,
            seed: seed * 100 + client,
            lanes: LANES,
            sessions,
            sharesOauth: true,
            ledger,
            excuses: kind.excuses,
          }),
        );
      }
      await daemon.start();
      while (this.goesOn()) await this.cycle(daemon, site);
      if (this.findings.all.length === 0) {
        lastLook = await withStore(daemon, (store) => this.checker.lastLook(store));
      }
    } finally {
      await Promise.all(this.clients.map((client) => client.end()));
      await daemon.stop("SIGKILL");
      writeFileSync(join(folder, "daemon.log"), daemon.output);
      await site.dispose(this.findings.all.length > 0);
    }
    return {
      kind: kind.name,
      seed,
      cycles: this.cycles,
      seconds: Math.round((performance.now() - startedAt) / 1000),
      ...this.model.counts,
      leastAcknowledged: Number.isFinite(this.leastAcknowledged) ? this.leastAcknowledged : 0,
      runtimes: this.model.runtimes.size,
      lastLook,
      endings: this.endings,
      events: this.events,
      findings: this.findings.all,
    };
  }

  private goesOn(): boolean {
    const { cycles, until, interrupted } = this.options;
    const isInTime = this.cycles === 0 || Date.now() < until;
    return this.findings.all.length === 0 && this.cycles < cycles && isInTime && !interrupted.aborted;
  }

  private async cycle(daemon: DaemonProcess, site: Site): Promise<void> {
    this.cycles += 1;
    const before = { ...this.model.counts };
    const ways = (await site.ways?.(daemon, this.random)) ?? [{ target: daemon.target }];
    const loads = this.clients.map((client, index) =>
      client.carryOut({ do: "load", way: ways[index % ways.length] ?? { target: daemon.target } }),
    );
    // Whoever waits for them hears of a failure; until then nobody may be startled by it.
    for (const load of loads) load.catch(() => undefined);
    await this.untilAcknowledged(before.acknowledged, loads);
    await sleep(this.random.below(this.options.kind.withinMs));
    const ending = await site.strike({
      daemon,
      random: this.random,
      findings: this.findings,
      count: (what, times = 1) => {
        this.events[what] = (this.events[what] ?? 0) + times;
      },
    });
    const struckAt = performance.now();
    for (const client of this.clients) client.halt();
    this.noteEnding(ending);
    await site.recover();
    try {
      if (ending) await daemon.start();
      await Promise.all(loads);
      this.readLedgers();
      const acknowledged = this.model.counts.acknowledged - before.acknowledged;
      this.leastAcknowledged = Math.min(this.leastAcknowledged, acknowledged);
      await withStore(daemon, (store) => this.check(store, daemon.target, ending !== undefined));
    } catch (error) {
      this.findings.add("restart", "", error instanceof Error ? error.message.slice(-2000) : String(error));
    }
    this.report(before, struckAt, ending);
  }

  private async check(store: VersionedStore, target: string, isRestarted: boolean): Promise<void> {
    // As long as a daemon lives, what has no answer may still be under way: only when it is settled is there anything to compare.
    if (isRestarted) await this.checker.afterRestart(store);
    const unsettled = isRestarted ? this.checker.unsettled() : this.checker.inUse();
    await Promise.all(this.clients.map((client) => client.carryOut({ do: "resolve", way: { target } })));
    this.readLedgers();
    await this.checker.afterResolution(store, unsettled);
  }

  private async untilAcknowledged(before: number, loads: readonly Promise<void>[]): Promise<void> {
    const { acknowledgedBefore } = this.options.kind;
    const broken = Promise.race(loads).then(() => {
      throw new Error("a client ended before it was told to");
    });
    broken.catch(() => undefined);
    while (this.model.counts.acknowledged - before < acknowledgedBefore && this.findings.all.length === 0) {
      if (this.options.interrupted.aborted) return;
      await Promise.race([broken, sleep(POLL_MS)]);
      this.readLedgers();
    }
  }

  private readLedgers(): void {
    for (const client of this.clients) for (const line of client.ledger.read()) this.model.take(line);
  }

  private noteEnding(ending: Ending | undefined): void {
    const how = nameOf(ending);
    this.endings[how] = (this.endings[how] ?? 0) + 1;
    if (!ending || how === "SIGKILL" || this.options.kind.endings.includes(how)) return;
    this.findings.add("restart", "", `the daemon ended by itself with ${how}`);
  }

  private report(before: Model["counts"], struckAt: number, ending: Ending | undefined): void {
    const { counts } = this.model;
    const since = (name: keyof typeof counts): number => counts[name] - before[name];
    this.options.onCycle({
      cycle: this.cycles,
      ending: nameOf(ending),
      acknowledged: since("acknowledged"),
      replayed: since("replayed"),
      reads: since("reads"),
      lost: since("lost"),
      lostApplied: since("lostApplied"),
      lostSealed: since("lostSealed"),
      lostRepeated: since("lostRepeated"),
      checkedInMs: Math.round(performance.now() - struckAt),
      findings: this.findings.all.length,
    });
  }
}

const nameOf = (ending: Ending | undefined): string => (ending ? String(ending.code ?? ending.signal) : "lives on");

async function withStore<T>(daemon: DaemonProcess, use: (store: VersionedStore) => Promise<T>): Promise<T> {
  const store = await connect(daemon.target, { timeoutMs: 30_000 });
  try {
    return await use(store.versioned);
  } finally {
    await store.close();
  }
}
