import { SimulatedClock } from "@bolthole/core/testing";
import { RequestIds } from "./request-ids.js";

const START_MS = Date.UTC(2026, 0, 1);
const HOUR_MS = 60 * 60 * 1000;
const DAY_MS = 24 * HOUR_MS;

const timeOf = (requestId: string): number => Number.parseInt(requestId.slice(0, 8) + requestId.slice(9, 13), 16);

/** Returns the times of a store whose clock is right. */
const timesAt = (storeTimeMs: number, horizonMs = 0) => ({ horizonMs, storeTimeMs, latestMs: storeTimeMs + HOUR_MS });

let clock: SimulatedClock;
let ids: RequestIds;
beforeEach(() => {
  clock = new SimulatedClock(START_MS);
  ids = new RequestIds(clock);
});

test("an id has the time of the clock, and ids of one time differ", () => {
  expect(timeOf(ids.next())).toBe(START_MS);
  expect(ids.next()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(new Set(Array.from({ length: 1000 }, () => ids.next())).size).toBe(1000);
});

test("an id has the time of the clock again when the clock was corrected", () => {
  clock.jump(2 * HOUR_MS);
  expect(timeOf(ids.next())).toBe(START_MS + 2 * HOUR_MS);
  clock.jump(-2 * HOUR_MS);
  expect(timeOf(ids.next())).toBe(START_MS);
});

test("an id is never below the largest horizon of the store", () => {
  ids.learn(timesAt(START_MS + 100, START_MS + 100));
  ids.learn(timesAt(START_MS + 100, START_MS + 50));
  expect(timeOf(ids.next())).toBe(START_MS + 100);
  clock.pass(200);
  expect(timeOf(ids.next())).toBe(START_MS + 200);
});

test("a horizon that an operator lowered replaces the one before", () => {
  ids.learn(timesAt(START_MS + DAY_MS, START_MS + DAY_MS));
  expect(timeOf(ids.next())).toBe(START_MS + DAY_MS);
  ids.learn(timesAt(START_MS, 0));
  expect(timeOf(ids.next())).toBe(START_MS);
});

test.each([365 * DAY_MS, -365 * DAY_MS, -45_000])(
  "a clock that is wrong by %d ms gives way to the store time",
  (error) => {
    clock.jump(error);
    ids.learn(timesAt(START_MS));
    expect(timeOf(ids.next())).toBe(START_MS);
    clock.pass(5000);
    expect(timeOf(ids.next())).toBe(START_MS + 5000);
    clock.jump(-error);
    expect(timeOf(ids.next())).toBe(START_MS + 5000);
    clock.pass(1000);
    expect(timeOf(ids.next())).toBe(START_MS + 6000);
  },
);

test("a clock is trusted again when the store accepts its time", () => {
  clock.jump(DAY_MS);
  ids.learn(timesAt(START_MS));
  expect(timeOf(ids.next())).toBe(START_MS);
  ids.learn(timesAt(START_MS + DAY_MS));
  expect(timeOf(ids.next())).toBe(START_MS + DAY_MS);
});
