import { execFile } from "node:child_process";
import { closeSync, ftruncateSync, openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

const IMAGE_BYTES = 4 * 1024 ** 3;
const UNMOUNT_ATTEMPTS = 100;

/**
 * EXT4_IOC_SHUTDOWN with NOLOGFLUSH: from here on nothing reaches the disk any more, not even what lies in the journal.
 * Node has no ioctl. The process that is to stand still is stopped just before, so that a flush under way is cut short.
 */
const SHUTDOWN = `
import fcntl, os, signal, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
if len(sys.argv) > 2: os.kill(int(sys.argv[2]), signal.SIGSTOP)
fcntl.ioctl(fd, 0x8004587d, struct.pack("I", 2))
`;

/** An ext4 file system in a file, which keeps to itself for ten minutes what nobody asked it to flush. */
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

  /** With it stops the process `pid`, if one is named. */
  async cutPower(pid?: number): Promise<void> {
    await run("python3", ["-c", SHUTDOWN, this.folder, ...(pid === undefined ? [] : [String(pid)])]);
  }

  /** The daemon's last open files may take a moment to go. */
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
