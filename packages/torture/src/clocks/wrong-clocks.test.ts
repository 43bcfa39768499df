import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import { DaemonProcess } from "@bolthole/conformance/process";
import { type RequestIdTimes, StoreError } from "@bolthole/contract";
import { DAEMON } from "../daemon.js";
import { freshId } from "../load/records.js";
import { withTime } from "./caller.js";
import { ClockFile } from "./clock-file.js";

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const YEAR_MS = 365 * DAY_MS;
const LEAD_MS = 5 * MINUTE_MS;
const CALL_MS = 60_000;
const WAIT_MS = 60_000;

let folder: string;
let clock: ClockFile;
let daemons: DaemonProcess[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-wrong-clocks-"));
  clock = new ClockFile(join(folder, "clock"));
  daemons = [];
});
afterEach(async () => {
  for (const daemon of daemons) await daemon.stop("SIGKILL");
  clock.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Serves a data folder under the moved clock, and calls `use`. Returns what the daemon logged. */
async function serve(name: string, use: (store: BoltholeStore) => Promise<void>, ...args: string[]): Promise<string> {
  const data = join(folder, name);
  const daemon = new DaemonProcess({ main: DAEMON, data, args, env: clock.environment() });
  daemons.push(daemon);
  await daemon.start();
  const store = await connect(daemon.target, { timeoutMs: CALL_MS });
  try {
    await use(store);
  } finally {
    await store.close();
    await daemon.stop();
  }
  return daemon.output;
}

/** Runs `bolthole` under the moved clock. */
const bolthole = (...args: string[]): Promise<string> =>
  new Promise((resolve, reject) => {
    const env = { ...process.env, ...clock.environment() };
    execFile(process.execPath, [DAEMON, ...args], { env }, (error, stdout, stderr) => {
      if (error) reject(new Error(`bolthole ${args.join(" ")}: ${stdout}${stderr}`, { cause: error }));
      else resolve(stdout);
    });
  });

/** Writes as a caller that makes ids by its clock alone. Returns the reason of a refusal. */
async function write(store: BoltholeStore, requestId: string): Promise<string> {
  try {
    const written = { requestId, snapshot: Buffer.from(requestId) };
    const { replayed } = await store.versioned.persistAuthOauthFlowSnapshot(written);
    return replayed ? "replayed" : "applied";
  } catch (error) {
    if (error instanceof StoreError) return error.reason;
    throw error;
  }
}

const idAt = (timeMs: number): string => withTime(freshId(), timeMs);

async function timesOf(store: BoltholeStore): Promise<RequestIdTimes> {
  const { requestIdTimes } = await store.versioned.getServerInfo({});
  if (!requestIdTimes) throw new Error("the store reports no times");
  return requestIdTimes;
}

/** Waits until the daemon has deleted outcomes, so that the horizon fulfils a condition. */
async function untilHorizon(store: BoltholeStore, isReached: (horizonMs: number) => boolean): Promise<number> {
  for (const limit = performance.now() + WAIT_MS; performance.now() < limit;) {
    const { horizonMs } = await timesOf(store);
    if (isReached(horizonMs)) return horizonMs;
    await sleep(50);
  }
  throw new Error("the horizon did not move");
}

// 250,400 seals with a limit of 250,000 outcomes, divided by 100.
const MAX_COUNT = 2500;
const SEALS = 2504;

test("a flood of seals moves the horizon above no caller with a correct clock, and displaces no outcome of a request", async () => {
  const log = await serve(
    "data",
    async (store) => {
      const honest = Array.from({ length: 20 }, () => idAt(clock.trueMs));
      for (const id of honest) expect(await write(store, id)).toBe("applied");
      const seal = (timeMs: number) => store.versioned.getCommit({ requestId: idAt(timeMs), seal: true });
      await expect(seal(clock.trueMs + 59 * MINUTE_MS)).rejects.toMatchObject({ reason: "INVALID_ARGUMENT" });
      const latestMs = clock.trueMs + LEAD_MS - MINUTE_MS;
      for (let sealed = 0; sealed < SEALS; sealed += 8) {
        await Promise.all(Array.from({ length: 8 }, () => seal(latestMs)));
      }
      expect(await write(store, idAt(clock.trueMs))).toBe("applied");
      // The time of all these ids comes, and passes.
      clock.pass(LEAD_MS + LEAD_MS + MINUTE_MS);
      expect(await untilHorizon(store, (horizonMs) => horizonMs > 0)).toBeLessThanOrEqual(clock.trueMs - LEAD_MS);
      expect(await write(store, idAt(clock.trueMs))).toBe("applied");
      for (const id of honest) expect(await write(store, id)).toBe("replayed");
    },
    ...["--outcome-max-count", String(MAX_COUNT)],
  );
  expect(log).toMatch(/"displacedSeals":\d+,"message":"the horizon moved: /);
});

test("a store that ran under a clock a year ahead is usable after one command of the operator", async () => {
  clock.jump(YEAR_MS);
  await serve("data", async (store) => {
    expect(await write(store, idAt(clock.nowMs))).toBe("applied");
    clock.pass(DAY_MS + HOUR_MS);
    await untilHorizon(store, (horizonMs) => horizonMs > clock.trueMs);
  });
  clock.correct();

  // Clients that read the horizon go on, and others are refused, after a restart and after a restore.
  const refused = async (store: BoltholeStore): Promise<void> => {
    expect(await write(store, idAt(clock.trueMs))).toBe("REQUEST_ID_EXPIRED");
    await store.commitMachineLifecycle("by the rule", { runtimeState: "running", binding: {} }, []);
  };
  const log = await serve("data", refused);
  expect(log).toMatch(
    /"level":40,.*"message":"the horizon is 36\d days above the clock: .*bolthole horizon --set now"/,
  );
  await bolthole("backup", join(folder, "copy"), "--data", join(folder, "data"));
  const restored = await bolthole("restore", join(folder, "copy"), "--data", join(folder, "restored"));
  expect(restored).toMatch(/^clock: 36\d days before the last commit in the backup/m);
  expect(await serve("restored", refused)).toContain("days above the clock");

  for (const name of ["data", "restored"]) {
    const resetLog = await serve(name, async (store) => {
      expect(await bolthole("horizon", "--data", join(folder, name))).toContain("days above the clock of this machine");
      await bolthole("horizon", "--data", join(folder, name), "--set", "now");
      expect(await write(store, idAt(clock.trueMs))).toBe("applied");
      const { latestMs } = await timesOf(store);
      expect(latestMs).toBeLessThanOrEqual(clock.trueMs + LEAD_MS);
    });
    expect(resetLog).toContain("an operator set the horizon lower");
    const restarted = await serve(name, async (store) => {
      expect(await write(store, idAt(clock.trueMs))).toBe("applied");
    });
    expect(restarted).not.toContain('"level":40');
  }
  // The year is forgotten: a further restore refuses callers for an hour, as any restore does.
  await bolthole("backup", join(folder, "copy2"), "--data", join(folder, "restored"));
  expect(await bolthole("restore", join(folder, "copy2"), "--data", join(folder, "again"))).not.toContain("clock:");
  const { horizon } = JSON.parse(await bolthole("horizon", "--data", join(folder, "again"), "--json")) as {
    horizon: string;
  };
  expect(Date.parse(horizon)).toBeLessThanOrEqual(clock.trueMs + HOUR_MS + 1);
});

test("a start in 1970 is reported, and so is a clock that jumps", async () => {
  clock.jump(-clock.nowMs);
  const log = await serve("data", async (store) => {
    await store.versioned.getServerInfo({});
    clock.correct();
    // An interval of the daemon has passed.
    clock.pass(MINUTE_MS);
    const limit = performance.now() + WAIT_MS;
    while (!daemons[0]?.output.includes("the clock went ahead by") && performance.now() < limit) await sleep(50);
  });
  expect(log).toContain("the clock cannot be right");
  expect(log).toMatch(/the clock went ahead by 20\d\d\d days/);
});
