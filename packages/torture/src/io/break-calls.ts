import { setTimeout as sleep } from "node:timers/promises";
import type { Ending } from "@bolthole/conformance/process";
import { HealthProbe } from "../health.js";
import type { Strike } from "../kinds/kind.js";
import type { Random } from "../random.js";
import type { CallName, Fault, FaultPlan, PlannedFault } from "./fault-plan.js";

const POLL_MS = 2;
/** Under load the calls of a commit follow each other much faster. */
const STRUCK_WITHIN_MS = 10_000;
const UNHEALTHY_WITHIN_MS = 1000;
const ENDED_WITHIN_MS = 5000;
const LEFT_ALIVE_MS = 100;
const CALLS_OF_A_START = 6;

export function makeFault(random: Random, at: number): PlannedFault {
  const fault = random.weighted({ fail: 5, short: 3, full: 1, "dropped flush": 1 });
  const aim = fault === "dropped flush" ? "flush" : random.weighted({ any: 2, flush: 1, "meta write": 1 });
  return { fault, at, aim, isLasting: fault === "fail" && random.oneIn(2) };
}

const SILENT: readonly Fault[] = ["dropped flush", "lost write"];

/** What is not done and not told nobody can notice; and before it grows the daemon looks for room. */
const isFatal = (fault: Fault, call: CallName): boolean =>
  !SILENT.includes(fault) && !(call === "growth" && fault !== "fail");

/** A call fails under load: the daemon must say so, and end. */
export async function breakCommit(plan: FaultPlan, planned: PlannedFault, strike: Strike): Promise<Ending | undefined> {
  const { daemon, random, findings, count } = strike;
  const health = new HealthProbe(daemon.target);
  const ended = daemon.ended;
  try {
    plan.arm(planned);
    await until(STRUCK_WITHIN_MS, () => plan.struck !== "");
    const call = plan.struck;
    if (call === "") throw new Error(`the daemon made fewer than ${String(planned.at)} calls`);
    const what = `${planned.fault} of a ${call}`;
    count(what);
    if (!isFatal(planned.fault, call)) {
      await sleep(random.below(LEFT_ALIVE_MS));
      return await daemon.stop("SIGKILL");
    }
    const isUnhealthy = await until(UNHEALTHY_WITHIN_MS, async () => !(await health.isServing()));
    if (!isUnhealthy) findings.add("failing disk", "", `after ${what} the daemon is still healthy`);
    const ending = await Promise.race([ended, sleep(ENDED_WITHIN_MS)]);
    if (ending) return ending;
    findings.add("failing disk", "", `after ${what} the daemon lives on`);
    return await daemon.stop("SIGKILL");
  } finally {
    health.close();
  }
}

/** A call fails while the daemon starts: it serves all the same, or says why not. */
export async function breakStart(plan: FaultPlan, strike: Strike): Promise<Ending | undefined> {
  const { daemon, random, findings, count } = strike;
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
      findings.add("failing disk", "", `a start under ${planned.fault} of a ${plan.struck}: ${text.slice(-1500)}`);
    }
  }
  if (plan.struck !== "") count(`${planned.fault} of a ${plan.struck} at the start`);
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
