import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BoltholeStore, connect } from "@bolthole/client";
import { DaemonProcess } from "@bolthole/conformance/process";
import { RuntimeStoreService } from "@bolthole/contract/wire";
import { create, toBinary } from "@bufbuild/protobuf";
import { LedgerModel } from "../check/ledger-model.js";
import { StoreChecker } from "../check/store-checker.js";
import { DAEMON, MemoryWatch, requestsInFlight } from "../daemon.js";
import { Fuzzer } from "../fuzz/fuzzer.js";
import { ATTACKS, type AttackTarget, READERS } from "../fuzz/hostile-connections.js";
import { Seeds } from "../fuzz/requests.js";
import { ClientProcess } from "../load/client-process.js";
import { Random } from "../random.js";
import {
  Counter,
  UnsupportedMachineError,
  type Kind,
  type RunOptions,
  type RunReport,
  Violations,
  hasNextCycle,
  preloadEnvironment,
  secondsSince,
} from "../run.js";

const MEBIBYTE = 1024 * 1024;
const REQUESTS = 25_000;
const BROKEN_CALLS = 400;
const UNAUTHENTICATED_CALLS = 200;
const LARGE_RUNTIME = "(unledgered) large";
const LARGE_BYTES = 8 * MEBIBYTE;
const HEALTHY_WRITERS = 4;

/** The most bytes that the daemon may buffer for one slow reader. They are independent of the size of the document. */
const READ_AHEAD_BYTES = 4 * MEBIBYTE;

/**
 * The limit of the daemon's anonymous memory: 256 MiB of requests in flight (the default setting), its buffers for slow
 * readers, and 256 MiB for everything else.
 */
const MEMORY_BYTES = 256 * MEBIBYTE + READERS * READ_AHEAD_BYTES + 256 * MEBIBYTE;

const ERROR_LEVEL = 50;

export const fuzz: Kind = {
  name: "fuzz",
  description: "mutated requests to every RPC, broken frames, floods, resets, slow and idle connections (Linux)",
  mountsDisk: false,
  run: (options) => {
    if (!MemoryWatch.isPossible())
      throw new UnsupportedMachineError("this kind needs /proc, from which it reads the memory of a process");
    return new FuzzRun(options).run();
  },
};

/** One run: all requests go to one daemon. A healthy client works in the same store and is checked as in the other kinds. */
class FuzzRun {
  private readonly random: Random;
  private readonly violations = new Violations();
  private readonly model = new LedgerModel(this.violations);
  private readonly checker: StoreChecker;
  private readonly attacks = new Counter();
  private cycles = 0;

  constructor(private readonly options: RunOptions) {
    this.random = new Random(options.seed);
    this.checker = new StoreChecker(this.model, this.violations, this.random);
  }

  async run(): Promise<RunReport> {
    const { folder, seed, preload } = this.options;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const startedAt = performance.now();
    const env = preloadEnvironment(preload);
    const args = ["--log-level", "warn", "--listen", "127.0.0.1:0"];
    const daemon = await new DaemonProcess({ main: DAEMON, data: join(folder, "data"), args, env }).start();
    const memory = new MemoryWatch(daemon.pid);
    const healthy = new ClientProcess({
      name: "healthy",
      seed,
      writers: HEALTHY_WRITERS,
      sessions: "large",
      sharesOauth: false,
      allowedRefusals: [],
      ledger: join(folder, "ledger.jsonl"),
    });
    const store = await connect(daemon.target, { timeoutMs: 30_000 });
    const [socket = "", tcp = ""] = daemon.targets.map((target) => target.replace("unix:", ""));
    const [host = "", port = ""] = tcp.split(":");
    const onTcp = { host, port: Number(port) };
    const fuzzer = new Fuzzer(socket, onTcp, this.violations, this.random);
    const target = {
      socket,
      onTcp,
      seeds: fuzzer.seeds,
      random: this.random,
      largeRuntime: await makeLargeRuntime(store),
    };
    let requestsMs = 0;
    try {
      while (hasNextCycle(this.options, this.cycles, this.violations))
        requestsMs += await this.cycle(daemon, fuzzer, target, healthy, store, memory);
      if (this.violations.all.length === 0) await fuzzer.requestsInOrder();
    } finally {
      fuzzer.close();
      memory.stop();
      await store.close();
      await healthy.end();
      await daemon.stop("SIGKILL");
      writeFileSync(join(folder, "daemon.log"), daemon.output);
    }
    const never = Seeds.paths.filter((path) => !fuzzer.accepted.has(path));
    for (const path of this.violations.all.length === 0 ? never : []) {
      this.violations.add("coverage", path, "accepted no request as valid, so its mutated requests test nothing");
    }
    const { statuses, broken, unauthenticated, accepted } = fuzzer;
    const { acknowledged, reads, unanswered, foundApplied, sealed, appliedByRepeat, unansweredNotApplied } =
      this.model.counts;
    return {
      kind: fuzz.name,
      seed,
      cycles: this.cycles,
      seconds: secondsSince(startedAt),
      violations: this.violations.all,
      acknowledged,
      unanswered: {
        count: unanswered,
        applied: foundApplied,
        sealed,
        appliedByRepeat,
        notApplied: unansweredNotApplied,
      },
      events: {
        "fuzzed requests": statuses.total,
        "broken calls": broken.total,
        "unauthenticated calls": unauthenticated.total,
        ...this.attacks.toObject(),
        "highest memory in MiB": Math.round(memory.peak / MEBIBYTE),
      },
      lines: [
        `${statuses.total.toLocaleString("en")} fuzzed requests, ${String(Math.round((statuses.total * 1000) / requestsMs))} a second, by status: ${statuses.toString()}`,
        `${String(accepted.size)} of ${String(Seeds.paths.length)} RPCs accepted some of them as valid`,
        `${broken.total.toLocaleString("en")} calls with broken frames or headers: ${broken.toString()}`,
        `${unauthenticated.total.toLocaleString("en")} calls over TCP without a token: ${unauthenticated.toString()}`,
        `hostile connections: ${this.attacks.toString()}`,
        `the healthy client: ${String(acknowledged)} acknowledged writes, ${String(reads)} reads, ${String(unanswered)} operations that it gave up at its own deadline`,
        `anonymous memory: at most ${mebibytes(memory.peak)} (limit ${mebibytes(MEMORY_BYTES)})`,
      ],
    };
  }

  /** Returns the milliseconds that the fuzzed requests took. */
  private async cycle(
    daemon: DaemonProcess,
    fuzzer: Fuzzer,
    target: AttackTarget,
    healthy: ClientProcess,
    store: BoltholeStore,
    memory: MemoryWatch,
  ): Promise<number> {
    this.cycles += 1;
    const before = this.model.counts.acknowledged;
    const endpoint = { target: daemon.target };
    const load = healthy.run({ do: "load", endpoint });
    load.catch(() => undefined);
    const startedAt = performance.now();
    await fuzzer.requests(REQUESTS);
    const tookMs = performance.now() - startedAt;
    await fuzzer.brokenCalls(BROKEN_CALLS);
    await fuzzer.unauthenticatedCalls(UNAUTHENTICATED_CALLS);
    const names = Object.keys(ATTACKS) as [keyof typeof ATTACKS];
    const name = names[this.cycles % names.length] ?? names[0];
    this.attacks.add(name, await ATTACKS[name](target));
    healthy.halt();
    await load;
    await healthy.run({ do: "settle", endpoint });
    for (const line of healthy.ledger.read()) this.model.add(line);
    await this.checker.checkRuntimes(store.versioned);
    const acknowledged = this.model.counts.acknowledged - before;
    if (acknowledged === 0)
      this.violations.add("stays in service", "", "no write of the healthy client was acknowledged");
    await this.checkDaemon(daemon, memory);
    const facts = { cycle: this.cycles, tookMs: Math.round(tookMs), attack: name, acknowledged, memory: memory.now() };
    this.options.onCycle(
      facts,
      `cycle ${String(this.cycles)}: ${String(Math.round((REQUESTS * 1000) / tookMs))} requests a second, then ${name}; ` +
        `${String(acknowledged)} healthy writes, ${mebibytes(facts.memory)}, ${String(this.violations.all.length)} violations`,
    );
    return tookMs;
  }

  /** Checks that the daemon accepts new clients, finished all requests, logged no error, and kept within its memory limit. */
  private async checkDaemon(daemon: DaemonProcess, memory: MemoryWatch): Promise<void> {
    try {
      await (await connect(daemon.target, { timeoutMs: 30_000 })).close();
    } catch (error) {
      this.violations.add("stays in service", "", `a new client cannot connect: ${String(error)}`);
    }
    const inFlight = await requestsInFlight(join(this.options.folder, "data"));
    if (inFlight > 0)
      this.violations.add(
        "stays in service",
        "",
        `${String(inFlight)} requests stay in flight although no client waits`,
      );
    const faults = daemon.output.split("\n").filter((line) => levelOf(line) >= ERROR_LEVEL);
    for (const fault of faults)
      this.violations.add("stays in service", "", `the daemon's log: ${fault.slice(0, 1000)}`);
    if (memory.peak > MEMORY_BYTES) {
      this.violations.add(
        "bounded memory",
        "",
        `expected at most ${mebibytes(MEMORY_BYTES)} of anonymous memory, found ${mebibytes(memory.peak)}`,
      );
    }
  }
}

/** Stores a document that is larger than a reader's window. Returns the request that loads it. */
async function makeLargeRuntime(store: BoltholeStore): Promise<Buffer> {
  const delta = { sessionSnapshot: Buffer.alloc(LARGE_BYTES, "large "), profile: "opaque" } as const;
  await store.commitSessionSnapshot(LARGE_RUNTIME, delta);
  const { input } = RuntimeStoreService.method.loadSessionSnapshot;
  return Buffer.from(toBinary(input, create(input, { runtimeId: LARGE_RUNTIME })));
}

function levelOf(line: string): number {
  if (!line.startsWith("{")) return 0;
  const { level } = JSON.parse(line) as { level?: number | string };
  return typeof level === "number" ? level : level === "error" || level === "fatal" ? ERROR_LEVEL : 0;
}

const mebibytes = (bytes: number): string => `${String(Math.round(bytes / MEBIBYTE))} MiB`;
