import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DaemonProcess } from "@bolthole/conformance/process";
import { FIGURES_FILE, type InnerFigures } from "./observed.js";
import { anonymousBytesOf, cpuMsOf, writtenBytesOf } from "./process-figures.js";

const STOP_MS = 15_000;
const FIGURES_MS = 10_000;
const POLL_MS = 5;

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
  /** It runs under observed.ts, and can tell its inner figures. */
  readonly isObserved?: boolean | undefined;
}

/** A server in a process of its own: measured from outside, and always ended by its own pid. */
export class ServerProcess {
  private constructor(
    readonly name: string,
    /** As a gRPC client takes it. */
    readonly target: string,
    private readonly child: DaemonProcess,
    private readonly figuresFile: string,
  ) {}

  static async start({ name, main, folder, file, args, env, isObserved }: ServerCommand): Promise<ServerProcess> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const figuresFile = join(folder, "..", `${name.replaceAll(" ", "-")}.figures`);
    const settings = { ...withoutSettings(), ...env };
    const child = new DaemonProcess({
      main,
      ...(file === undefined ? { data: folder } : { data: file, home: `${file}.bolthole` }),
      args,
      env: isObserved ? { ...settings, [FIGURES_FILE]: figuresFile } : settings,
    });
    try {
      await child.start();
      return new ServerProcess(name, child.target, child, figuresFile);
    } catch (error) {
      await child.stop("SIGKILL");
      throw error;
    }
  }

  get pid(): number {
    return this.child.pid;
  }

  /** CPU time so far, of all its threads. */
  cpuMs(): number {
    return cpuMsOf(this.pid);
  }

  anonymousBytes(): number {
    return anonymousBytesOf(this.pid);
  }

  /** What it had written so far, nearly all of it to files. */
  writtenBytes(): number {
    return writtenBytesOf(this.pid);
  }

  /** Of a server that runs under observed.ts. */
  async innerFigures(): Promise<InnerFigures> {
    rmSync(this.figuresFile, { force: true });
    this.child.signal("SIGUSR2");
    for (const limit = Date.now() + FIGURES_MS; !existsSync(this.figuresFile);) {
      if (Date.now() > limit) throw new Error(`${this.name} does not tell its figures`);
      await sleep(POLL_MS);
    }
    return JSON.parse(readFileSync(this.figuresFile, "utf8")) as InnerFigures;
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
