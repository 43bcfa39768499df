import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";

/** The variable that names the file for the figures, which are written at each SIGUSR2 and when the process ends. */
export const FIGURES_FILE = "BOLTHOLE_TEST_FIGURES";

/** Figures of a daemon or a command that can be measured only inside its process. */
export interface ProcessFigures {
  /** The longest delay of the event loop since the last report. */
  readonly longestDelayMs: number;
  /** The largest memory since the start, measured every 100 ms. Where it is known, without the pages of mapped files. */
  readonly peakMemoryMiB: number;
}

/** Returns the memory of this process. The pages of a mapped data file are those of the operating system's cache. */
function memoryBytes(): number {
  try {
    return Number(/RssAnon:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024;
  } catch {
    return process.memoryUsage.rss();
  }
}

const RESOLUTION_MS = 2;

// Loaded into a process with `node --require`, so it must not import the daemon.
const file = process.env[FIGURES_FILE];
// The daemon would report a variable that it does not know.
Reflect.deleteProperty(process.env, FIGURES_FILE);
if (file !== undefined) {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  let peakMemory = 0;
  const measure = (): void => {
    peakMemory = Math.max(peakMemory, memoryBytes());
  };
  setInterval(measure, 100).unref();
  const write = (): void => {
    measure();
    const figures: ProcessFigures = {
      longestDelayMs: Math.max(0, delays.max / 1e6 - RESOLUTION_MS),
      peakMemoryMiB: peakMemory / (1 << 20),
    };
    delays.reset();
    writeFileSync(`${file}.new`, JSON.stringify(figures));
    renameSync(`${file}.new`, file);
  };
  process.on("SIGUSR2", write);
  process.on("exit", write);
}
