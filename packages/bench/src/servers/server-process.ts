import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import { DaemonProcess } from "@bolthole/conformance/process";
import { anonymousBytesOf, cpuMsOf, writtenBytesOf } from "../machine.js";
import { BARE_ROLE } from "./bare-server.js";
import { FIGURES_FILE, type InnerFigures, OBSERVED_MAIN, PROFILE_FILE } from "./observed.js";

const STOP_MS = 15_000;
const FIGURES_MS = 10_000;
const POLL_MS = 5;

interface ServerCommand {
  /** The name in the tables. */
  readonly name: string;
  /** A script with the arguments `serve --data <folder>` that writes its target to the first line of the file `endpoint` there. */
  readonly main: string;
  readonly folder: string;
  /** The database file inside the folder, when the server keeps its data in one. */
  readonly file?: string | undefined;
  readonly args?: readonly string[] | undefined;
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Whether it runs under observed.ts and reports its inner figures. */
  readonly isObserved?: boolean | undefined;
}

/** A server in a separate process, which is measured from outside. */
export class ServerProcess {
  private constructor(
    readonly name: string,
    /** The address in the form of a gRPC client. */
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

  /** Returns the CPU time of all its threads so far. */
  cpuMs(): number {
    return cpuMsOf(this.pid);
  }

  anonymousBytes(): number {
    return anonymousBytesOf(this.pid);
  }

  /** Returns the bytes that it wrote so far, nearly all of them to files. */
  writtenBytes(): number {
    return writtenBytesOf(this.pid);
  }

  /** Returns the inner figures of a server that runs under observed.ts. */
  async innerFigures(): Promise<InnerFigures> {
    rmSync(this.figuresFile, { force: true });
    this.child.signal("SIGUSR2");
    for (const limit = Date.now() + FIGURES_MS; !existsSync(this.figuresFile);) {
      if (Date.now() > limit) throw new Error(`${this.name} did not write its figures within ${String(FIGURES_MS)} ms`);
      await sleep(POLL_MS);
    }
    return JSON.parse(readFileSync(this.figuresFile, "utf8")) as InnerFigures;
  }

  /** Stops the server. Returns a description when it did not end cleanly, otherwise an empty text. */
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

/** Removes the settings of a daemon from the environment of the shell. */
const withoutSettings = (): NodeJS.ProcessEnv =>
  Object.fromEntries(
    Object.keys(process.env)
      .filter((name) => name.startsWith("BOLTHOLE_"))
      .map((name) => [name, undefined]),
  );

interface DaemonOptions {
  /** The file for a CPU profile, which is written when it stops. */
  readonly profileFile?: string | undefined;
  /** Whether it reports its inner figures. */
  readonly isObserved?: boolean | undefined;
}

/** Starts the daemon on LMDB with the data folder `daemon` in `folder`. */
export function startDaemon(
  folder: string,
  { profileFile, isObserved = false }: DaemonOptions = {},
): Promise<ServerProcess> {
  const main = require.resolve("@bolthole/daemon/bin");
  return ServerProcess.start({
    name: "bolthole",
    main: isObserved || profileFile !== undefined ? join(__dirname, "observed.js") : main,
    folder: join(folder, "daemon"),
    args: ["--log-level", "warn"],
    env: { [PROFILE_FILE]: profileFile, [OBSERVED_MAIN]: main },
    isObserved,
  });
}

/** Starts the daemon on an engine; its name is the engine's. */
export function startEngine(engine: "memory" | "lmdb" | "sqlite", parent: string): Promise<ServerProcess> {
  const folder = join(parent, engine);
  return ServerProcess.start({
    name: engine,
    main: require.resolve("@bolthole/daemon/bin"),
    folder,
    file: engine === "sqlite" ? join(folder, "store.sqlite3") : undefined,
    args: ["--engine", engine, "--log-level", "warn"],
  });
}

/** Starts the server that puts the same rows into LMDB and checks nothing. */
export const startBareCommit = (folder: string): Promise<ServerProcess> =>
  startBare("bare commit", "bare-commit", folder);

/** Starts the server that only responds. */
export const startBareEcho = (folder: string): Promise<ServerProcess> => startBare("bare echo", "bare-echo", folder);

/** Starts the server that streams a document from memory. */
export const startBareStream = (folder: string): Promise<ServerProcess> =>
  startBare("bare stream", "bare-stream", folder);

const startBare = (name: string, role: string, parent: string): Promise<ServerProcess> =>
  ServerProcess.start({
    name,
    main: join(__dirname, "bare-server.js"),
    folder: join(parent, role),
    env: { [BARE_ROLE]: role },
  });

/** Allows for calls that send a large document. */
const CALL_MS = 60_000;

/** The servers and connections of one row group. They are closed in reverse order at its end. */
export class Resources {
  private readonly closing: (() => Promise<string>)[] = [];

  /** Runs `measure` and then closes everything that it opened. */
  static async with<T>(measure: (resources: Resources) => Promise<T>): Promise<T> {
    const resources = new Resources();
    try {
      return await measure(resources);
    } finally {
      await resources.close();
    }
  }

  async started(starting: Promise<ServerProcess>): Promise<ServerProcess> {
    const server = await starting;
    this.closing.push(() => server.stop());
    return server;
  }

  /** Stops one server before the others. */
  async stop(server: ServerProcess): Promise<void> {
    reportProblem(await server.stop());
  }

  async connected(target: string): Promise<BoltholeStore> {
    const store = await connect(target, { timeoutMs: CALL_MS });
    this.onEnd(() => store.close());
    return store;
  }

  onEnd(close: () => Promise<void>): void {
    this.closing.push(() => close().then(() => ""));
  }

  private async close(): Promise<void> {
    for (const close of this.closing.reverse()) reportProblem(await close());
  }
}

/** Prints a problem of a server's end. It does not throw, because that would hide the error that caused it. */
function reportProblem(problem: string): void {
  if (problem === "") return;
  process.stderr.write(`bench: ${problem}\n`);
  process.exitCode = 1;
}
