import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import type { DaemonProcess, Ending } from "@bolthole/conformance/process";
import { StoreError } from "@bolthole/contract";
import { HealthProbe } from "../daemon.js";
import { type FaultContext, faultKind } from "../fault-run.js";
import type { Kind } from "../run.js";
import { type SmallDisk, smallExt4, smallTmpfs } from "./own-disks.js";

const onSmallDisk = (
  name: string,
  description: string,
  make: (folder: string, mount: string) => Promise<SmallDisk>,
): Kind =>
  faultKind({
    name,
    description,
    acknowledgedBefore: 100,
    withinMs: 200,
    endings: [],
    allowedRefusals: ["DISK_FULL"],
    mountsDisk: true,
    prepare: async (folder) => {
      const mount = join(folder, "disk");
      mkdirSync(mount);
      const disk = await make(folder, mount);
      await disk.mount();
      return {
        data: join(mount, "data"),
        injectFault: (context) => fillAndFree(mount, context),
        recover: () => Promise.resolve(),
        dispose: () => disk.unmount(),
      };
    },
  });

export const fullExt4 = onSmallDisk(
  "full",
  "an ext4 file system that is filled and freed again (needs root; Linux)",
  (folder, mount) => smallExt4(join(folder, "disk.img"), mount),
);

export const fullTmpfs = onSmallDisk("full-tmpfs", "the same on a tmpfs (needs root; Linux)", (_folder, mount) =>
  Promise.resolve(smallTmpfs(mount)),
);

/** A refusal that waits for something takes until the deadline of the call. A busy machine alone does not take half of it. */
const FAST_SHARE = 1 / 2;
const RESUMED_MS = 5000;
const MOST_WRITES = 2000;
const LARGE_BYTES = 3 << 20;
const SMALL_BYTES = 1 << 18;
const FULL_FOR_MS = 400;

/** Fills the disk while the daemon works, checks which calls still succeed, and frees the disk again. */
async function fillAndFree(
  mount: string,
  { daemon, random, violations, count }: FaultContext,
): Promise<Ending | undefined> {
  const ballast = new Ballast(join(mount, "ballast"));
  const probe = await DiskProbe.open(daemon.target, random.oneIn(8) ? SMALL_BYTES : LARGE_BYTES);
  const health = new HealthProbe(daemon.target);
  const expect = (holds: boolean, problem: string): void => {
    if (!holds) violations.add("full disk", "", problem);
  };
  try {
    expect((await probe.write()) === undefined, "a write was refused before the disk was full");
    const fastMs = FAST_SHARE * CALL_MS;
    ballast.fill();
    const refusal = await untilRefused(probe);
    expect(
      refusal.reason === "DISK_FULL",
      `a write on a full disk: expected DISK_FULL, found ${String(refusal.reason)}`,
    );
    expect(
      refusal.afterMs < fastMs,
      `expected a refusal within ${String(fastMs)} ms, found ${String(refusal.afterMs)} ms`,
    );
    count("refused immediately");
    await sleep(random.below(FULL_FOR_MS));
    // The daemon may have freed space since the first fill.
    ballast.fill();
    const wrong = await probe.read();
    expect(wrong === undefined, `on a full disk a read failed: ${String(wrong)}`);
    expect(await health.isServing(), "on a full disk the daemon is not healthy");
    const uncleared = probe.size;
    const reason = await probe.clear();
    expect(reason === undefined, `on a full disk a clear was refused: ${String(reason)}`);
    count("cleared while full", uncleared);
    if (random.oneIn(4)) return await restartOnFullDisk(daemon, expect, count);
    ballast.remove();
    const freedAt = performance.now();
    let again: string | undefined;
    do {
      again = await probe.write();
    } while (again === "DISK_FULL" && performance.now() - freedAt < RESUMED_MS);
    expect(
      again === undefined,
      `${String(RESUMED_MS)} ms after the disk was freed a write was refused: ${String(again)}`,
    );
    count("resumed without a restart");
  } finally {
    ballast.remove();
    await probe.clear();
    await probe.close();
    health.close();
  }
  return daemon.stop("SIGKILL");
}

/** Restarts the daemon on the full disk. It must serve, or exit with 3 and report the full disk. */
async function restartOnFullDisk(
  daemon: DaemonProcess,
  expect: (holds: boolean, problem: string) => void,
  count: FaultContext["count"],
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

async function untilRefused(probe: DiskProbe): Promise<{ reason: string | undefined; afterMs: number }> {
  for (let write = 0; write < MOST_WRITES; write += 1) {
    const sentAt = performance.now();
    const reason = await probe.write();
    if (reason !== undefined) return { reason, afterMs: Math.round(performance.now() - sentAt) };
  }
  return { reason: "nothing: every write was applied", afterMs: 0 };
}

const CALL_MS = 10_000;

/** A client that writes documents to its own runtimes, and clears them all at the end. */
class DiskProbe {
  private readonly kept = new Map<string, Buffer>();
  private count = 0;

  private constructor(
    private readonly store: BoltholeStore,
    private readonly bytes: number,
  ) {}

  /** `bytes` is the size of each document. Large ones are refused early; small ones first use the free pages of the file. */
  static async open(target: string, bytes: number): Promise<DiskProbe> {
    return new DiskProbe(await connect(target, { timeoutMs: CALL_MS }), bytes);
  }

  /** Writes one document. Returns the reason of a refusal, or undefined. */
  async write(): Promise<string | undefined> {
    const runtimeId = `probe ${String((this.count += 1))}`;
    const sessionSnapshot = randomBytes(this.bytes);
    try {
      await this.store.commitSessionSnapshot(runtimeId, { sessionSnapshot, profile: "opaque" });
      this.kept.set(runtimeId, sessionSnapshot);
      return undefined;
    } catch (error) {
      return reasonOf(error);
    }
  }

  /** Reads all documents. Returns the first problem, or undefined. */
  async read(): Promise<string | undefined> {
    for (const [runtimeId, snapshot] of this.kept) {
      try {
        const loaded = await this.store.loadSessionSnapshot(runtimeId);
        if (!loaded || !snapshot.equals(loaded)) return `${runtimeId} differs from the acknowledged document`;
      } catch (error) {
        return `${runtimeId}: ${reasonOf(error)}`;
      }
    }
    return undefined;
  }

  /** Clears all documents. Returns the reason of the first refusal, or undefined. */
  async clear(): Promise<string | undefined> {
    for (const runtimeId of this.kept.keys()) {
      try {
        await this.store.clearSessionSnapshot(runtimeId);
        this.kept.delete(runtimeId);
      } catch (error) {
        return reasonOf(error);
      }
    }
    return undefined;
  }

  /** The number of documents that are not cleared. */
  get size(): number {
    return this.kept.size;
  }

  close(): Promise<void> {
    return this.store.close();
  }
}

const reasonOf = (error: unknown): string =>
  error instanceof StoreError ? error.reason : error instanceof Error ? error.message : String(error);

const LARGEST = Buffer.alloc(4 << 20, 0x5a);
const SMALLEST_BYTES = 512;

/** A file that uses all space that a file system has left. */
class Ballast {
  constructor(private readonly path: string) {}

  fill(): void {
    const file = openSync(this.path, "a");
    try {
      for (let bytes = LARGEST.length; bytes >= SMALLEST_BYTES;) {
        try {
          if (writeSync(file, LARGEST, 0, bytes) < bytes) bytes = Math.floor(bytes / 2);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
          bytes = Math.floor(bytes / 2);
        }
      }
      // Otherwise the next flush on this disk would have to write this file.
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  }

  remove(): void {
    rmSync(this.path, { force: true });
  }
}
