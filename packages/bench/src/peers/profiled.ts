import { writeFileSync } from "node:fs";
import { Session } from "node:inspector";

/** Where the profile is to be written. */
export const PROFILE_FILE = "BENCH_PROFILE_FILE";
/** The script to run under the profiler. */
export const PROFILED_MAIN = "BENCH_PROFILED_MAIN";

const INTERVAL_US = 250;
/** Loading and compiling the program is not what anybody asks about. */
const START_MS = 5000;

/** Runs another script with the V8 profiler on, and writes the profile when the process ends. */
function main(script: string, file: string): void {
  const session = new Session();
  session.connect();
  session.post("Profiler.enable");
  session.post("Profiler.setSamplingInterval", { interval: INTERVAL_US });
  setTimeout(() => {
    session.post("Profiler.start");
    process.once("exit", () => {
      session.post("Profiler.stop", (error, result) => {
        if (!error) writeFileSync(file, JSON.stringify(result.profile));
      });
    });
  }, START_MS).unref();
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- the script is known only now
  require(script);
}

if (require.main === module) main(process.env[PROFILED_MAIN] ?? "", process.env[PROFILE_FILE] ?? "");
