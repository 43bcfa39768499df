import { execFile } from "node:child_process";
import { join } from "node:path";
import { type BoltholeStore, connect } from "@bolthole/client";
import { DaemonProcess } from "@bolthole/conformance/process";

/** The script of the command `bolthole`. */
export const MAIN = join(__dirname, "..", "cli", "main.js");

/** A command that takes longer is ended. */
const COMMAND_TIMEOUT_MS = 60_000;

export interface CommandResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `bolthole` and returns its exit code and output. The code is -1 when a signal or the timeout ended it. */
export const bolthole = (...args: readonly string[]): Promise<CommandResult> =>
  new Promise((resolve) => {
    const options = { timeout: COMMAND_TIMEOUT_MS, killSignal: "SIGKILL" } as const;
    execFile(process.execPath, [MAIN, ...args], options, (error, out, err) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ code, out, err });
    });
  });

/** The daemons of one test. `end` ends those that still run. */
export class Daemons {
  private readonly processes: DaemonProcess[] = [];

  /** Returns a daemon that is not started yet. It logs nothing unless `args` set another log level. */
  add(data: string, args: readonly string[] = [], home?: string): DaemonProcess {
    const daemon = new DaemonProcess({ main: MAIN, data, home, args: ["--log-level", "silent", ...args] });
    this.processes.push(daemon);
    return daemon;
  }

  /** Returns a daemon into which `preload` is loaded, with these variables. */
  addObserved(data: string, preload: string, env: NodeJS.ProcessEnv): DaemonProcess {
    const args = ["--log-level", "silent"];
    const daemon = new DaemonProcess({ main: MAIN, data, args, env: { ...env, NODE_OPTIONS: `--require ${preload}` } });
    this.processes.push(daemon);
    return daemon;
  }

  /** Starts the daemon, calls `use` with a connected store, and stops the daemon. */
  async serve<T>(daemon: DaemonProcess, use: (store: BoltholeStore, daemon: DaemonProcess) => Promise<T>): Promise<T> {
    await daemon.start();
    const store = await connect(daemon.target);
    try {
      return await use(store, daemon);
    } finally {
      await store.close();
      await daemon.stop();
    }
  }

  async end(): Promise<void> {
    for (const daemon of this.processes) await daemon.stop("SIGKILL");
  }
}
