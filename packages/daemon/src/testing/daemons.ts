import { execFile } from "node:child_process";
import { join } from "node:path";
import { type BoltholeStore, connect } from "@bolthole/client";
import { DaemonProcess } from "@bolthole/conformance/process";

/** The script of the command `bolthole`. */
export const MAIN = join(__dirname, "..", "cli", "main.js");

/** A command that takes longer is ended. It is long enough for a busy machine. */
const COMMAND_TIMEOUT_MS = 240_000;

export interface CommandResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `bolthole` and returns its exit code and output. The code is -1 when a signal or the timeout ended it. */
export const bolthole = (...args: readonly string[]): Promise<CommandResult> => boltholeWith({}, ...args);

export interface CommandOptions {
  /** Variables that are added to those of the test. */
  readonly env?: NodeJS.ProcessEnv;
  readonly timeoutMs?: number;
}

/** Runs `bolthole` with other variables, or with more time. */
export const boltholeWith = (
  { env = {}, timeoutMs = COMMAND_TIMEOUT_MS }: CommandOptions,
  ...args: readonly string[]
): Promise<CommandResult> =>
  new Promise((resolve) => {
    const options = { timeout: timeoutMs, killSignal: "SIGKILL", env: { ...process.env, ...env } } as const;
    execFile(process.execPath, [MAIN, ...args], options, (error, out, err) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ code, out, err });
    });
  });

/** The daemons of one test. `end` ends those that still run. */
export class Daemons {
  private readonly processes: DaemonProcess[] = [];

  /** Returns a daemon that is not started yet, with these variables. It logs nothing unless `args` set another log level. */
  add(data: string, args: readonly string[] = [], home?: string, env: NodeJS.ProcessEnv = {}): DaemonProcess {
    const daemon = new DaemonProcess({ main: MAIN, data, home, args: ["--log-level", "silent", ...args], env });
    this.processes.push(daemon);
    return daemon;
  }

  /** Returns a daemon with these variables, run by `node` if it is given. */
  addWith(data: string, env: NodeJS.ProcessEnv, args: readonly string[] = [], node?: string): DaemonProcess {
    const daemon = new DaemonProcess({ main: MAIN, data, args: ["--log-level", "silent", ...args], env, node });
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
