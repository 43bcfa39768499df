import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const START_LIMIT_MS = 30_000;
const POLL_MS = 10;

export interface DaemonProcessOptions {
  /** The script of the command `bolthole`. */
  readonly main: string;
  /** The value of `--data`. */
  readonly data: string;
  /** The folder of the daemon's own files, when it is not the data folder. */
  readonly home?: string | undefined;
  /** Further arguments of `bolthole serve`. */
  readonly args?: readonly string[] | undefined;
  /** The program that runs the script: the Node of this process unless set. */
  readonly node?: string | undefined;
  /** Environment variables to add to those of this process. */
  readonly env?: NodeJS.ProcessEnv | undefined;
}

/** The end of a daemon process: an exit code or a signal. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A daemon in a separate process, started by its command line. The caller must stop it, preferably in a `finally`. */
export class DaemonProcess {
  /** Everything that the daemon has written to stdout and stderr, over all its starts. */
  output = "";
  private child: ChildProcess | undefined;
  private ending: Promise<Ending> | undefined;

  constructor(private readonly options: DaemonProcessOptions) {}

  /** Starts the daemon, and resolves when it serves. Rejects with its output when it ends instead, or takes too long. */
  async start(): Promise<this> {
    const endpoint = join(this.home, "endpoint");
    // A killed daemon leaves its endpoint file behind. A file that appears after this line is from the new daemon.
    rmSync(endpoint, { force: true });
    const ended = this.spawn();
    let ending: Ending | undefined;
    void ended.then((how) => {
      ending = how;
    });
    const limit = Date.now() + START_LIMIT_MS;
    while (!existsSync(endpoint)) {
      // The torture kinds match the beginning of this text.
      if (ending) throw new Error(`the daemon ended with ${String(ending.code ?? ending.signal)}:\n${this.output}`);
      if (Date.now() > limit) {
        throw new Error(`expected the daemon to serve within ${START_LIMIT_MS} ms, but it does not:\n${this.output}`);
      }
      await sleep(POLL_MS);
    }
    return this;
  }

  /** Starts a daemon that is expected to end without serving, and resolves when it has ended. */
  runToEnd(): Promise<Ending> {
    return this.spawn();
  }

  private get home(): string {
    return this.options.home ?? this.options.data;
  }

  /** The process id. Throws before the first start. */
  get pid(): number {
    const pid = this.child?.pid;
    if (pid === undefined) throw new Error("expected a running daemon, but none was started");
    return pid;
  }

  /** The gRPC targets on which the daemon listens, the unix socket first. */
  get targets(): string[] {
    return readFileSync(join(this.home, "endpoint"), "utf8").split("\n").filter(Boolean);
  }

  /** The gRPC target of the unix socket. */
  get target(): string {
    const [target] = this.targets;
    if (target === undefined) throw new Error(`expected a target in ${join(this.home, "endpoint")}, but it is empty`);
    return target;
  }

  /** Resolves when the daemon that was started last has ended, for whatever reason. */
  get ended(): Promise<Ending> {
    if (!this.ending) throw new Error("expected a daemon that was started, but none was");
    return this.ending;
  }

  signal(signal: NodeJS.Signals): void {
    this.child?.kill(signal);
  }

  /** Ends the daemon if it runs, and resolves when it has ended. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<Ending | undefined> {
    this.child?.kill(signal);
    return this.ending;
  }

  async restart(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    await this.stop(signal);
    await this.start();
  }

  private spawn(): Promise<Ending> {
    const { main, data, args = [], env = {}, node = process.execPath } = this.options;
    const child = spawn(node, [main, "serve", "--data", data, ...args], {
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
