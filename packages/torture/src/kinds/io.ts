import { join } from "node:path";
import type { Ending } from "@bolthole/conformance/process";
import { breakCommit, breakStart, makeFault } from "../io/break-calls.js";
import { compileFaultLibrary } from "../io/fault-library.js";
import { FaultPlan } from "../io/fault-plan.js";
import type { Kind, Strike } from "./kind.js";

/** Within two hundred cycles each of these calls is the one. */
const CALLS = 200;
const STRIDE = 7;
const ONE_START_IN = 10;

const onFaultyCalls = (
  name: string,
  description: string,
  strike: (plan: FaultPlan, cycle: number, strike: Strike) => Promise<Ending | undefined>,
): Kind => ({
  name,
  description: `${description} (needs a C compiler; Linux)`,
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
      strike: (context) => strike(plan, (cycle += 1), context),
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
});

const callOf = (cycle: number): number => 1 + ((cycle * STRIDE) % CALLS);

/** One call on the data file fails, is cut short, or is a flush that is not done. */
export const io = onFaultyCalls(
  "io",
  "calls on the data file that fail, are short, or are dropped",
  (plan, cycle, strike) =>
    cycle % ONE_START_IN === 0
      ? breakStart(plan, strike)
      : breakCommit(plan, makeFault(strike.random, callOf(cycle)), strike),
);

/** A write that is told to be done, and is not: more than is promised. */
export const lie = onFaultyCalls("lie", "a write of pages that is silently lost", (plan, cycle, strike) =>
  breakCommit(plan, { fault: "lost write", at: callOf(cycle), aim: "page write", isLasting: false }, strike),
);
