import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const START_LIMIT_MS = 30_000;
const POLL_MS = 10;

export interface DaemonProcessOptions {
  /** The script behind the command `bolthole`. */
  readonly main: string;
  readonly data: string;
  /** Where the daemon's own files lie, when that is not the data folder. */
  readonly home?: string | undefined;
  /** Further arguments of `bolthole serve`. */
  readonly args?: readonly string[] | undefined;
  readonly env?: NodeJS.ProcessEnv | undefined;
}

/** How a daemon ended. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A real daemon in a process of its own. Whoever starts one stops it, in a `finally`. */
export class DaemonProcess {
  /** Everything the daemon has written, of all its starts. */
  output = "";
  private child: ChildProcess | undefined;
  private ending: Promise<Ending> | undefined;

  constructor(private readonly options: DaemonProcessOptions) {}

  /** Resolves when the daemon serves; fails with its output when it ends instead. */
  async start(): Promise<this> {
    const endpoint = join(this.home, "endpoint");
    // A killed daemon leaves its file behind; what appears from here on is the new one's.
    rmSync(endpoint, { force: true });
    const ended = this.spawn();
    let ending: Ending | undefined;
    void ended.then((how) => {
      ending = how;
    });
    const limit = Date.now() + START_LIMIT_MS;
    while (!existsSync(endpoint)) {
      if (ending) throw new Error(`the daemon ended with ${String(ending.code ?? ending.signal)}:\n${this.output}`);
      if (Date.now() > limit) throw new Error(`the daemon does not serve after ${START_LIMIT_MS} ms:\n${this.output}`);
      await sleep(POLL_MS);
    }
    return this;
  }

  /** Lets a daemon run that is not expected to serve, and answers how it ended. */
  runToEnd(): Promise<Ending> {
    return this.spawn();
  }

  private get home(): string {
    return this.options.home ?? this.options.data;
  }

  get pid(): number {
    const pid = this.child?.pid;
    if (pid === undefined) throw new Error("the daemon is not running");
    return pid;
  }

  /** Where it listens, the socket first. */
  get targets(): string[] {
    return readFileSync(join(this.home, "endpoint"), "utf8").split("\n").filter(Boolean);
  }

  /** The unix socket, as a gRPC client takes it. */
  get target(): string {
    const [target] = this.targets;
    if (target === undefined) throw new Error("the daemon names no endpoint");
    return target;
  }

  /** Resolves when the daemon that was started last has ended, by whatever cause. */
  get ended(): Promise<Ending> {
    if (!this.ending) throw new Error("the daemon was never started");
    return this.ending;
  }

  signal(signal: NodeJS.Signals): void {
    this.child?.kill(signal);
  }

  /** Ends the daemon, if it still runs. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<Ending | undefined> {
    this.child?.kill(signal);
    return this.ending;
  }

  async restart(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    await this.stop(signal);
    await this.start();
  }

  private spawn(): Promise<Ending> {
    const { main, data, args = [], env = {} } = this.options;
    const child = spawn(process.execPath, [main, "serve", "--data", data, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
      });
    }
    this.child = child;
    this.ending = new Promise((resolve) => {
      child.once("close", (code, signal) => {
        resolve({ code, signal });
      });
    });
    return this.ending;
  }
}
