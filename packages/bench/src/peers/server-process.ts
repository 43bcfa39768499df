import { mkdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { DaemonProcess } from "@bolthole/conformance/process";

const STOP_MS = 15_000;
/** Of /proc; Linux has had this value on every machine for decades. */
const CLOCK_TICK_MS = 10;

export interface ServerCommand {
  /** In the table. */
  readonly name: string;
  /** A script that takes `serve --data <folder>` and writes the file `endpoint` there, with its target in the first line. */
  readonly main: string;
  readonly folder: string;
  /** The database file inside the folder, when the server keeps its data in one. */
  readonly file?: string | undefined;
  readonly args?: readonly string[] | undefined;
  readonly env?: NodeJS.ProcessEnv | undefined;
}

/** A server in a process of its own: measured from outside, and always ended by its own pid. */
export class ServerProcess {
  private constructor(
    readonly name: string,
    /** As a gRPC client takes it. */
    readonly target: string,
    private readonly child: DaemonProcess,
  ) {}

  static async start({ name, main, folder, file, args, env }: ServerCommand): Promise<ServerProcess> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const place = file === undefined ? { data: folder } : { data: file, home: `${file}.bolthole` };
    const child = new DaemonProcess({ main, ...place, args, env: { ...withoutSettings(), ...env } });
    try {
      await child.start();
      return new ServerProcess(name, child.target, child);
    } catch (error) {
      await child.stop("SIGKILL");
      throw error;
    }
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
    const waited = new AbortController();
    const tooLong = sleep(STOP_MS, "too long" as const, { signal: waited.signal }).catch(() => undefined);
    const ending = await Promise.race([this.child.stop("SIGTERM"), tooLong]);
    waited.abort();
    if (typeof ending === "object" && ending.code === 0) return "";
    await this.child.stop("SIGKILL");
    const how =
      typeof ending === "object" ? `ended with ${String(ending.code ?? ending.signal)}` : "did not stop when asked";
    return `${this.name} ${how}\n${this.child.output}`;
  }
}

/** What the person's shell sets for their own daemon is not for ours. */
const withoutSettings = (): NodeJS.ProcessEnv =>
  Object.fromEntries(
    Object.keys(process.env)
      .filter((name) => name.startsWith("BOLTHOLE_"))
      .map((name) => [name, undefined]),
  );
