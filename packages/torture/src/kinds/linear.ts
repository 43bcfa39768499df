import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import { DaemonProcess } from "@bolthole/conformance/process";
import { DAEMON } from "../daemon.js";
import { type HistoryLine, LinearChecker, OAUTH } from "../linear/history-checker.js";
import { LinearClient } from "../linear/linear-client.js";
import { loadRecord } from "../load/records.js";
import { Random } from "../random.js";
import {
  Counter,
  type Kind,
  type RunOptions,
  type RunReport,
  Violations,
  hasNextCycle,
  preloadEnvironment,
  secondsSince,
} from "../run.js";
import { Proxy } from "./network.js";

const CLIENTS = 8;
const RUNTIMES = 3;
/** The longest time before a fault, during it, and after it. */
const PHASE_MS = 2500;
const CHECK_SECONDS = 60;

export const linear: Kind = {
  name: "linear",
  description: "clients that share records, under kills and network faults; checks linearizability (needs Go)",
  mountsDisk: false,
  run: async (options) => {
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    const checker = await LinearChecker.build(options.folder);
    return new LinearRun(options, checker).run();
  },
};

type Fault = "none" | "kill" | "net";

/** Each cycle has new runtimes, one history, and at most one fault in the middle of it. */
class LinearRun {
  private readonly random: Random;
  private readonly violations = new Violations();
  private readonly faults = new Counter();
  private readonly results = new Counter();
  private cycles = 0;
  private partitions = 0;
  private operations = 0;
  private open = 0;
  private undecided = 0;
  private checkMs = 0;

  constructor(
    private readonly options: RunOptions,
    private readonly checker: LinearChecker,
  ) {
    this.random = new Random(options.seed);
  }

  async run(): Promise<RunReport> {
    const { folder, seed, preload } = this.options;
    const startedAt = performance.now();
    const env = preloadEnvironment(preload);
    const daemon = new DaemonProcess({ main: DAEMON, data: join(folder, "data"), args: ["--log-level", "warn"], env });
    await daemon.start();
    const proxy = await Proxy.before(daemon.target, join(folder, "proxy.sock"), this.random);
    try {
      while (hasNextCycle(this.options, this.cycles, this.violations)) await this.cycle(daemon, proxy);
    } finally {
      await proxy.close();
      await daemon.stop("SIGKILL");
      writeFileSync(join(folder, "daemon.log"), daemon.output);
    }
    return {
      kind: linear.name,
      seed,
      cycles: this.cycles,
      seconds: secondsSince(startedAt),
      violations: this.violations.all,
      events: {
        operations: this.operations,
        histories: this.partitions,
        "left open": this.open,
        undecided: this.undecided,
        ...this.faults.toObject(),
      },
      lines: [
        `${this.operations.toLocaleString("en")} operations in ${String(this.partitions)} histories, ${String(this.open)} left open, checked in ${String(Math.round(this.checkMs / 1000))} s`,
        `results: ${this.results.toString()}`,
        `faults: ${this.faults.toString()}`,
        `${String(this.undecided)} histories undecided`,
      ],
    };
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
      await this.injectFault(fault, daemon, proxy);
      await this.phase();
      halt.abort();
      await Promise.all(loads);
    } finally {
      halt.abort();
      await Promise.all(stores.map((store) => store.close()));
    }
    // The OAuth value is also used by the next cycle, so no write of this cycle may be applied later.
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
      if (line.kind === "write") this.results.add(line.result ?? "no response");
      else this.results.add(line.kind);
    };
    const random = new Random(this.random.below(1 << 30));
    return new LinearClient(number, runtimeIds, oauthVersion ?? null, store.versioned, random, this.violations, append);
  }

  private phase(): Promise<void> {
    return sleep(PHASE_MS / 3 + this.random.below((PHASE_MS * 2) / 3));
  }

  private async injectFault(fault: Fault, daemon: DaemonProcess, proxy: Proxy): Promise<void> {
    this.faults.add(fault);
    switch (fault) {
      case "none":
        return;
      case "kill":
        await daemon.restart("SIGKILL");
        return;
      case "net":
        proxy.injectsFaults = true;
        await this.phase();
        proxy.injectsFaults = false;
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
    for (const partition of verdict.illegal) this.violations.add("linearizable", "", partition);
    if (verdict.illegal.length > 0) {
      const file = join(this.options.folder, `history-${String(this.cycles)}.jsonl`);
      writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    }
    this.options.onCycle(
      {
        cycle: this.cycles,
        fault,
        ...verdict,
        checkedInMs: Math.round(tookMs),
        violations: this.violations.all.length,
      },
      `cycle ${String(this.cycles)} (${fault}): ${String(verdict.operations)} operations, ${String(verdict.open)} left open, ` +
        `checked in ${String(Math.round(tookMs))} ms, ${String(verdict.undecided.length)} undecided, ` +
        `${String(this.violations.all.length)} violations`,
    );
  }
}
