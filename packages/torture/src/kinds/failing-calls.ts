import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Ending } from "@bolthole/conformance/process";
import { HealthProbe } from "../daemon.js";
import { type FaultContext, faultKind } from "../fault-run.js";
import type { Kind } from "../run.js";
import type { Random } from "../random.js";
import { type CallName, type Fault, FaultPlan, type PlannedFault, compileFaultLibrary } from "./fault-plan.js";

const POLL_MS = 2;
/** The longest time until the call. Under load it happens much earlier. */
const HIT_WITHIN_MS = 10_000;
const UNHEALTHY_WITHIN_MS = 1000;
const ENDED_WITHIN_MS = 5000;
const LEFT_ALIVE_MS = 100;
const CALLS_OF_A_START = 6;

function makeFault(random: Random, at: number): PlannedFault {
  const fault = random.weighted({ fail: 5, short: 3, full: 1, "dropped flush": 1 });
  const aim = fault === "dropped flush" ? "flush" : random.weighted({ any: 2, flush: 1, "meta write": 1 });
  return { fault, at, aim, isLasting: fault === "fail" && random.oneIn(2) };
}

const SILENT: readonly Fault[] = ["dropped flush", "lost write"];

/**
 * Whether the daemon must stop. It cannot notice a silent fault, and when the file cannot grow it refuses writes instead.
 */
const isFatal = (fault: Fault, call: CallName): boolean =>
  !SILENT.includes(fault) && !(call === "growth" && fault !== "fail");

/** Makes a call fail under load. The daemon must report NOT_SERVING and exit. */
async function breakCommit(plan: FaultPlan, planned: PlannedFault, context: FaultContext): Promise<Ending | undefined> {
  const { daemon, random, violations, count } = context;
  const health = new HealthProbe(daemon.target);
  const ended = daemon.ended;
  try {
    plan.arm(planned);
    await until(HIT_WITHIN_MS, () => plan.hit !== "");
    const call = plan.hit;
    if (call === "") throw new Error(`the daemon made fewer than ${String(planned.at)} calls`);
    const event = `${planned.fault} of a ${call}`;
    count(event);
    if (!isFatal(planned.fault, call)) {
      await sleep(random.below(LEFT_ALIVE_MS));
      return await daemon.stop("SIGKILL");
    }
    const isUnhealthy = await until(UNHEALTHY_WITHIN_MS, async () => !(await health.isServing()));
    if (!isUnhealthy) violations.add("failing disk", "", `after ${event} the daemon still reports SERVING`);
    const ending = await Promise.race([ended, sleep(ENDED_WITHIN_MS)]);
    if (ending) return ending;
    violations.add("failing disk", "", `after ${event} the daemon still runs`);
    return await daemon.stop("SIGKILL");
  } finally {
    health.close();
  }
}

/** Makes a call fail while the daemon starts. It must serve, or exit with a message. */
async function breakStart(plan: FaultPlan, context: FaultContext): Promise<Ending | undefined> {
  const { daemon, random, violations, count } = context;
  const ending = await daemon.stop("SIGKILL");
  const fault = random.weighted({ fail: 5, short: 3, full: 3 });
  const planned: PlannedFault = { fault, at: 1 + random.below(CALLS_OF_A_START), aim: "any", isLasting: false };
  plan.arm(planned);
  try {
    await daemon.start();
    await daemon.stop("SIGKILL");
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (!/^the daemon ended with ([36]:\n[^]*bolthole: |SIG)/.test(text)) {
      violations.add("failing disk", "", `a start under ${planned.fault} of a ${plan.hit}: ${text.slice(-1500)}`);
    }
  }
  if (plan.hit !== "") count(`${planned.fault} of a ${plan.hit} at the start`);
  return ending;
}

async function until(limitMs: number, holds: () => boolean | Promise<boolean>): Promise<boolean> {
  const limit = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > limit) return false;
    await sleep(POLL_MS);
  }
  return true;
}

/** Each of the first calls fails once within this number of cycles. */
const CALL_COUNT = 200;
const STRIDE = 7;
const ONE_START_IN = 10;

const onFaultyCalls = (
  name: string,
  description: string,
  injectFault: (plan: FaultPlan, cycle: number, context: FaultContext) => Promise<Ending | undefined>,
): Kind =>
  faultKind({
    name,
    description: `${description} (needs a C compiler; Linux)`,
    acknowledgedBefore: 50,
    withinMs: 50,
    // A failed write makes the daemon exit with 6, or makes the native library corrupt its memory.
    endings: ["6", "SIGABRT", "SIGSEGV", "SIGBUS"],
    allowedRefusals: [],
    mountsDisk: false,
    prepare: async (folder) => {
      const library = join(folder, "faults.so");
      await compileFaultLibrary(library);
      const plan = new FaultPlan(join(folder, "faults"));
      let cycle = 0;
      return {
        data: join(folder, "data"),
        env: { LD_PRELOAD: library, TORTURE_FAULTS: plan.path },
        injectFault: (context) => injectFault(plan, (cycle += 1), context),
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

const callOf = (cycle: number): number => 1 + ((cycle * STRIDE) % CALL_COUNT);

/** One call on the data file fails, writes half, or is a flush that does nothing. */
export const io = onFaultyCalls(
  "io",
  "calls on the data file that fail, write half, or do nothing",
  (plan, cycle, context) =>
    cycle % ONE_START_IN === 0
      ? breakStart(plan, context)
      : breakCommit(plan, makeFault(context.random, callOf(cycle)), context),
);

/** A write that reports success and does nothing. This tests more than is promised. */
export const lie = onFaultyCalls(
  "lie",
  "page writes that are silently lost; more than is promised",
  (plan, cycle, context) =>
    breakCommit(plan, { fault: "lost write", at: callOf(cycle), aim: "page write", isLasting: false }, context),
);
