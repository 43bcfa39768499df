import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import { DaemonProcess } from "@bolthole/conformance/process";
import { Findings } from "../check/findings.js";
import { DAEMON } from "../daemon-main.js";
import { Tally } from "../tally.js";
import { type HistoryLine, OAUTH } from "../linear/history.js";
import { LinearChecker } from "../linear/linear-checker.js";
import { LinearClient } from "../linear/linear-client.js";
import { loadRecord } from "../load/load-record.js";
import { Proxy } from "../net/proxy.js";
import { Random } from "../random.js";
import type { Trial, TrialOptions, TrialReport } from "./trial.js";

const CLIENTS = 8;
const RUNTIMES = 3;
/** Before a fault, during it, and after it: each at most so long. */
const PHASE_MS = 2500;
const CHECK_SECONDS = 60;

export const linear: Trial = {
  name: "linear",
  description: "clients that meet in the same records, under kills and a failing network: linearizable? (needs Go)",
  run: async (options) => {
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    const checker = await LinearChecker.build(options.folder);
    return new LinearRun(options, checker).run();
  },
};

type Fault = "none" | "kill" | "net";

/** Cycle after cycle new runtimes, one history, and one fault in the middle of it. */
class LinearRun {
  private readonly random: Random;
  private readonly findings = new Findings();
  private readonly faults = new Tally();
  private readonly results = new Tally();
  private cycles = 0;
  private partitions = 0;
  private operations = 0;
  private open = 0;
  private undecided = 0;
  private checkMs = 0;

  constructor(
    private readonly options: TrialOptions,
    private readonly checker: LinearChecker,
  ) {
    this.random = new Random(options.seed);
  }

  async run(): Promise<TrialReport> {
    const { folder, seed, preload } = this.options;
    const startedAt = performance.now();
    const env = preload === undefined ? {} : { NODE_OPTIONS: `--require ${preload}` };
    const daemon = new DaemonProcess({ main: DAEMON, data: join(folder, "data"), args: ["--log-level", "warn"], env });
    await daemon.start();
    const proxy = await Proxy.before(daemon.target, join(folder, "proxy.sock"), this.random);
    try {
      while (this.goesOn()) await this.cycle(daemon, proxy);
    } finally {
      await proxy.close();
      await daemon.stop("SIGKILL");
      writeFileSync(join(folder, "daemon.log"), daemon.output);
    }
    return {
      kind: linear.name,
      seed,
      cycles: this.cycles,
      seconds: Math.round((performance.now() - startedAt) / 1000),
      findings: this.findings.all,
      lines: [
        `${this.operations.toLocaleString("en")} operations in ${String(this.partitions)} histories, ${String(this.open)} left open, checked in ${String(Math.round(this.checkMs / 1000))} s`,
        `results: ${this.results.toString()}`,
        `faults: ${this.faults.toString()}`,
        `${String(this.undecided)} histories undecided`,
      ],
    };
  }

  private goesOn(): boolean {
    const { cycles, until, interrupted } = this.options;
    const isInTime = this.cycles === 0 || Date.now() < until;
    return this.findings.all.length === 0 && this.cycles < cycles && isInTime && !interrupted.aborted;
  }

  private async cycle(daemon: DaemonProcess, proxy: Proxy): Promise<void> {
    this.cycles += 1;
    const lines: HistoryLine[] = [];
    const direct = await connect(daemon.target, { timeoutMs: 30_000 });
    const oauth = await loadRecord(direct.versioned, "", "oauth");
    lines.push({ partition: OAUTH, kind: "init", client: 0, call: 0, record: "oauth", seen: oauth });
    await direct.close();
    const fault = this.random.pick<Fault>(["none", "kill", "net"]);
    const halt = new AbortController();
    const stores = await Promise.all(
      Array.from({ length: CLIENTS }, () => connect(proxy.target, { timeoutMs: 30_000 })),
    );
    const runtimeIds = Array.from({ length: RUNTIMES }, (_, index) => `linear ${String(this.cycles)} ${String(index)}`);
    const clients = stores.map((store, number) => this.client(number, runtimeIds, oauth?.version, store, lines));
    const loads = clients.map((client) => client.load(halt.signal));
    try {
      await this.phase();
      await this.strike(fault, daemon, proxy);
      await this.phase();
      halt.abort();
      await Promise.all(loads);
    } finally {
      halt.abort();
      await Promise.all(stores.map((store) => store.close()));
    }
    // The OAuth value is everybody's, also in the next cycle: nothing of this one may come over it then.
    const settled = await connect(daemon.target, { timeoutMs: 30_000 });
    for (const client of clients) await client.settleOauth(settled.versioned);
    await settled.close();
    await this.check(lines, fault);
  }

  private client(
    number: number,
    runtimeIds: readonly string[],
    oauthVersion: string | undefined,
    store: BoltholeStore,
    lines: HistoryLine[],
  ): LinearClient {
    const append = (line: HistoryLine): void => {
      lines.push(line);
      if (line.kind === "write") this.results.add(line.result ?? "no answer");
      else this.results.add(line.kind);
    };
    const random = new Random(this.random.below(1 << 30));
    return new LinearClient(number, runtimeIds, oauthVersion ?? null, store.versioned, random, this.findings, append);
  }

  private phase(): Promise<void> {
    return sleep(PHASE_MS / 3 + this.random.below((PHASE_MS * 2) / 3));
  }

  private async strike(fault: Fault, daemon: DaemonProcess, proxy: Proxy): Promise<void> {
    this.faults.add(fault);
    switch (fault) {
      case "none":
        return;
      case "kill":
        await daemon.restart("SIGKILL");
        return;
      case "net":
        proxy.isInTrouble = true;
        await this.phase();
        proxy.isInTrouble = false;
    }
  }

  private async check(lines: readonly HistoryLine[], fault: Fault): Promise<void> {
    const startedAt = performance.now();
    const verdict = await this.checker.check(lines, CHECK_SECONDS, this.options.folder);
    const tookMs = performance.now() - startedAt;
    this.checkMs += tookMs;
    this.partitions += verdict.partitions;
    this.operations += verdict.operations;
    this.open += verdict.open;
    this.undecided += verdict.undecided.length;
    for (const what of verdict.illegal) this.findings.add("linearizable", "", what);
    if (verdict.illegal.length > 0) {
      const file = join(this.options.folder, `history-${String(this.cycles)}.jsonl`);
      writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    }
    this.options.onCycle(
      { cycle: this.cycles, fault, ...verdict, checkedInMs: Math.round(tookMs), findings: this.findings.all.length },
      `cycle ${String(this.cycles)} (${fault}): ${String(verdict.operations)} operations, ${String(verdict.open)} left open, ` +
        `checked in ${String(Math.round(tookMs))} ms, ${String(verdict.undecided.length)} undecided, ` +
        `${String(this.findings.all.length)} findings`,
    );
  }
}
