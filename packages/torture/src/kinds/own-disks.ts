import { execFile, spawn, spawnSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { EXIT, UnsupportedMachineError } from "../run.js";

const run = promisify(execFile);

const IMAGE_BYTES = 4 * 1024 ** 3;
const UNMOUNT_ATTEMPTS = 100;

/**
 * A Python script, because Node has no ioctl: EXT4_IOC_SHUTDOWN with NOLOGFLUSH. After it nothing reaches the disk, not
 * even the journal. It stops the given process first, so that a flush in progress is cut short.
 */
const SHUTDOWN = `
import fcntl, os, signal, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
if len(sys.argv) > 2: os.kill(int(sys.argv[2]), signal.SIGSTOP)
fcntl.ioctl(fd, 0x8004587d, struct.pack("I", 2))
`;

/** An ext4 file system in a file. It writes unflushed data to the file only every ten minutes. */
export class LoopDisk {
  private isMounted = false;

  constructor(
    private readonly image: string,
    private readonly folder: string,
    private readonly bytes = IMAGE_BYTES,
  ) {}

  async create(): Promise<void> {
    const file = openSync(this.image, "wx", 0o600);
    ftruncateSync(file, this.bytes);
    closeSync(file);
    await run("mkfs.ext4", [
      "-q",
      "-F",
      "-m",
      "0",
      "-E",
      "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0",
      this.image,
    ]);
  }

  async mount(): Promise<void> {
    await run("mount", ["-t", "ext4", "-o", "loop,commit=600", this.image, this.folder]);
    this.isMounted = true;
  }

  /** Drops everything that was not flushed. Stops the process `pid` just before, if it is given. */
  async cutPower(pid?: number): Promise<void> {
    await run("python3", ["-c", SHUTDOWN, this.folder, ...(pid === undefined ? [] : [String(pid)])]);
  }

  /** Repeats the unmount for up to five seconds, because the daemon's files may still be open for a moment. */
  async unmount(): Promise<void> {
    for (let attempt = 1; this.isMounted; attempt += 1) {
      try {
        await run("umount", [this.folder]);
        this.isMounted = false;
      } catch (error) {
        if (attempt === UNMOUNT_ATTEMPTS) throw error;
        await sleep(50);
      }
    }
  }
}

const SMALL_BYTES = 384 * 1024 ** 2;

/** A separate, small file system. */
export interface SmallDisk {
  mount(): Promise<void>;
  unmount(): Promise<void>;
}

export async function smallExt4(image: string, folder: string): Promise<SmallDisk> {
  const disk = new LoopDisk(image, folder, SMALL_BYTES);
  await disk.create();
  return disk;
}

export const smallTmpfs = (folder: string): SmallDisk => ({
  mount: async () => {
    await run("mount", ["-t", "tmpfs", "-o", `size=${String(SMALL_BYTES)}`, "torture", folder]);
  },
  unmount: async () => {
    await run("umount", ["--lazy", folder]);
  },
});

const MARK = "TORTURE_PRIVATE_MOUNTS";

export const hasPrivateMounts = (): boolean => process.env[MARK] === "1";

/** Throws UnsupportedMachineError when this machine cannot mount a file system. */
export function checkMachine(): void {
  if (process.platform !== "linux") throw new UnsupportedMachineError("this kind needs Linux");
  if (process.getuid?.() !== 0)
    throw new UnsupportedMachineError("this kind needs root, to mount a file system and to shut it down");
  for (const [command, argument] of [
    ["unshare", "--version"],
    ["mkfs.ext4", "-V"],
    ["mount", "--version"],
    ["python3", "--version"],
  ] as const) {
    if (spawnSync(command, [argument]).status !== 0)
      throw new UnsupportedMachineError(`this kind needs the command ${command}`);
  }
}

/**
 * Runs the same command again in a mount namespace, whose mounts end with it. Returns the exit code.
 */
export function runWithPrivateMounts(): Promise<number> {
  const again = spawn("unshare", ["--mount", "--propagation", "private", process.execPath, ...process.argv.slice(1)], {
    stdio: "inherit",
    env: { ...process.env, [MARK]: "1" },
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => again.kill(signal));
  return new Promise((resolve, reject) => {
    again.once("error", reject);
    again.once("close", (code) => {
      resolve(code ?? EXIT.harness);
    });
  });
}
