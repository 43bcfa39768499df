import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { type BoltholeStore, connect } from "@bolthole/client";
import { DaemonProcess } from "@bolthole/conformance/process";
import { RuntimeStoreService } from "@bolthole/contract/wire";
import { Checker } from "../check/checker.js";
import { Findings } from "../check/findings.js";
import { Model } from "../check/model.js";
import { ClientProcess } from "../client-process.js";
import { DAEMON } from "../daemon-main.js";
import { Fuzzer } from "../fuzz/fuzzer.js";
import { READERS, SCENES, type Stage } from "../fuzz/hostile/scenes.js";
import { MemoryWatch } from "../fuzz/memory-watch.js";
import { Seeds } from "../fuzz/seeds.js";
import { Tally } from "../tally.js";
import { CannotRun } from "../kinds/kind.js";
import { Random } from "../random.js";
import type { Trial, TrialOptions, TrialReport } from "./trial.js";

const REQUESTS = 25_000;
const BROKEN_CALLS = 400;
const STRANGERS_CALLS = 200;
const LARGE_RUNTIME = "(unledgered) large";
const LARGE_BYTES = 8 * 1024 * 1024;
const HEALTHY_LANES = 4;

/** Of a document that is read slowly: a few messages, whatever its size. */
const READ_AHEAD_BYTES = 4 * 1024 * 1024;

/**
 * Of memory of its own, at any moment: what the default settings allow in flight, what the slow readers do not take, and as
 * much as is in flight for everything else.
 */
const MEMORY_BYTES = 256 * 1024 * 1024 + READERS * READ_AHEAD_BYTES + 256 * 1024 * 1024;

const ERROR_LEVEL = 50;
const SETTLED_MS = 60_000;
const SETTLED_POLL_MS = 200;

export const fuzz: Trial = {
  name: "fuzz",
  description: "changed requests to every RPC, broken frames, floods, resets, slow and idle connections (Linux)",
  run: (options) => {
    if (!MemoryWatch.isPossible()) throw new CannotRun("fuzz reads a process's memory from /proc, which is not there");
    return new FuzzRun(options).run();
  },
};

/** One daemon through all of it, with a client beside that must not feel it. */
class FuzzRun {
  private readonly random: Random;
  private readonly findings = new Findings();
  private readonly model = new Model(this.findings);
  private readonly checker: Checker;
  private readonly scenes = new Tally();
  private cycles = 0;

  constructor(private readonly options: TrialOptions) {
    this.random = new Random(options.seed);
    this.checker = new Checker(this.model, this.findings, this.random);
  }

  async run(): Promise<TrialReport> {
    const { folder, seed, preload } = this.options;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const startedAt = performance.now();
    const env = preload === undefined ? {} : { NODE_OPTIONS: `--require ${preload}` };
    const args = ["--log-level", "warn", "--listen", "127.0.0.1:0"];
    const daemon = await new DaemonProcess({ main: DAEMON, data: join(folder, "data"), args, env }).start();
    const memory = new MemoryWatch(daemon.pid);
    const healthy = new ClientProcess({
      name: "healthy",
      seed,
      lanes: HEALTHY_LANES,
      sessions: "large",
      sharesOauth: false,
      excuses: [],
      ledger: join(folder, "ledger.jsonl"),
    });
    const store = await connect(daemon.target, { timeoutMs: 30_000 });
    const [socket = "", tcp = ""] = daemon.targets.map((target) => target.replace("unix:", ""));
    const [host = "", port = ""] = tcp.split(":");
    const onTcp = { host, port: Number(port) };
    const fuzzer = new Fuzzer(socket, onTcp, this.findings, this.random);
    const stage = {
      socket,
      onTcp,
      seeds: fuzzer.seeds,
      random: this.random,
      largeRuntime: await makeLargeRuntime(store),
    };
    let requestsMs = 0;
    try {
      while (this.goesOn()) requestsMs += await this.cycle(daemon, fuzzer, stage, healthy, store, memory);
    } finally {
      fuzzer.close();
      memory.stop();
      await store.close();
      await healthy.end();
      await daemon.stop("SIGKILL");
      writeFileSync(join(folder, "daemon.log"), daemon.output);
    }
    const never = Seeds.paths.filter((path) => !fuzzer.understood.has(path));
    for (const path of this.findings.all.length === 0 ? never : []) {
      this.findings.add("coverage", path, "took no request as valid, so changed ones prove nothing of it");
    }
    const { statuses, broken, strangers, understood } = fuzzer;
    const { acknowledged, reads, lost } = this.model.counts;
    return {
      kind: fuzz.name,
      seed,
      cycles: this.cycles,
      seconds: Math.round((performance.now() - startedAt) / 1000),
      findings: this.findings.all,
      lines: [
        `${statuses.total.toLocaleString("en")} fuzzed requests, ${String(Math.round((statuses.total * 1000) / requestsMs))} a second, by status: ${statuses.toString()}`,
        `${String(understood.size)} of ${String(Seeds.paths.length)} RPCs took some of them as valid`,
        `${broken.total.toLocaleString("en")} calls with broken frames or headers: ${broken.toString()}`,
        `${strangers.total.toLocaleString("en")} calls over TCP without a token: ${strangers.toString()}`,
        `hostile connections: ${this.scenes.toString()}`,
        `the healthy client meanwhile: ${String(acknowledged)} acknowledged writes, ${String(reads)} reads, ${String(lost)} given up by its own haste`,
        `memory of its own: at most ${mebibytes(memory.peak)} (bound ${mebibytes(MEMORY_BYTES)})`,
      ],
    };
  }

  private goesOn(): boolean {
    const { cycles, until, interrupted } = this.options;
    const isInTime = this.cycles === 0 || Date.now() < until;
    return this.findings.all.length === 0 && this.cycles < cycles && isInTime && !interrupted.aborted;
  }

  /** Answers how long the requests took. */
  private async cycle(
    daemon: DaemonProcess,
    fuzzer: Fuzzer,
    stage: Stage,
    healthy: ClientProcess,
    store: BoltholeStore,
    memory: MemoryWatch,
  ): Promise<number> {
    this.cycles += 1;
    const before = this.model.counts.acknowledged;
    const way = { target: daemon.target };
    const load = healthy.carryOut({ do: "load", way });
    load.catch(() => undefined);
    const startedAt = performance.now();
    await fuzzer.requests(REQUESTS);
    const tookMs = performance.now() - startedAt;
    await fuzzer.brokenCalls(BROKEN_CALLS);
    await fuzzer.strangersCalls(STRANGERS_CALLS);
    const names = Object.keys(SCENES) as [keyof typeof SCENES];
    const name = names[this.cycles % names.length] ?? names[0];
    this.scenes.add(name, await SCENES[name](stage));
    healthy.halt();
    await load;
    await healthy.carryOut({ do: "resolve", way });
    for (const line of healthy.ledger.read()) this.model.take(line);
    await this.checker.ofRuntimes(store.versioned);
    const acknowledged = this.model.counts.acknowledged - before;
    if (acknowledged === 0) this.findings.add("goes on", "", "the healthy client had no write acknowledged");
    await this.checkDaemon(daemon, memory);
    const facts = { cycle: this.cycles, tookMs: Math.round(tookMs), scene: name, acknowledged, memory: memory.now() };
    this.options.onCycle(
      facts,
      `cycle ${String(this.cycles)}: ${String(Math.round((REQUESTS * 1000) / tookMs))} requests a second, then ${name}; ` +
        `${String(acknowledged)} healthy writes, ${mebibytes(facts.memory)}, ${String(this.findings.all.length)} findings`,
    );
    return tookMs;
  }

  /** It takes new clients, its log has no faults of its own, and its memory is bounded. */
  private async checkDaemon(daemon: DaemonProcess, memory: MemoryWatch): Promise<void> {
    try {
      await (await connect(daemon.target, { timeoutMs: 30_000 })).close();
    } catch (error) {
      this.findings.add("goes on", "", `no new client gets in: ${String(error)}`);
    }
    const inFlight = await requestsInFlight(this.options.folder);
    if (inFlight > 0) this.findings.add("goes on", "", `${String(inFlight)} requests stay in flight when nobody waits`);
    const faults = daemon.output.split("\n").filter((line) => levelOf(line) >= ERROR_LEVEL);
    for (const fault of faults) this.findings.add("goes on", "", `the daemon's log: ${fault.slice(0, 1000)}`);
    if (memory.peak > MEMORY_BYTES) {
      this.findings.add("bounded memory", "", `it held ${mebibytes(memory.peak)} of its own`);
    }
  }
}

/** A document that no reader takes at once; answers the request that loads it. */
async function makeLargeRuntime(store: BoltholeStore): Promise<Buffer> {
  const delta = { sessionSnapshot: Buffer.alloc(LARGE_BYTES, "large "), profile: "opaque" } as const;
  await store.commitSessionSnapshot(LARGE_RUNTIME, delta);
  const { input } = RuntimeStoreService.method.loadSessionSnapshot;
  return Buffer.from(toBinary(input, create(input, { runtimeId: LARGE_RUNTIME })));
}

/** What the daemon still works on, once it had the time to end it. */
async function requestsInFlight(folder: string): Promise<number> {
  const limit = Date.now() + SETTLED_MS;
  for (;;) {
    const args = [DAEMON, "status", "--json", "--data", join(folder, "data")];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    // The question itself is one.
    const inFlight = (JSON.parse(stdout) as { readonly requestsInFlight: number }).requestsInFlight - 1;
    if (inFlight <= 0 || Date.now() > limit) return inFlight;
    await sleep(SETTLED_POLL_MS);
  }
}

function levelOf(line: string): number {
  if (!line.startsWith("{")) return 0;
  const { level } = JSON.parse(line) as { level?: number | string };
  return typeof level === "number" ? level : level === "error" || level === "fatal" ? ERROR_LEVEL : 0;
}

const mebibytes = (bytes: number): string => `${String(Math.round(bytes / 1024 / 1024))} MiB`;
