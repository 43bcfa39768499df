import { type RequestIdTimes, StoreError } from "@bolthole/contract";
import { timeOfRequest } from "../commit/request-id.js";
import { type EngineStore, createEngineStore } from "../engine-store.js";
import type { Engine } from "../engine.js";
import type { Random } from "./random.js";
import { requestIdAt } from "./request-ids.js";
import { RequestModel, type ResponseKind, type StatusKind } from "./request-model.js";
import { SimulatedCaller } from "./simulated-caller.js";
import { SimulatedClock } from "./simulated-clock.js";

/** The storage under a simulated store. */
export interface SimulatedStorage {
  /** Opens the stored data. The engine that was opened before is closed. */
  open(): Promise<Engine>;
  backUp(): Promise<void>;
  /** Closes the engine and replaces the data by the last backup, as a restore does. Returns the horizon. */
  restore(nowMs: number): Promise<number>;
}

/** The frequencies of the steps that are slow on a disk, and the bounds of the store. */
export interface SimulationOptions {
  readonly random: Random;
  readonly storage: SimulatedStorage;
  readonly maxCount: number;
  /** One step in this many is a restart, a backup or a restore. */
  readonly rareSteps: number;
}

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const YEAR_MS = 365 * DAY_MS;

const MAX_AGE_MS = DAY_MS;
/** The youngest outcomes, which are kept whatever their number is. */
const LEAST_AGE_MS = MINUTE_MS;
/** The time after which the store follows a clock that is ahead. Time passes in steps of this size at most. */
const CONFIRMATION_MS = HOUR_MS;
const LARGEST_STEP_MS = 10 * MINUTE_MS;

const JUMPS_MS = [
  3 * SECOND_MS,
  40 * SECOND_MS,
  7 * MINUTE_MS,
  50 * MINUTE_MS,
  3 * HOUR_MS,
  2 * DAY_MS,
  YEAR_MS,
] as const;
const PAUSES_MS = [1, 20, SECOND_MS, 30 * SECOND_MS, 5 * MINUTE_MS, 2 * HOUR_MS, 11 * HOUR_MS] as const;

/** The latest errors of a store's clock by which it may have deleted outcomes of honest callers too early. */
interface Doubt {
  /** The true time until which the store time may have been wrong. Outcomes after it must be kept as long as is promised. */
  untilMs: number;
  /** The true time since which the clock of the store has been ahead. */
  aheadSinceMs: number | undefined;
  /** Whether there ever was a reason for a store time that is ahead: a clock that stayed ahead, a start under it, or an operator. */
  isExcused: boolean;
}

/**
 * Runs one store and several callers, each with a clock that jumps, and compares every response with a model. Throws an error
 * that names the step when a request is executed twice, a final response does not stay final, an outcome is deleted too early,
 * or a caller with a correct clock is refused.
 *
 * The true time is that of `truth`; the store and the callers never see it.
 */
export class ClockSimulation {
  readonly counts = {
    retained: 0,
    executed: 0,
    replayed: 0,
    expired: 0,
    ahead: 0,
    sealed: 0,
    jumps: 0,
    restarts: 0,
    restores: 0,
  };
  private readonly truth = new SimulatedClock();
  private readonly storeClock = new SimulatedClock();
  private readonly model = new RequestModel();
  private readonly callers: readonly SimulatedCaller[];
  private readonly doubt: Doubt = { untilMs: -Infinity, aheadSinceMs: undefined, isExcused: false };
  private store: EngineStore | undefined;
  private serial = 0;
  private hasBackup = false;

  constructor(private readonly options: SimulationOptions) {
    this.callers = [
      new SimulatedCaller("honest", true, this.truth),
      new SimulatedCaller("plain", false, this.truth),
      new SimulatedCaller("ahead", false, new SimulatedClock(this.truth.now() + 4 * MINUTE_MS)),
      new SimulatedCaller("jumping", true, new SimulatedClock()),
      new SimulatedCaller("jumping without the rule", false, new SimulatedClock()),
      new SimulatedCaller("never back", false, new SimulatedClock(), true),
    ];
  }

  async run(steps: number): Promise<void> {
    await this.start();
    for (let step = 0; step < steps; step += 1) {
      try {
        await this.step();
      } catch (error) {
        throw new Error(
          `step ${String(step)}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
        );
      }
    }
  }

  private async step(): Promise<void> {
    const { random, rareSteps } = this.options;
    if (random.below(rareSteps) === 0) return this.rareStep();
    const kind = random.below(100);
    if (kind < 55) return this.newRequest(this.pickCaller());
    if (kind < 72) return this.repeat();
    if (kind < 80) return this.ask();
    if (kind < 92) return this.pass(random.pick(PAUSES_MS));
    if (kind < 96) return this.prune();
    this.jump();
  }

  private async rareStep(): Promise<void> {
    const kind = this.options.random.below(20);
    if (kind < 10) return this.start();
    if (kind < 14) {
      await this.options.storage.backUp();
      this.model.backUp();
      this.hasBackup = true;
      return;
    }
    if (kind < 18) return this.hasBackup ? this.restore() : undefined;
    return this.setHorizon();
  }

  private pickCaller(): SimulatedCaller {
    return this.callers[this.options.random.below(this.callers.length)] ?? this.honest;
  }

  private get honest(): SimulatedCaller {
    const [honest] = this.callers;
    if (!honest) throw new TypeError("there are no callers");
    return honest;
  }

  private get opened(): EngineStore {
    if (!this.store) throw new TypeError("the store is not open");
    return this.store;
  }

  private async times(): Promise<RequestIdTimes> {
    const { requestIdTimes } = await this.opened.getServerInfo({});
    if (!requestIdTimes) throw new TypeError("the store reports no times");
    const { horizonMs, storeTimeMs, latestMs } = requestIdTimes;
    if (horizonMs > storeTimeMs || storeTimeMs > latestMs)
      throw new Error(`times without order: ${describe(requestIdTimes)}`);
    if (horizonMs < this.model.horizonMs) throw new Error(`the horizon went back to ${describe(requestIdTimes)}`);
    if (storeTimeMs > this.truth.now()) {
      if (!this.doubt.isExcused) throw new Error(`the store time is ahead: ${describe(requestIdTimes)}`);
      this.doubt.untilMs = this.truth.now();
    }
    this.model.horizonMs = horizonMs;
    return requestIdTimes;
  }

  // The steps of callers.

  private async newRequest(caller: SimulatedCaller): Promise<void> {
    this.serial += 1;
    const id = requestIdAt(caller.timeOfId(), this.serial);
    const refused = await this.request(caller, id);
    if (!refused) return;
    const isHonest = caller === this.honest;
    if (caller.followsRule) {
      caller.learn(refused);
      this.serial += 1;
      const again = await this.request(caller, requestIdAt(caller.timeWithin(refused), this.serial));
      if (again && isHonest) throw new Error(`an honest caller was refused twice: ${describe(again)}`);
    } else if (caller.name === "plain") {
      // The horizon is above the true time only for the reasons that `Doubt` has.
      const isBehind = refused.latestMs < this.truth.now();
      if (!isBehind && refused.horizonMs <= this.truth.now())
        throw new Error(`a correct clock was refused: ${describe(refused)}`);
    }
  }

  /** Sends a request, and compares the response with the model. Returns the times when the id was refused because of its time. */
  private async request(caller: SimulatedCaller, requestId: string): Promise<RequestIdTimes | undefined> {
    const times = await this.times();
    const expected = this.model.expect(requestId, times);
    const found = await this.send(requestId);
    if (!expected.includes(found.kind)) {
      const problem = `expected ${expected.join(" or ")}, found ${found.kind}`;
      throw new Error(`${caller.name}, request ${requestId}: ${problem}; ${describe(times)}`);
    }
    this.count(found.kind);
    this.model.record(requestId, found.kind);
    if (found.kind === "executed" && timeOfRequest(requestId) === this.truth.now()) this.model.honest.add(requestId);
    return found.kind === "expired" || found.kind === "ahead" ? (found.times ?? times) : undefined;
  }

  private async send(
    requestId: string,
  ): Promise<{ readonly kind: ResponseKind; readonly times?: RequestIdTimes | undefined }> {
    try {
      const { replayed } = await this.opened.persistAuthOauthFlowSnapshot({
        requestId,
        snapshot: Buffer.from(requestId),
      });
      return { kind: replayed ? "replayed" : "executed" };
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      const times = error.subject.requestIdTimes;
      if (error.reason === "REQUEST_ID_EXPIRED") return { kind: "expired", times };
      if (error.reason === "REQUEST_ID_SEALED") return { kind: "sealed" };
      if (error.reason === "INVALID_ARGUMENT") return { kind: "ahead", times };
      throw error;
    }
  }

  /** A caller that lost a response repeats its request, or a late copy of a request arrives. */
  private async repeat(): Promise<void> {
    const requestId = this.model.pick(this.options.random);
    if (requestId === undefined) return;
    const refused = await this.request(this.pickCaller(), requestId);
    if (!this.mustBeKept(requestId)) return;
    if (refused) throw new Error(`the outcome of ${requestId} was deleted too early: ${describe(refused)}`);
    this.counts.retained += 1;
  }

  private async ask(): Promise<void> {
    const { random } = this.options;
    this.serial += 1;
    const known = random.below(3) > 0 ? this.model.pick(random) : undefined;
    const requestId = known ?? requestIdAt(this.pickCaller().timeOfId(), this.serial);
    const seal = random.below(2) === 0;
    const times = await this.times();
    const expected = this.model.expectStatus(requestId, times, seal);
    let found: StatusKind;
    try {
      found = (await this.opened.getCommit({ requestId, seal })).state;
    } catch (error) {
      if (!(error instanceof StoreError) || error.reason !== "INVALID_ARGUMENT") throw error;
      found = "ahead";
    }
    if (!expected.includes(found)) {
      const problem = `expected ${expected.join(" or ")}, found ${found}`;
      throw new Error(`the status of ${requestId}: ${problem}; ${describe(times)}`);
    }
    this.model.recordStatus(requestId, found);
  }

  /** Whether the retention of an outcome of a caller with a correct clock is not over, and the store had no wrong time since. */
  private mustBeKept(requestId: string): boolean {
    const madeAt = timeOfRequest(requestId);
    if (!this.model.honest.has(requestId) || madeAt <= this.doubt.untilMs) return false;
    const now = this.truth.now();
    if (now - madeAt > MAX_AGE_MS) return false;
    return now - madeAt <= LEAST_AGE_MS || this.model.newerThan(requestId, now) < this.options.maxCount;
  }

  // The steps of time.

  private async pass(ms: number): Promise<void> {
    const clocks = new Set([this.truth, this.storeClock, ...this.callers.map(({ clock }) => clock)]);
    for (let left = ms; left > 0; left -= LARGEST_STEP_MS) {
      for (const clock of clocks) clock.pass(Math.min(left, LARGEST_STEP_MS));
      this.noteStoreClock();
      if (left > LARGEST_STEP_MS) await this.prune();
    }
  }

  private async prune(): Promise<void> {
    await this.opened.prune();
    this.noteStoreClock();
    await this.times();
  }

  private jump(): void {
    const { random } = this.options;
    this.counts.jumps += 1;
    const jumping = this.callers.filter(({ clock, name }) => clock !== this.truth && name !== "ahead");
    const clocks = [this.storeClock, this.storeClock, ...jumping.map(({ clock }) => clock)];
    const clock = clocks[random.below(clocks.length)] ?? this.storeClock;
    // A clock that is wrong is corrected more often than it becomes more wrong.
    const error = clock.now() - this.truth.now();
    if (error !== 0 && random.below(3) > 0) clock.jump(-error);
    else clock.jump(random.pick(JUMPS_MS) * (random.below(2) === 0 ? 1 : -1));
    this.noteStoreClock();
  }

  private misled(): void {
    this.doubt.untilMs = this.truth.now();
    this.doubt.isExcused = true;
  }

  /** Takes note of a clock that the store may believe although it is ahead. */
  private noteStoreClock(): void {
    const now = this.truth.now();
    if (this.storeClock.now() <= now) this.doubt.aheadSinceMs = undefined;
    else this.doubt.aheadSinceMs ??= now;
    const { aheadSinceMs } = this.doubt;
    if (aheadSinceMs !== undefined && now - aheadSinceMs >= CONFIRMATION_MS - LARGEST_STEP_MS) this.misled();
  }

  // The steps of the operator.

  private async start(): Promise<void> {
    this.counts.restarts += 1;
    this.openStore(await this.options.storage.open());
    // A store that starts has nothing to compare the clock with.
    if (this.storeClock.now() > this.truth.now()) this.misled();
    await this.times();
  }

  private openStore(engine: Engine): void {
    const outcomeRetention = { maxCount: this.options.maxCount, maxAgeSeconds: MAX_AGE_MS / SECOND_MS };
    this.store = createEngineStore(engine, { clock: this.storeClock, outcomeRetention });
  }

  private async restore(): Promise<void> {
    this.counts.restores += 1;
    // An operator corrects a clock that is behind before a restore, and does not always notice one that is ahead.
    const errorMs = this.storeClock.now() - this.truth.now();
    if (errorMs < 0 || this.options.random.below(4) > 0) this.storeClock.jump(-errorMs);
    const horizonMs = await this.options.storage.restore(this.storeClock.now());
    // An older version accepted ids an hour ahead. No id of the lost time line is later, unless its clock was ahead after the backup.
    this.model.restore(this.truth.now() + HOUR_MS, horizonMs);
    this.misled();
    await this.start();
  }

  private async setHorizon(): Promise<void> {
    const { random } = this.options;
    const { horizonMs, latestMs } = await this.times();
    const chosen = Math.min(latestMs, Math.max(0, this.truth.now() - random.pick([0, HOUR_MS, 2 * DAY_MS])));
    const times = await this.opened.setHorizon({ horizonMs: chosen });
    if (times.horizonMs !== chosen) throw new Error(`expected the horizon ${String(chosen)}, found ${describe(times)}`);
    // Below the old horizon, the operator gave up every promise.
    if (chosen < horizonMs) this.model.giveUp(chosen, horizonMs);
    this.model.horizonMs = chosen;
    this.misled();
  }

  private count(kind: ResponseKind): void {
    this.counts[kind] += 1;
  }
}

const describe = ({ horizonMs, storeTimeMs, latestMs }: RequestIdTimes): string =>
  `horizon ${instant(horizonMs)}, store time ${instant(storeTimeMs)}, latest ${instant(latestMs)}`;

const instant = (ms: number): string => new Date(ms).toISOString();
