import { existsSync, readFileSync } from "node:fs";

const INTERVAL_MS = 100;

/** Follows how much memory of its own a process holds; pages of mapped files, which the system may take back, do not count. */
export class MemoryWatch {
  /** In bytes. */
  peak = 0;
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly pid: number) {
    this.timer = setInterval(() => {
      this.now();
    }, INTERVAL_MS);
  }

  static isPossible(): boolean {
    return existsSync("/proc/self/status");
  }

  /** In bytes; 0 when the process is gone. */
  now(): number {
    let status: string;
    try {
      status = readFileSync(`/proc/${String(this.pid)}/status`, "utf8");
    } catch {
      return 0;
    }
    const held = Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
    this.peak = Math.max(this.peak, held);
    return held;
  }

  stop(): void {
    clearInterval(this.timer);
  }
}
