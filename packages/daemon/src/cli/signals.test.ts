import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@bolthole/client";
import type { DaemonProcess } from "@bolthole/conformance/process";
import { EXIT } from "../exit-code.js";
import { Daemons, MAIN, bolthole } from "../testing/daemons.js";
import { inputRow } from "../testing/input-row.js";
import { type PausePoint, PausedRelay } from "../testing/paused-relay.js";
import { ENDING_SIGNALS, IGNORED_SIGNALS } from "./signals.js";

let folder: string;
let data: string;
let daemons: Daemons;
const others: { end(): unknown }[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-signals-"));
  data = join(folder, "data");
  daemons = new Daemons();
});
afterEach(async () => {
  for (const { end } of others.splice(0)) end();
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

const start = (env: NodeJS.ProcessEnv = {}): Promise<DaemonProcess> =>
  daemons.add(data, ["--log-level", "info"], undefined, env).start();

/** The rows of the table in docs/operating.md: the signals, and what they do to the daemon. */
const documented = readFileSync(join(__dirname, "../../../../docs/operating.md"), "utf8")
  .split("\n## Signals\n")[1]
  ?.split("\n")
  .filter((line) => line.startsWith("| SIG"))
  .map((line) => line.split("|").map((cell) => cell.trim()))
  .map(([, signals = "", effect = ""]) => ({ signals: signals.split(", ") as NodeJS.Signals[], effect }));

const signalsOf = (effect: string): NodeJS.Signals[] =>
  documented?.flatMap((row) => (row.effect.startsWith(effect) ? row.signals : [])) ?? [];

test("the documentation has every signal that is handled", () => {
  expect(signalsOf("drains")).toEqual([...ENDING_SIGNALS]);
  expect(signalsOf("ignored, with a line")).toEqual([...IGNORED_SIGNALS]);
});

test.each(signalsOf("drains"))("%s drains the daemon", async (signal) => {
  const daemon = await start();
  const store = await connect(daemon.target);
  await store.persistInputState("rt", inputRow("one"));
  expect(await daemon.stop(signal)).toEqual({ code: EXIT.CLEAN, signal: null });
  expect(daemon.output).toContain(`"signal":"${signal}","message":"stopping"`);
  expect(daemon.output).toContain('"isDrained":true');
  await store.close();
});

test("ignored signals leave the daemon serving, and open no inspector", async () => {
  const daemon = await start({ NODE_OPTIONS: "--inspect-port=0" });
  const signals = signalsOf("ignored");
  for (const signal of signals) daemon.signal(signal);
  const store = await connect(daemon.target);
  await store.persistInputState("rt", inputRow("one"));
  for (const signal of signalsOf("ignored, with a line")) {
    while (!daemon.output.includes(`"signal":"${signal}","message":"this signal has no effect"`)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  await store.close();
  expect(await daemon.stop()).toEqual({ code: EXIT.CLEAN, signal: null });
  expect(signals).toContain("SIGPIPE");
  expect(daemon.output).not.toContain("Debugger listening");
});

const isListening = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connectSocket(port, "127.0.0.1");
    const settle = (result: boolean) => (): void => {
      socket.destroy();
      resolve(result);
    };
    socket.once("connect", settle(true)).once("error", settle(false));
  });

test("an inspector that SIGUSR1 opened before the first line of the program is closed", async () => {
  const preload = join(folder, "early.cjs");
  writeFileSync(preload, 'process.kill(process.pid, "SIGUSR1");');
  const daemon = await start({ NODE_OPTIONS: `--inspect-port=0 --require ${preload}` });
  const port = Number(/Debugger listening on ws:\/\/127\.0\.0\.1:(\d+)/.exec(daemon.output)?.[1]);
  expect(port).toBeGreaterThan(0);
  expect(await isListening(port)).toBe(false);
  expect(await daemon.stop()).toEqual({ code: EXIT.CLEAN, signal: null });
});

test("the process that checks a store opens no inspector either", () => {
  const checker = join(__dirname, "../../../lmdb/dist/maintenance/check-process.js");
  const script = `
    require(${JSON.stringify(checker)});
    process.kill(process.pid, "SIGUSR1");
    setTimeout(() => console.log(String(require("node:inspector").url())), 500);`;
  expect(execFileSync(process.execPath, ["--inspect-port=0", "-e", script], { encoding: "utf8" })).toBe("undefined\n");
});

test("a crash of the daemon writes no core file, or the log says that it may", async () => {
  await daemons.serve(daemons.add(data), (store) => store.persistInputState("rt", inputRow("one")));
  const limited = 'ulimit -S -c "$(ulimit -H -c)"; exec "$@"';
  const child = spawn("sh", ["-c", limited, "sh", process.execPath, MAIN, "serve", "--data", data], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  others.push({ end: () => child.kill("SIGKILL") });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  while (!log.includes('"message":"serving"')) await once(child.stderr, "data");
  const limit = /^Max core file size +(\w+)/m.exec(readFileSync(`/proc/${String(child.pid)}/limits`, "utf8"))?.[1];
  expect(limit === "0" || log.includes("a crash may write a core file")).toBe(true);
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  expect((await ended)[0]).toBe(EXIT.CLEAN);
});

/** Starts a command of a running daemon over a relay that stops in its middle, and returns it at that moment. */
async function startedOver(point: PausePoint, ...args: string[]): Promise<Command> {
  const endpoint = join(data, "endpoint");
  const socket = readFileSync(endpoint, "utf8").split("\n")[0]?.replace("unix:", "") ?? "";
  const path = join(folder, "relay.sock");
  const relay = new PausedRelay(path, socket, point);
  others.push({
    end: () => {
      relay.end();
    },
  });
  await relay.listen();
  writeFileSync(endpoint, `unix:${path}\n`);
  const command = new Command(...args, "--data", data);
  const early = await Promise.race([relay.reached, command.ended]);
  expect([args, early]).toEqual([args, undefined]);
  writeFileSync(endpoint, `unix:${socket}\n`);
  return command;
}

class Command {
  private readonly child: ChildProcess;
  private err = "";
  readonly ended: Promise<{ readonly signal: unknown; readonly err: string }>;

  constructor(...args: string[]) {
    this.child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "ignore", "pipe"] });
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.err += text));
    this.ended = once(this.child, "close").then(([, signal]: unknown[]) => ({ signal, err: this.err }));
  }

  async says(text: string): Promise<void> {
    while (!this.err.includes(text)) await once(this.child.stderr as NonNullable<ChildProcess["stderr"]>, "data");
  }

  signal(signal: NodeJS.Signals): typeof this.ended {
    this.child.kill(signal);
    return this.ended;
  }
}

/** The end of a command. A signal whose own end would write a core file ends it as SIGTERM does. */
const ended = (signal: NodeJS.Signals, command: string): object => ({
  signal: signal === "SIGQUIT" || signal === "SIGXCPU" ? "SIGTERM" : signal,
  err: expect.stringContaining(`bolthole: ${command} was ended by ${signal} before it was complete`) as unknown,
});

/** Makes a store with a document of many frames, and exports the rows of it that a database can have. */
async function makeStore(): Promise<string> {
  const source = join(folder, "source.sqlite3");
  await daemons.serve(daemons.add(data), async (store) => {
    for (const runtime of ["a", "b", "c"]) await store.persistInputState(runtime, inputRow("x".repeat(500_000)));
  });
  expect((await bolthole("export", "meerkat", source, "--data", data)).code).toBe(EXIT.CLEAN);
  return source;
}

const without = (names: readonly string[]): string[] =>
  readdirSync(folder).filter((name) => !names.some((known) => name.startsWith(known)));

test.each(["SIGTERM", "SIGHUP", "SIGQUIT"] as const)("a backup that %s ends leaves no file", async (signal) => {
  await makeStore();
  await start();
  const backup = await startedOver({ from: "daemon", count: 20 }, "backup", join(folder, "backup"));
  expect(without(["data", "source", "relay"])).toEqual([expect.stringMatching(/^backup\.\d+(\.\d+)?\.new$/)]);
  expect(await backup.signal(signal)).toEqual(ended(signal, "backup"));
  expect(without(["data", "source", "relay"])).toEqual([]);
  expect((await bolthole("backup", join(folder, "backup"), "--data", data)).code).toBe(EXIT.CLEAN);
});

test.each(["SIGINT", "SIGTERM"] as const)(
  "a backup without a daemon that %s ends leaves the folder as it was",
  async (signal) => {
    await makeStore();
    const before = readdirSync(data);
    expect(before).not.toContain("running");
    // In the copy of the data, or in its check, which begins with the start of a process.
    for (let run = 0; run < 3; run += 1) {
      const backup = new Command("backup", join(folder, "backup"), "--data", data);
      while (!readdirSync(data).some((name) => name.startsWith("backup."))) await new Promise(setImmediate);
      expect(await backup.signal(signal)).toEqual(ended(signal, "backup"));
      expect(readdirSync(data)).toEqual(before);
      expect(without(["data", "source"])).toEqual([]);
    }
  },
);

test.each(["a missing", "an empty"])("a restore into %s folder that a signal ends leaves nothing", async (kind) => {
  await makeStore();
  const backup = join(folder, "backup");
  expect((await bolthole("backup", backup, "--data", data)).code).toBe(EXIT.CLEAN);
  const target = join(folder, "target");
  if (kind === "an empty") mkdirSync(target);
  const pipe = join(folder, "pipe");
  execFileSync("mkfifo", [pipe]);
  // Opened for both directions, so that it does not wait, and has no end.
  const writing = openSync(pipe, constants.O_RDWR);
  const restore = new Command("restore", pipe, "--data", target);
  await restore.says("reading the backup from the pipe");
  writeSync(writing, readFileSync(backup).subarray(0, 10_000));
  const drafts = (): string[] => (existsSync(target) ? readdirSync(target) : []);
  while (drafts().length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await restore.signal("SIGTERM")).toEqual(ended("SIGTERM", "restore"));
  closeSync(writing);
  expect(drafts()).toEqual([]);
  expect(existsSync(target)).toBe(kind === "an empty");
  expect((await bolthole("restore", backup, "--data", target)).code).toBe(EXIT.CLEAN);
});

test("an export and an import that a signal ends can be repeated", async () => {
  const source = await makeStore();
  await start();
  const output = join(folder, "output.sqlite3");
  const exporting = await startedOver({ from: "daemon", count: 40 }, "export", "meerkat", output);
  expect(await exporting.signal("SIGINT")).toEqual(ended("SIGINT", "export meerkat"));
  const exported = await bolthole("export", "meerkat", output, "--data", data);
  expect([exported.code, exported.out]).toEqual([EXIT.CLEAN, expect.stringMatching(/added|unchanged/)]);
  for (const { end } of others.splice(0)) end();
  rmSync(join(folder, "relay.sock"), { force: true });

  await bolthole("delete", "b", "--yes", "--data", data);
  const importing = await startedOver({ from: "command", count: 20 }, "import", "meerkat", source);
  expect(await importing.signal("SIGXCPU")).toEqual(ended("SIGXCPU", "import meerkat"));
  const imported = await bolthole("import", "meerkat", source, "--data", data);
  expect(imported.code).toBe(EXIT.CLEAN);
  expect((await bolthole("verify", "--data", data)).code).toBe(EXIT.CLEAN);
});
