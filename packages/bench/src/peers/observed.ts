import { renameSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector";
import { monitorEventLoopDelay } from "node:perf_hooks";
// eslint-disable-next-line @typescript-eslint/no-require-imports -- the very object that the daemon sees
import lmdb = require("lmdb");

/** The script to run. */
export const OBSERVED_MAIN = "BENCH_OBSERVED_MAIN";
/** Where the figures are to be written at each SIGUSR2, if anywhere. */
export const FIGURES_FILE = "BENCH_FIGURES_FILE";
/** Where a CPU profile is to be written at the end, if anywhere. */
export const PROFILE_FILE = "BENCH_PROFILE_FILE";

/** What only the inside of a process knows. */
export interface InnerFigures {
  /** Bytes of values that were handed to LMDB since the start. */
  readonly putBytes: number;
  /** The longest time that the event loop was held, since the last time anybody asked. */
  readonly longestHoldMs: number;
}

const PROFILE_INTERVAL_US = 250;
/** Loading and compiling the program is not what anybody asks about. */
const PROFILE_START_MS = 5000;
const HOLD_RESOLUTION_MS = 2;

/** Counts the values that go into LMDB, at LMDB's own door. */
function countPuts(): () => number {
  let bytes = 0;
  const { open } = lmdb;
  const counting = (...args: unknown[]): unknown => {
    const db = (open as (...args: unknown[]) => { put: (...args: unknown[]) => unknown })(...args);
    const put = db.put.bind(db);
    db.put = (...putArgs) => {
      const [, value] = putArgs;
      if (value instanceof Uint8Array) bytes += value.length;
      return put(...putArgs);
    };
    return db;
  };
  Object.defineProperty(lmdb, "open", { value: counting });
  return () => bytes;
}

function reportWhenAsked(file: string): void {
  const putBytes = countPuts();
  const delays = monitorEventLoopDelay({ resolution: HOLD_RESOLUTION_MS });
  delays.enable();
  process.on("SIGUSR2", () => {
    const longestHoldMs = Math.max(0, delays.max / 1e6 - HOLD_RESOLUTION_MS);
    delays.reset();
    const figures: InnerFigures = { putBytes: putBytes(), longestHoldMs };
    writeFileSync(`${file}.new`, JSON.stringify(figures));
    renameSync(`${file}.new`, file);
  });
}

function profile(file: string): void {
  const session = new Session();
  session.connect();
  session.post("Profiler.enable");
  session.post("Profiler.setSamplingInterval", { interval: PROFILE_INTERVAL_US });
  setTimeout(() => {
    session.post("Profiler.start");
    process.once("exit", () => {
      session.post("Profiler.stop", (error, result) => {
        if (!error) writeFileSync(file, JSON.stringify(result.profile));
      });
    });
  }, PROFILE_START_MS).unref();
}

/** Runs another script, and tells what goes on inside it. */
function main(script: string, figuresFile: string | undefined, profileFile: string | undefined): void {
  if (figuresFile !== undefined) reportWhenAsked(figuresFile);
  if (profileFile !== undefined) profile(profileFile);
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- the script is known only now
  require(script);
}

if (require.main === module) {
  main(process.env[OBSERVED_MAIN] ?? "", process.env[FIGURES_FILE], process.env[PROFILE_FILE]);
}
