import { join } from "node:path";
import { breakCommit, breakStart, makeFault } from "../io/break-calls.js";
import { compileFaultLibrary } from "../io/fault-library.js";
import { FaultPlan } from "../io/fault-plan.js";
import type { Kind } from "./kind.js";

/** Within two hundred cycles each of these calls is the one. */
const CALLS = 200;
const STRIDE = 7;
const ONE_START_IN = 10;

/** One call on the data file fails, is cut short, or is not done. */
export const io: Kind = {
  name: "io",
  description: "calls on the data file that fail, are short, or are dropped (needs a C compiler; Linux)",
  acknowledgedBefore: 50,
  withinMs: 50,
  // A failed write ends the daemon by itself; under one the native library may break its own memory.
  endings: ["6", "SIGABRT", "SIGSEGV", "SIGBUS"],
  excuses: [],
  isOnOwnDisk: false,
  prepare: async (folder) => {
    const library = join(folder, "faults.so");
    await compileFaultLibrary(library);
    const plan = new FaultPlan(join(folder, "faults"));
    let cycle = 0;
    return {
      data: join(folder, "data"),
      env: { LD_PRELOAD: library, TORTURE_FAULTS: plan.path },
      strike: (strike) => {
        cycle += 1;
        const at = 1 + ((cycle * STRIDE) % CALLS);
        return cycle % ONE_START_IN === 0
          ? breakStart(plan, strike)
          : breakCommit(plan, makeFault(strike.random, at), strike);
      },
      recover: () => {
        plan.disarm();
        return Promise.resolve();
      },
      dispose: () => {
        plan.close();
        return Promise.resolve();
      },
    };
  },
};
