import { SimulatedClock } from "../testing/simulated-clock.js";
import { StoreTime } from "./store-time.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const LEAD_MS = 5 * MINUTE_MS;

let clock: SimulatedClock;
beforeEach(() => {
  clock = new SimulatedClock();
});

/** Lets time pass in minutes, and returns the last store time. */
function passed(time: StoreTime, ms: number, stored = { horizonMs: 0, clockMs: 0 }): number {
  for (let left = ms; left > 0; left -= MINUTE_MS) {
    clock.pass(Math.min(left, MINUTE_MS));
    time.times(stored);
  }
  return time.times(stored).storeTimeMs;
}

test("the store time is that of a clock that does not jump", () => {
  const time = new StoreTime(clock);
  expect(passed(time, 3 * DAY_MS)).toBe(clock.now());
});

test("the store time follows a clock that was set back immediately", () => {
  const time = new StoreTime(clock);
  passed(time, HOUR_MS);
  clock.jump(-DAY_MS);
  expect(time.times({ horizonMs: 0, clockMs: 0 }).storeTimeMs).toBe(clock.now());
});

test("the store time follows a clock that is ahead when an hour has passed", () => {
  const time = new StoreTime(clock);
  passed(time, HOUR_MS);
  clock.jump(DAY_MS);
  expect(passed(time, 59 * MINUTE_MS)).toBe(clock.now() - DAY_MS);
  expect(passed(time, 2 * MINUTE_MS)).toBe(clock.now());
});

test("a small lead of the clock does not shorten the hour of a large one", () => {
  const time = new StoreTime(clock);
  passed(time, HOUR_MS);
  clock.jump(1);
  passed(time, 55 * MINUTE_MS);
  clock.jump(DAY_MS);
  expect(passed(time, 30 * MINUTE_MS)).toBeLessThanOrEqual(clock.now() - DAY_MS);
});

test("a store that starts trusts the clock up to the latest time of a commit", () => {
  const clockMs = clock.now();
  clock.jump(365 * DAY_MS);
  const time = new StoreTime(clock);
  expect(time.times({ horizonMs: 0, clockMs }).storeTimeMs).toBe(clockMs);
  clock.jump(-366 * DAY_MS);
  expect(new StoreTime(clock).times({ horizonMs: 0, clockMs }).storeTimeMs).toBe(clock.now());
});

test("while the clock is below the horizon, the store time advances from the horizon at half speed", () => {
  const stored = { horizonMs: clock.now() + 2 * DAY_MS, clockMs: 0 };
  const time = new StoreTime(clock);
  expect(time.times(stored).storeTimeMs).toBe(stored.horizonMs);
  expect(passed(time, DAY_MS, stored)).toBe(stored.horizonMs + DAY_MS / 2);
  // The pruner moves the horizon, and the store time goes on.
  expect(passed(time, HOUR_MS, { ...stored, horizonMs: stored.horizonMs + HOUR_MS })).toBe(
    stored.horizonMs + DAY_MS / 2 + HOUR_MS / 2,
  );
  // An operator sets a lower horizon.
  expect(time.times({ ...stored, horizonMs: clock.now() + HOUR_MS }).storeTimeMs).toBe(clock.now() + HOUR_MS);
  expect(passed(time, 3 * HOUR_MS, { ...stored, horizonMs: clock.now() + HOUR_MS })).toBe(clock.now());
});

test("ids are accepted up to five minutes above the clock, the store time, and a commit of the last day", () => {
  const at = (clockMs: number, horizonMs = 0) =>
    new StoreTime(clock).times({ horizonMs, clockMs }).latestMs - clock.now();
  expect(at(0)).toBe(LEAD_MS);
  expect(at(clock.now() - DAY_MS)).toBe(LEAD_MS);
  expect(at(clock.now() + 2 * HOUR_MS)).toBe(2 * HOUR_MS + LEAD_MS);
  expect(at(clock.now() + DAY_MS)).toBe(DAY_MS + LEAD_MS);
  // A clock that was a year ahead was wrong.
  expect(at(clock.now() + 365 * DAY_MS)).toBe(LEAD_MS);
  expect(at(0, clock.now() + 365 * DAY_MS)).toBe(365 * DAY_MS + LEAD_MS);
});
