import type { HorizonMove } from "@bolthole/core";
import { SimulatedClock } from "@bolthole/core/testing";
import { ClockLog, duration } from "./clock-log.js";
import type { Log } from "./log.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

let clock: SimulatedClock;
let lines: { readonly level: string; readonly facts: object; readonly text: string }[];
let clocks: ClockLog;
beforeEach(() => {
  clock = new SimulatedClock(Date.UTC(2026, 10, 30));
  lines = [];
  const line = (level: string) => (facts: object, text: string) => {
    lines.push({ level, facts, text });
  };
  clocks = new ClockLog({ info: line("info"), warn: line("warn") } as unknown as Log, clock);
});

const started = (times: { readonly horizonMs?: number; readonly lastCommitMs?: number }): string[] => {
  clocks.started({ nowMs: clock.now(), horizonMs: 0, lastCommitMs: 0, ...times });
  return lines.map(({ text }) => text);
};

test("a start under a clock that can be right logs nothing", () => {
  expect(started({})).toEqual([]);
  expect(started({ horizonMs: clock.now() - DAY_MS, lastCommitMs: clock.now() - MINUTE_MS })).toEqual([]);
  expect(started({ lastCommitMs: clock.now() + MINUTE_MS })).toEqual([]);
});

test("a start in 1970 is reported", () => {
  clock.jump(-clock.now());
  expect(started({})).toEqual([expect.stringContaining("the clock cannot be right")]);
});

test("a start below the horizon that a restore has set is no warning", () => {
  started({ horizonMs: clock.now() + 60 * MINUTE_MS });
  expect(lines.map(({ level, text }) => [level, text])).toEqual([
    ["info", expect.stringContaining("60 minutes above the clock: after a restore")],
  ]);
});

test("a start before a commit of the store, and below its horizon, is reported", () => {
  const aheadMs = 365 * DAY_MS;
  expect(started({ horizonMs: clock.now() + aheadMs - DAY_MS, lastCommitMs: clock.now() + aheadMs })).toEqual([
    expect.stringMatching(/365 days before a commit .* bolthole horizon --set now$/),
    expect.stringMatching(/the horizon is 364 days above the clock.* bolthole horizon --set now$/),
  ]);
  expect(lines[0]?.facts).toEqual({
    clock: "2026-11-30T00:00:00.000Z",
    lastCommit: "2027-11-30T00:00:00.000Z",
    horizon: "2027-11-29T00:00:00.000Z",
  });
});

test("a start long after the last commit is reported", () => {
  expect(started({ lastCommitMs: clock.now() - 365 * DAY_MS })).toEqual([
    expect.stringContaining("365 days after the last commit"),
  ]);
});

test("a jump of the clock is reported once, and time that passes is not", () => {
  clock.pass(HOUR_MS);
  clocks.compare();
  clock.jump(5000);
  clocks.compare();
  expect(lines).toEqual([]);
  clock.jump(HOUR_MS);
  clocks.compare();
  clocks.compare();
  clock.jump(-DAY_MS);
  clocks.compare();
  expect(lines.map(({ text }) => text)).toEqual([
    expect.stringContaining("the clock went ahead by 60 minutes"),
    "the clock went back by 24 hours",
  ]);
});

const move = (changes: Partial<HorizonMove>): HorizonMove => ({
  fromMs: clock.now() - 2 * DAY_MS,
  toMs: clock.now() - DAY_MS,
  cause: "retention",
  aged: 0,
  displaced: 0,
  displacedSeals: 0,
  ...changes,
});

test("changes of the horizon are logged with their sums: the first at once, and the others hourly", () => {
  clocks.horizonMoved(move({ aged: 1 }));
  clocks.horizonMoved(move({ aged: 2, fromMs: clock.now() - DAY_MS, toMs: clock.now() - HOUR_MS }));
  expect(lines).toMatchObject([{ level: "info", facts: { aged: 1 } }]);
  clock.pass(HOUR_MS);
  clocks.horizonMoved(move({ aged: 3, fromMs: clock.now() - HOUR_MS, toMs: clock.now() }));
  expect(lines[1]).toMatchObject({ level: "info", facts: { aged: 5, to: new Date(clock.now()).toISOString() } });
  // A new kind of event does not wait for the hour of the other one.
  clocks.horizonMoved(move({ displacedSeals: 7 }));
  expect(lines[2]).toMatchObject({ level: "warn", facts: { displacedSeals: 7 } });
  clocks.horizonMoved(move({ displaced: 8 }));
  expect(lines).toHaveLength(3);
  clocks.flush();
  clocks.flush();
  expect(lines.slice(3)).toMatchObject([{ level: "warn", facts: { displaced: 8, displacedSeals: 0 } }]);
});

test("every change by an operator is logged, with its effect", () => {
  clocks.horizonMoved(move({ cause: "operator" }));
  clocks.horizonMoved(move({ cause: "operator", fromMs: clock.now(), toMs: clock.now() - HOUR_MS }));
  expect(lines.map(({ text }) => text)).toEqual([
    expect.stringContaining("set the horizon higher"),
    expect.stringContaining("set the horizon lower"),
  ]);
});

test("lengths of time are named in a unit of which they have at least two", () => {
  expect([1000, 119_000, 120_000, 2 * HOUR_MS, 47 * HOUR_MS, 2 * DAY_MS].map(duration)).toEqual([
    "1 seconds",
    "119 seconds",
    "2 minutes",
    "2 hours",
    "47 hours",
    "2 days",
  ]);
});
