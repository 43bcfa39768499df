import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { type BoltholeStore, connect } from "@bolthole/client";
import { DaemonProcess } from "@bolthole/conformance/process";
import { StoreError } from "@bolthole/contract";
import { type AppliedRequest, Caller, type CallerClock, type ClockWorld, withTime } from "../clocks/caller.js";
import { JumpingClient } from "../clocks/client-process.js";
import { ClockFile } from "../clocks/clock-file.js";
import { DAEMON } from "../daemon.js";
import { freshId } from "../load/records.js";
import { Random } from "../random.js";
import { Counter, type Kind, type RunOptions, type RunReport, Violations, hasNextCycle, secondsSince } from "../run.js";

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const JUMPS_MS = [HOUR_MS, DAY_MS, 365 * DAY_MS] as const;

/** The bounds of the store. There are as many sealed ids as a tenth of this. */
const MAX_COUNT = 2000;
const MAX_AGE_MS = DAY_MS;
const FLOOD = MAX_COUNT + 200;
const FLOOD_TOGETHER = 100;
/** The time after which the daemon deletes old outcomes again. */
const PRUNED_AFTER_MS = 11 * SECOND_MS;
/** Longer than the daemon needs to see that time has passed. */
const SEEN_MS = 150;

const WRITES_BEFORE = 5;
const WRITES_AFTER = 3;
const RECOVERED_MS = 60_000;
const POLL_MS = 20;
const CALL_MS = 30_000;

/** The callers that make ids by clocks of their own. Ids may be up to five minutes ahead. */
const CLOCKS: readonly CallerClock[] = [
  { name: "right", isHonest: true, idTime: ({ trueMs }) => trueMs },
  { name: "ahead", isHonest: true, idTime: ({ trueMs }) => trueMs + 4 * MINUTE_MS },
  { name: "behind", isHonest: true, idTime: ({ trueMs }) => trueMs - 30 * SECOND_MS },
  { name: "same machine", isHonest: true, idTime: ({ machineMs }) => machineMs },
  { name: "far behind", isHonest: false, idTime: ({ trueMs }) => trueMs - 2 * HOUR_MS },
];

/** Moves the clocks of the daemon and of a client while others write, stop and start. */
export const clock: Kind = {
  name: "clock",
  description:
    "the clocks of daemon and clients jump by an hour, a day or a year, in both directions, also across restarts",
  mountsDisk: false,
  run: (options) => new ClockRun(options).run(),
};

const SCENES = ["jump", "flood", "long jump", "start", "jump and restart"] as const;
type Scene = (typeof SCENES)[number];

/** One run: the same store through all cycles. Each cycle is one scene, in turn. */
class ClockRun implements ClockWorld {
  isDisturbed = false;
  changes = 0;
  private readonly random: Random;
  private readonly violations = new Violations();
  private readonly events = new Counter();
  private readonly machine: ClockFile;
  private readonly clientClock: ClockFile;
  /** A clock that is always right: the one of the operator. */
  private readonly right: ClockFile;
  private readonly daemon: DaemonProcess;
  private readonly data: string;
  private readonly applied: AppliedRequest[] = [];
  /** The true time until which the daemon may have believed a wrong clock, and have deleted outcomes too early. */
  private doubtUntilMs = -Infinity;
  /** Whether the daemon believes a clock that is ahead: after an hour, or after a start. */
  private isBelieved = false;
  /** The latest time that a clock showed which was ahead by up to a day. */
  private leadUntilMs = -Infinity;
  private cycleBeganMs = 0;
  private cycles = 0;
  private written = 0;

  constructor(private readonly options: RunOptions) {
    const { folder, seed, preload } = options;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.random = new Random(seed);
    this.machine = new ClockFile(join(folder, "machine.clock"));
    this.clientClock = new ClockFile(join(folder, "client.clock"));
    this.right = new ClockFile(join(folder, "right.clock"));
    this.data = join(folder, "data");
    const args = ["--outcome-max-count", String(MAX_COUNT), "--log-level", "warn"];
    this.daemon = new DaemonProcess({ main: DAEMON, data: this.data, args, env: this.machine.environment(preload) });
  }

  get trueMs(): number {
    return this.machine.trueMs;
  }

  get machineMs(): number {
    return this.machine.nowMs;
  }

  noteApplied(request: AppliedRequest): void {
    this.applied.push(request);
    this.written += 1;
  }

  count(event: string): void {
    this.events.add(event);
  }

  mustKeep({ id, timeMs, appliedAtMs }: AppliedRequest): boolean {
    if (appliedAtMs <= this.doubtUntilMs || this.trueMs - timeMs > MAX_AGE_MS - MINUTE_MS) return false;
    return this.applied.filter((other) => other.id > id).length < MAX_COUNT;
  }

  async run(): Promise<RunReport> {
    const { folder, seed } = this.options;
    const startedAt = performance.now();
    let client: JumpingClient | undefined;
    let store: BoltholeStore | undefined;
    try {
      await this.daemon.start();
      store = await connect(this.daemon.target, { timeoutMs: CALL_MS });
      client = new JumpingClient(this.daemon.target, this.clientClock, seed, this.violations);
      const { versioned } = store;
      const callers = CLOCKS.map(
        (clock, index) => new Caller(clock, versioned, this, new Random(seed * 100 + index), this.violations),
      );
      while (hasNextCycle(this.options, this.cycles, this.violations)) await this.cycle(store, callers, client);
    } finally {
      client?.end();
      await store?.close();
      await this.daemon.stop("SIGKILL");
      writeFileSync(join(folder, "daemon.log"), this.daemon.output);
      for (const file of [this.machine, this.clientClock, this.right]) file.close();
    }
    return this.report(secondsSince(startedAt), client.written);
  }

  private async cycle(store: BoltholeStore, callers: readonly Caller[], client: JumpingClient): Promise<void> {
    const scene = SCENES[(this.options.seed + this.cycles) % SCENES.length] ?? "jump";
    this.cycles += 1;
    this.cycleBeganMs = this.trueMs;
    const writtenBefore = this.written;
    const clientBefore = client.written;
    try {
      await writing(callers, async () => {
        await this.untilWritten(callers, client, WRITES_BEFORE, "before a jump");
        if (this.violations.all.length === 0) await this.play(scene, store);
        this.correct();
        this.clientClock.correct();
      });
      // No caller writes meanwhile: an operator gives up the requests that were sent before.
      await this.recover(store, callers);
      await writing(callers, () => this.untilWritten(callers, client, WRITES_AFTER, `after the scene "${scene}"`));
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.violations.add("restart", "", text.slice(-2000));
    }
    if (this.violations.all.length === 0) {
      for (const caller of callers) await caller.settle();
      await client.compare(store, this.violations);
    }
    this.events.add(scene);
    const facts = {
      cycle: this.cycles,
      scene,
      acknowledged: this.written - writtenBefore + client.written - clientBefore,
      violations: this.violations.all.length,
    };
    const counts = `${String(facts.acknowledged)} acknowledged, ${String(facts.violations)} violations`;
    this.options.onCycle(facts, `cycle ${String(this.cycles)} (${scene}): ${counts}`);
  }

  private async play(scene: Scene, store: BoltholeStore): Promise<void> {
    const jumpMs = this.random.pick(JUMPS_MS) * (this.random.oneIn(3) ? -1 : 1);
    this.clientClock.jump(this.random.pick(JUMPS_MS) * this.random.pick([1, -1, 0]));
    switch (scene) {
      case "jump":
        this.jump(jumpMs);
        await this.passed(PRUNED_AFTER_MS);
        break;
      case "jump and restart":
        this.jump(jumpMs);
        await this.passed(PRUNED_AFTER_MS);
        await this.restart();
        await this.passed(PRUNED_AFTER_MS);
        break;
      case "long jump":
        this.jump(jumpMs);
        // The daemon believes the clock after an hour, and deletes by it what is a day old.
        for (let step = 0; step < 7; step += 1) await this.passed(10 * MINUTE_MS);
        await this.passed(DAY_MS + HOUR_MS);
        if (this.random.oneIn(2)) await this.restart();
        await this.passed(PRUNED_AFTER_MS);
        break;
      case "start":
        await this.restart(() => {
          this.jump(jumpMs);
        });
        await this.passed(PRUNED_AFTER_MS);
        await this.restart(() => {
          this.correct();
        });
        break;
      case "flood":
        await this.flood(store);
    }
  }

  /** Seals ids that were never used: more than the store keeps, as far ahead as is accepted, and further. */
  private async flood(store: BoltholeStore): Promise<void> {
    const leadMs = this.random.pick([0, 2 * MINUTE_MS, 5 * MINUTE_MS - 10 * SECOND_MS]);
    for (let sealed = 0; sealed < FLOOD; sealed += FLOOD_TOGETHER) {
      const timeMs = this.trueMs + leadMs;
      const ids = Array.from({ length: FLOOD_TOGETHER }, () => withTime(freshId(), timeMs));
      await Promise.all(ids.map((requestId) => store.versioned.getCommit({ requestId, seal: true })));
    }
    await this.sealTooFar(store);
    this.events.add("sealed ids", FLOOD);
    // Until the time of all these ids has come, and the outcomes before them are older than a minute.
    await this.passed(11 * MINUTE_MS);
    await this.passed(PRUNED_AFTER_MS);
  }

  /** Checks that an id an hour ahead is refused, unless the clock was ahead by up to a day, so that living callers have such ids. */
  private async sealTooFar(store: BoltholeStore): Promise<void> {
    if (this.leadUntilMs > this.trueMs) return;
    const tooFar = { requestId: withTime(freshId(), this.trueMs + 59 * MINUTE_MS), seal: true };
    const refusal = await store.versioned.getCommit(tooFar).catch((error: unknown) => error);
    if (refusal instanceof StoreError && refusal.reason === "INVALID_ARGUMENT")
      this.events.add("ids too far ahead refused");
    else this.violations.add("stays in service", "", "an id that is 59 minutes ahead was sealed");
  }

  private jump(ms: number): void {
    this.isDisturbed = true;
    this.changes += 1;
    this.machine.jump(ms);
    this.events.add(ms > 0 ? "jumps ahead" : "jumps back");
  }

  private correct(): void {
    const { errorMs } = this.machine;
    if (errorMs > 0 && this.isBelieved) this.doubtUntilMs = this.trueMs;
    if (errorMs > 0 && errorMs <= DAY_MS) this.leadUntilMs = Math.max(this.leadUntilMs, this.machineMs);
    this.isBelieved = false;
    this.machine.correct();
  }

  /** Lets time pass for everybody, and gives the daemon the time to see it. */
  private async passed(ms: number): Promise<void> {
    this.changes += 1;
    for (const file of [this.machine, this.clientClock, this.right]) file.pass(ms);
    if (ms >= 10 * MINUTE_MS && this.machine.errorMs > 0) this.isBelieved = true;
    await sleep(SEEN_MS);
  }

  private async restart(meanwhile?: () => void): Promise<void> {
    const signal = this.random.oneIn(2) ? "SIGKILL" : "SIGTERM";
    await this.daemon.stop(signal);
    meanwhile?.();
    if (this.machine.errorMs > 0) this.isBelieved = true;
    await this.daemon.start();
    this.events.add(`restarts by ${signal}`);
  }

  /**
   * Looks at the horizon after the clock was corrected. It may be above the true time only when outcomes were deleted under a clock that was ahead for
   * hours; then an operator sets it, as docs/operating.md says.
   */
  private async recover(store: BoltholeStore, callers: readonly Caller[]): Promise<void> {
    const mayBeAhead = this.doubtUntilMs > this.cycleBeganMs;
    // A deletion that began under the wrong clock may end later than the clock is corrected, and so may the responses before it.
    if (mayBeAhead) this.doubtUntilMs = this.trueMs;
    const { requestIdTimes } = await store.versioned.getServerInfo({});
    const horizonMs = requestIdTimes?.horizonMs ?? 0;
    const nowMs = this.trueMs;
    if (horizonMs > nowMs) {
      if (!mayBeAhead) {
        const text = `the horizon is ${String(horizonMs - nowMs)} ms ahead, although no clock was believed that was ahead`;
        this.violations.add("stays in service", "", text);
      }
      await this.setHorizon();
      for (const caller of callers) caller.giveUp(nowMs, horizonMs);
      this.events.add("horizons set by the operator");
    }
    // The horizon may be that near to the present: callers that are seconds behind are refused for these seconds.
    if (mayBeAhead) await this.passed(MINUTE_MS);
    this.isDisturbed = false;
    this.changes += 1;
  }

  private async setHorizon(): Promise<void> {
    const env = { ...process.env, ...this.right.environment() };
    await promisify(execFile)(process.execPath, [DAEMON, "horizon", "--data", this.data, "--set", "now"], { env });
  }

  /** Waits until every honest caller and the client have written so many times. */
  private async untilWritten(
    callers: readonly Caller[],
    client: JumpingClient,
    more: number,
    when: string,
  ): Promise<void> {
    const wanted = callers
      .filter(({ clock }) => clock.isHonest)
      .map((caller) => [caller, caller.written + more] as const);
    const late = () => wanted.filter(([caller, count]) => caller.written < count);
    const limit = performance.now() + RECOVERED_MS;
    while (late().length > 0 && this.violations.all.length === 0 && !this.options.interrupted.aborted) {
      if (performance.now() > limit) {
        const names = late().map(([caller]) => caller.clock.name);
        this.violations.add("stays in service", names.join(", "), `no writes within a minute ${when}`);
      }
      await sleep(POLL_MS);
    }
    if (this.violations.all.length > 0 || this.options.interrupted.aborted) return;
    if (!(await client.untilWritten(more))) {
      this.violations.add("stays in service", "client", `no writes within a minute ${when}`);
    }
  }

  private report(seconds: number, byClient: number): RunReport {
    return {
      kind: clock.name,
      seed: this.options.seed,
      cycles: this.cycles,
      seconds,
      violations: this.violations.all,
      acknowledged: this.written + byClient,
      events: this.events.toObject(),
      lines: [
        `${String(this.written)} acknowledged writes of ${String(CLOCKS.length)} callers, ${String(byClient)} of a client that jumps`,
        this.events.toString(),
      ],
    };
  }
}

/** Lets all callers write while `work` runs. */
async function writing(callers: readonly Caller[], work: () => Promise<void>): Promise<void> {
  const halt = new AbortController();
  const loops = callers.map((caller) => caller.run(halt.signal));
  // The loops are awaited below; without a handler a failure before that would end this process.
  for (const loop of loops) loop.catch(() => undefined);
  try {
    await work();
  } finally {
    halt.abort();
    await Promise.all(loops);
  }
}
