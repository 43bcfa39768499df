import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const START_MS = 20_000;
const STOP_MS = 15_000;
const POLL_MS = 20;
/** Of /proc; Linux has had this value on every machine for decades. */
const CLOCK_TICK_MS = 10;

export interface ServerCommand {
  /** In the table. */
  readonly name: string;
  readonly script: string;
  readonly args: readonly string[];
  /** Where the server writes the file `endpoint`, whose first line is its target. */
  readonly folder: string;
  readonly nodeArgs?: readonly string[] | undefined;
}

/** A server in a process of its own: started, measured from outside, and always ended by its own pid. */
export class ServerProcess {
  private constructor(
    readonly name: string,
    /** As a gRPC client takes it. */
    readonly target: string,
    private readonly child: ChildProcess,
    private readonly ended: Promise<string>,
    private readonly logFile: string,
  ) {}

  static async start({ name, script, args, folder, nodeArgs = [] }: ServerCommand): Promise<ServerProcess> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const logFile = `${folder}.log`;
    const log = openSync(logFile, "w");
    // Its standard input ends with us, so that a server that watches it cannot outlive a killed benchmark.
    const child = spawn(process.execPath, [...nodeArgs, script, ...args], {
      stdio: ["pipe", log, log],
      env: Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith("BOLTHOLE_"))),
    });
    closeSync(log);
    const ended = new Promise<string>((resolve) => {
      child.once("error", (error) => {
        resolve(error.message);
      });
      child.once("exit", (code, signal) => {
        resolve(code === 0 ? "" : `ended with ${signal ?? `exit code ${String(code)}`}`);
      });
    });
    const endpoint = join(folder, "endpoint");
    const giveUpAt = Date.now() + START_MS;
    while (!existsSync(endpoint)) {
      const how = await Promise.race([ended, sleep(POLL_MS)]);
      if (how === undefined && Date.now() < giveUpAt) continue;
      child.kill("SIGKILL");
      throw new Error(`${name} did not start: ${how ?? "it took too long"}\n${readFileSync(logFile, "utf8")}`);
    }
    const [target = ""] = readFileSync(endpoint, "utf8").split("\n");
    return new ServerProcess(name, target, child, ended, logFile);
  }

  /** CPU time so far, of all its threads; NaN where the system does not tell. */
  cpuMs(): number {
    if (process.platform !== "linux") return Number.NaN;
    const stat = readFileSync(`/proc/${String(this.child.pid)}/stat`, "latin1");
    // The name, in parentheses, may hold spaces; user and system time are the 12th and 13th fields after it.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * CLOCK_TICK_MS;
  }

  /** Answers what was wrong with its end, or nothing. */
  async stop(): Promise<string> {
    this.child.kill("SIGTERM");
    const giveUp = new AbortController();
    const how = await Promise.race([
      this.ended,
      sleep(STOP_MS, undefined, { signal: giveUp.signal }).catch(() => undefined),
    ]);
    giveUp.abort();
    if (how === "") return "";
    this.child.kill("SIGKILL");
    return `${this.name} ${how ?? "did not stop when asked"}\n${readFileSync(this.logFile, "utf8")}`;
  }
}
