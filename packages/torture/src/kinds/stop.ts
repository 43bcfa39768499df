import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import { DaemonProcess, type Ending } from "@bolthole/conformance/process";
import { StoreError } from "@bolthole/contract";
import { DAEMON } from "../daemon.js";
import { type FaultContext, faultKind } from "../fault-run.js";
import { UNLEDGERED } from "../ledger.js";
import { digestOfBytes, freshId, inputRow } from "../load/records.js";
import { Random } from "../random.js";
import { type Delays, FaultPlan, compileFaultLibrary } from "./fault-plan.js";

/** The time limits that the daemon has for its stop, in seconds. All delays together are much shorter. */
const DRAIN_S = 2;
const CLOSE_S = 30;
/** A stopped daemon has ended after its limits and this time, for the exit of the process on a busy machine. */
const EXIT_MS = 10_000;
const CALL_MS = 60_000;

const MANY_ROWS = 20_000;
const ROWS_OF_A_CALL = 2000;
const MIB = 1 << 20;
const LARGEST_DOCUMENT = 180 * MIB;
const SMALLEST_DOCUMENT = 20 * MIB;

/** The large works of which some run while the daemon is stopped. */
const WORKS = ["document", "import", "backup", "verify", "compact"] as const;
type Work = (typeof WORKS)[number];

/**
 * The calls on the data file after which the first signal is sent, and how many of them are waited for. The file grows so often
 * only when a document is written: its upload has ended then.
 */
const STAGES = {
  "page write": { least: 1, most: 1500 },
  flush: { least: 1, most: 60 },
  "meta write": { least: 1, most: 60 },
  growth: { least: 2500, most: 7000 },
  copy: { least: 1, most: 2 },
} as const;
type Stage = keyof typeof STAGES;
const LONGEST_WAIT_MS = 6000;
/** A busy machine needs longer until a work has begun. */
const STAGE_WITHIN_MS = 30_000;
const POLL_MS = 1;

const KEPT_DOCUMENTS = 3;

const MANY = `${UNLEDGERED} many rows`;
const documentName = (serial: number): string => `${UNLEDGERED} document ${String(serial)}`;

/** A document that was being committed during the last stop. */
interface SentDocument {
  readonly name: string;
  readonly digest: string;
  isAcknowledged: boolean;
}

/** Stops the daemon while it works on large requests, with delayed calls to the disk. */
export const stop = faultKind({
  name: "stop",
  description: "SIGTERM once or twice during large work, with delayed calls to the disk (needs a C compiler; Linux)",
  acknowledgedBefore: 20,
  // The large works are the main load.
  clients: 1,
  withinMs: 50,
  // Calls that were cut off. Another ending, such as a signal of the native library, breaks a promise.
  endings: ["0", "7"],
  allowedRefusals: [],
  mountsDisk: false,
  prepare: async (folder) => {
    mkdirSync(folder, { recursive: true });
    const library = join(folder, "faults.so");
    await compileFaultLibrary(library);
    const plan = new FaultPlan(join(folder, "faults"));
    const data = join(folder, "data");
    const rows = join(folder, "rows.sqlite3");
    await makeManyRows(data, rows);
    const stops = new Stops(folder, data, rows, plan);
    return {
      data,
      env: { LD_PRELOAD: library, TORTURE_FAULTS: plan.path },
      args: [
        ...["--drain-timeout", `${String(DRAIN_S)}s`, "--close-timeout", `${String(CLOSE_S)}s`],
        ...["--scrub-rate", "64MB", "--scrub-interval", "1s"],
      ],
      endpoints: async ({ target }) => {
        await stops.prepareCycle(target);
        return [{ target }];
      },
      injectFault: (context) => stops.stopOnce(context),
      recover: () => stops.afterStop(),
      dispose: () => {
        plan.close();
        return Promise.resolve();
      },
    };
  },
});

/** The stops of one run. */
class Stops {
  private serial = 0;
  private sent: SentDocument | undefined;
  private readonly kept: string[] = [];
  private context: FaultContext | undefined;
  private works: readonly Promise<void>[] = [];
  private aborting = new AbortController();

  constructor(
    private readonly folder: string,
    private readonly data: string,
    /** The database that is imported. */
    private readonly rows: string,
    private readonly plan: FaultPlan,
  ) {}

  /** Checks what the last cycle left, and makes the runtime with many rows differ from the database that is imported. */
  async prepareCycle(target: string): Promise<void> {
    const store = await connect(target, { timeoutMs: CALL_MS });
    try {
      await this.checkLastDocument(store);
      await store.persistInputState(MANY, inputRow(new Random(this.serial), freshId(), "another row"));
    } finally {
      await store.close();
    }
  }

  async stopOnce(context: FaultContext): Promise<Ending | undefined> {
    const { daemon, random, violations, count } = context;
    this.context = context;
    const store = await connect(daemon.target, { timeoutMs: CALL_MS });
    try {
      this.plan.delay(makeDelays(random));
      const chosen = chooseWorks(random);
      this.works = this.startWorks(chosen, store, context);
      await this.untilStage(chooseStage(random, chosen), context);
      const { ended } = daemon;
      daemon.signal("SIGTERM");
      count("first signal");
      if (!random.oneIn(3)) void this.signalAgain(context, ended);
      const limitMs = (DRAIN_S + CLOSE_S) * 1000 + EXIT_MS;
      const ending = await Promise.race([ended, sleep(limitMs, undefined)]);
      if (!ending) {
        violations.add("orderly stop", "", `the daemon still runs ${String(limitMs)} ms after SIGTERM`);
        return await daemon.stop("SIGKILL");
      }
      if (ending.signal === "SIGKILL") {
        violations.add("orderly stop", "", "the daemon did not close its store within the time limit");
      }
      return ending;
    } finally {
      await store.close();
    }
  }

  /** Waits for the works, and checks everything that the stopped daemon left in its folder. */
  async afterStop(): Promise<void> {
    this.plan.disarm();
    this.aborting.abort();
    await Promise.all(this.works);
    const { code, output } = await run(["verify", "--data", this.data]);
    if (code === 0) return;
    this.context?.violations.add("orderly stop", "", `verify ended with ${String(code)}: ${output.slice(-1500)}`);
  }

  /** Sends the second signal at a random time, or when the file is truncated, if that comes first. */
  private async signalAgain({ daemon, random, count }: FaultContext, ended: Promise<Ending>): Promise<void> {
    const before = this.plan.begun("truncation");
    const limit = performance.now() + random.below(random.pick([1, 20, 20, 500, 1500]));
    while (performance.now() < limit && this.plan.begun("truncation") === before) await sleep(POLL_MS);
    const hasEnded = await Promise.race([ended.then(() => true), sleep(0, false)]);
    if (hasEnded) return;
    daemon.signal("SIGTERM");
    count("second signal");
  }

  /** Waits for a random number of calls of a kind, or for a random time. */
  private async untilStage(stage: Stage | undefined, { random, count }: FaultContext): Promise<void> {
    if (stage === undefined) {
      await sleep(random.below(LONGEST_WAIT_MS));
      count("stopped at a time");
      return;
    }
    const { least, most } = STAGES[stage];
    const wanted = this.plan.begun(stage) + least + random.below(most - least);
    const limit = performance.now() + STAGE_WITHIN_MS;
    while (performance.now() < limit && this.plan.begun(stage) < wanted) await sleep(POLL_MS);
    count(this.plan.begun(stage) < wanted ? "stopped at a time" : `stopped at a ${stage}`);
  }

  /** Starts the works. Each promise resolves when its work has ended, in whatever way. */
  private startWorks(chosen: ReadonlySet<Work>, store: BoltholeStore, context: FaultContext): Promise<void>[] {
    const { count } = context;
    this.aborting = new AbortController();
    const { signal } = this.aborting;
    return [...chosen].map((work) => {
      count(work);
      switch (work) {
        case "document":
          return this.commitDocument(store, context);
        case "import":
          return this.command(signal, "import", "meerkat", this.rows, "--runtime", MANY, "--overwrite");
        case "backup":
          return this.command(signal, "backup", join(this.folder, "backup"));
        case "compact":
          return this.command(signal, "compact");
        case "verify":
          return this.command(signal, "verify");
      }
    });
  }

  private async commitDocument(store: BoltholeStore, { random, violations }: FaultContext): Promise<void> {
    const bytes = !random.oneIn(3) ? LARGEST_DOCUMENT : SMALLEST_DOCUMENT + random.below(60 * MIB);
    const sessionSnapshot = randomBytes(bytes);
    const sent = {
      name: documentName((this.serial += 1)),
      digest: digestOfBytes(sessionSnapshot),
      isAcknowledged: false,
    };
    this.sent = sent;
    try {
      await store.commitSessionSnapshot(sent.name, { sessionSnapshot, profile: "opaque" });
      sent.isAcknowledged = true;
    } catch (error) {
      if (error instanceof StoreError && error.reason !== "INTERNAL") return;
      violations.add("correct responses", sent.name, `a stopped commit ended with ${String(error)}`);
    }
  }

  /** Checks that the last document is stored if it was acknowledged, and never a part of it. Then deletes an old one. */
  private async checkLastDocument(store: BoltholeStore): Promise<void> {
    const { sent, context } = this;
    this.sent = undefined;
    if (!sent || !context) return;
    const { violations, count } = context;
    const stored = await store.loadSessionSnapshot(sent.name);
    const found = stored ? digestOfBytes(stored) : undefined;
    count(found === undefined ? "document not stored" : "document stored");
    if (found === undefined ? sent.isAcknowledged : found !== sent.digest) {
      const what = found === undefined ? "it is gone" : "it has other content";
      violations.add("acknowledged", sent.name, `the document of the last stop: ${what}`);
    }
    // A document that reuses the pages of a deleted one does not make the file grow.
    this.kept.push(sent.name);
    const oldest = this.kept.length > KEPT_DOCUMENTS ? this.kept.shift() : undefined;
    if (oldest !== undefined) await store.deleteRuntime(oldest);
  }

  /** Runs a command that works on the daemon's store, until it ends in whatever way. */
  private async command(signal: AbortSignal, ...args: readonly string[]): Promise<void> {
    await run([...args, "--data", this.data], signal);
  }
}

/** Stores a runtime with many rows, and exports it into a database. */
async function makeManyRows(data: string, rows: string): Promise<void> {
  const daemon = new DaemonProcess({ main: DAEMON, data, args: ["--log-level", "warn"] });
  const random = new Random(MANY_ROWS);
  await daemon.start();
  try {
    const store = await connect(daemon.target, { timeoutMs: CALL_MS });
    for (let made = 0; made < MANY_ROWS; made += ROWS_OF_A_CALL) {
      const call = Array.from({ length: ROWS_OF_A_CALL }, () => inputRow(random, freshId(), "row"));
      await store.commitMachineLifecycle(MANY, { runtimeState: "idle", binding: {} }, call);
    }
    await store.close();
    const { code, output } = await run(["export", "meerkat", rows, "--data", data, "--runtime", MANY]);
    if (code !== 0) throw new Error(`the export of many rows ended with ${String(code)}: ${output}`);
  } finally {
    await daemon.stop();
  }
}

/** Returns one to three works. One of them writes. */
function chooseWorks(random: Random): ReadonlySet<Work> {
  const chosen = new Set<Work>([random.pick(["document", "document", "import"])]);
  for (let more = random.below(3); more > 0; more -= 1) chosen.add(random.pick(WORKS));
  return chosen;
}

/** Returns a kind of call that one of the works makes, or undefined for a random time. */
function chooseStage(random: Random, works: ReadonlySet<Work>): Stage | undefined {
  if (works.has("backup") && random.oneIn(2)) return "copy";
  if (works.has("document") && !random.oneIn(3)) return "growth";
  return random.oneIn(4) ? undefined : random.pick(["page write", "flush", "meta write"]);
}

/** Delays of some kinds of calls. A large commit makes thousands of page writes and growths, so their delays are short. */
function makeDelays(random: Random): Delays {
  return {
    truncation: random.pick([0, 300, 1000, 2000]),
    flush: random.pick([0, 0, 20, 200]),
    "meta write": random.pick([0, 0, 50]),
    "page write": random.pick([0, 0, 0, 1]),
    growth: random.pick([0, 0, 0, 1]),
    // A copy that begins in time is in progress when the drain ends.
    copy: random.pick([1, 1000, 4000]),
  };
}

/** Runs `bolthole`. When the signal aborts, the process has ten seconds to end by itself. */
async function run(args: readonly string[], signal?: AbortSignal): Promise<{ code: number | null; output: string }> {
  const child: ChildProcess = spawn(process.execPath, [DAEMON, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  let timer: NodeJS.Timeout | undefined;
  const end = (): void => {
    timer = setTimeout(() => child.kill("SIGKILL"), EXIT_MS);
  };
  signal?.addEventListener("abort", end, { once: true });
  const [code] = (await once(child, "close")) as [number | null];
  signal?.removeEventListener("abort", end);
  clearTimeout(timer);
  return { code, output };
}
