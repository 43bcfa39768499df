import { renameSync, writeFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";

/** The variable that names the file for the figures, which are written at each SIGUSR2. */
export const FIGURES_FILE = "BOLTHOLE_TEST_FIGURES";

/** Figures of a daemon that can be measured only inside its process. */
export interface DaemonFigures {
  /** The longest delay of the event loop since the last report. */
  readonly longestDelayMs: number;
  /** The largest resident memory since the start. */
  readonly peakMemoryMiB: number;
}

const RESOLUTION_MS = 2;

// Loaded into a daemon with `node --require`, so it must not import the daemon.
const file = process.env[FIGURES_FILE];
// The daemon would report a variable that it does not know.
Reflect.deleteProperty(process.env, FIGURES_FILE);
if (file !== undefined) {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  process.on("SIGUSR2", () => {
    const figures: DaemonFigures = {
      longestDelayMs: Math.max(0, delays.max / 1e6 - RESOLUTION_MS),
      peakMemoryMiB: process.resourceUsage().maxRSS / 1024,
    };
    delays.reset();
    writeFileSync(`${file}.new`, JSON.stringify(figures));
    renameSync(`${file}.new`, file);
  });
}
