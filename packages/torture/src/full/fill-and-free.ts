import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { DaemonProcess, Ending } from "@bolthole/conformance/process";
import { HealthProbe } from "../health.js";
import type { Strike } from "../kinds/kind.js";
import { Ballast } from "./ballast.js";
import { Probe } from "./probe.js";

/** A refusal is told at once: it takes no longer than this, or than a few writes that were taken, on a busy machine. */
const FAST_MS = 1000;
const FAST_WRITES = 5;
const RESUMED_MS = 5000;
const MOST_WRITES = 2000;
const LARGE_BYTES = 3 << 20;
const SMALL_BYTES = 1 << 18;
const FULL_FOR_MS = 400;

/** One round: fills the disk under a daemon at work, looks what it still does, frees the disk again. */
export async function fillAndFree(
  mount: string,
  { daemon, random, findings, count }: Strike,
): Promise<Ending | undefined> {
  const ballast = new Ballast(join(mount, "ballast"));
  const probe = await Probe.open(daemon.target, random.oneIn(8) ? SMALL_BYTES : LARGE_BYTES);
  const health = new HealthProbe(daemon.target);
  const expect = (holds: boolean, what: string): void => {
    if (!holds) findings.add("full disk", "", what);
  };
  try {
    const startedAt = performance.now();
    expect((await probe.write()) === undefined, "a write was refused before the disk was full");
    const fastMs = Math.max(FAST_MS, FAST_WRITES * (performance.now() - startedAt));
    ballast.fill();
    const refusal = await untilRefused(probe);
    expect(refusal.reason === "DISK_FULL", `on a full disk a write was answered ${String(refusal.reason)}`);
    expect(refusal.afterMs < fastMs, `a refusal took ${String(refusal.afterMs)} ms`);
    count("refused at once");
    await sleep(random.below(FULL_FOR_MS));
    // What the daemon left to others while it grew is gone as well.
    ballast.fill();
    const wrong = await probe.read();
    expect(wrong === undefined, `on a full disk a read failed: ${String(wrong)}`);
    expect(await health.isServing(), "on a full disk the daemon is not healthy");
    const uncleared = probe.holds;
    const reason = await probe.clear();
    expect(reason === undefined, `on a full disk a clear was answered ${String(reason)}`);
    count("cleared while full", uncleared);
    if (random.oneIn(4)) return await restartOnFullDisk(daemon, expect, count);
    ballast.remove();
    const freedAt = performance.now();
    let again: string | undefined;
    do {
      again = await probe.write();
    } while (again === "DISK_FULL" && performance.now() - freedAt < RESUMED_MS);
    expect(again === undefined, `${String(RESUMED_MS)} ms after space came back a write was answered ${String(again)}`);
    count("resumed by itself");
  } finally {
    ballast.remove();
    await probe.clear();
    await probe.close();
    health.close();
  }
  return daemon.stop("SIGKILL");
}

/** A start that finds no room says so and ends, or the daemon serves; it never ends in any other way. */
async function restartOnFullDisk(
  daemon: DaemonProcess,
  expect: (holds: boolean, what: string) => void,
  count: Strike["count"],
): Promise<Ending | undefined> {
  const ending = await daemon.stop("SIGKILL");
  try {
    await daemon.start();
    count("served on a full disk");
    return await daemon.stop("SIGKILL");
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    expect(/^the daemon ended with 3:[^]*is full/.test(text), `a start on a full disk: ${text.slice(-1000)}`);
    count("refused to start on a full disk");
    return ending;
  }
}

async function untilRefused(probe: Probe): Promise<{ reason: string | undefined; afterMs: number }> {
  for (let write = 0; write < MOST_WRITES; write += 1) {
    const sentAt = performance.now();
    const reason = await probe.write();
    if (reason !== undefined) return { reason, afterMs: Math.round(performance.now() - sentAt) };
  }
  return { reason: "taken, again and again", afterMs: 0 };
}
