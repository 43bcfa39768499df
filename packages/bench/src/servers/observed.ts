import { renameSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector";
import { monitorEventLoopDelay } from "node:perf_hooks";

// eslint-disable-next-line @typescript-eslint/no-require-imports -- must be the same object that the daemon uses
import lmdb = require("lmdb");

/** The variable that names the script to run. */
export const OBSERVED_MAIN = "BENCH_OBSERVED_MAIN";
/** The variable that names the file for the figures, which are written at each SIGUSR2. */
export const FIGURES_FILE = "BENCH_FIGURES_FILE";
/** The variable that names the file for a CPU profile, which is written at the end. */
export const PROFILE_FILE = "BENCH_PROFILE_FILE";

/** Figures that can be measured only inside the process. */
export interface InnerFigures {
  /** The bytes of all values that were put into LMDB since the start. */
  readonly putBytes: number;
  /** The longest delay of the event loop since the last report. */
  readonly longestDelayMs: number;
}

const PROFILE_INTERVAL_US = 250;
/** The profile starts late, so that it leaves out loading and compiling. */
const PROFILE_START_MS = 5000;
const DELAY_RESOLUTION_MS = 2;

/** Counts the bytes of all values in calls of LMDB's `put`. */
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
  const delays = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS });
  delays.enable();
  process.on("SIGUSR2", () => {
    const longestDelayMs = Math.max(0, delays.max / 1e6 - DELAY_RESOLUTION_MS);
    delays.reset();
    const figures: InnerFigures = { putBytes: putBytes(), longestDelayMs };
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

/** Runs another script and reports figures about it. */
function main(script: string, figuresFile: string | undefined, profileFile: string | undefined): void {
  if (figuresFile !== undefined) reportWhenAsked(figuresFile);
  if (profileFile !== undefined) profile(profileFile);
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- the name of the script is a setting
  require(script);
}

if (require.main === module) {
  main(process.env[OBSERVED_MAIN] ?? "", process.env[FIGURES_FILE], process.env[PROFILE_FILE]);
}
