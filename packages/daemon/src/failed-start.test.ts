import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { type Server, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DaemonProcess, Ending } from "@bolthole/conformance/process";
import { EXIT } from "./exit-code.js";
import { environmentWithChange } from "./testing/changed-modules.js";
import { Daemons } from "./testing/daemons.js";

/** A start that does not end by itself is ended, so that the test fails and no process is left. */
const HANG_MS = 60_000;

let folder: string;
let data: string;
let daemons: Daemons;
let other: Server | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-start-"));
  data = join(folder, "data");
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  other?.close();
  other = undefined;
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a start that fails, and returns how it ended. Fails when it does not end, or leaves a socket or an endpoint file. */
async function failing(daemon: DaemonProcess, home = data): Promise<Ending> {
  const ended = daemon.runToEnd();
  const hang = setTimeout(() => {
    daemon.signal("SIGKILL");
  }, HANG_MS);
  const ending = await ended;
  clearTimeout(hang);
  const left = existsSync(home) ? readdirSync(home) : [];
  expect(left.filter((name) => /\.(sock|bind)$|^endpoint$/.test(name) && name !== "keep.sock")).toEqual([]);
  return ending;
}

/** Returns the environment of a daemon in which the exports of a module are changed. */
const preload = (name: string, change: string): NodeJS.ProcessEnv =>
  environmentWithChange(join(folder, `${name}.cjs`), change);

/** A path of a folder that is about as long as a folder can be. */
const longFolder = (letter: string): string => {
  const path = join(folder, letter.repeat(120));
  mkdirSync(path, { mode: 0o700 });
  return path;
};

const code = (value: number): Ending => ({ code: value, signal: null });

describe("a start ends, and leaves no socket and no lock,", () => {
  afterEach(async () => {
    // The same folder can be served when the cause is gone.
    other?.close();
    rmSync(join(data, "bolthole.sock"), { recursive: true, force: true });
    rmSync(join(data, "endpoint.new"), { recursive: true, force: true });
    rmSync(join(data, "token"), { recursive: true, force: true });
    const next = daemons.add(data);
    await next.start();
    expect(await next.stop()).toEqual(code(EXIT.CLEAN));
  });

  test("when the socket cannot be put into its place", async () => {
    const env = preload(
      "no-rename",
      `if (request === "node:fs") {
         const { renameSync } = exports;
         exports.renameSync = (from, to) => {
           if (String(to).endsWith(".sock")) throw Object.assign(new Error("EIO: i/o error, rename"), { code: "EIO", errno: -5 });
           return renameSync(from, to);
         };
       }`,
    );
    const daemon = daemons.addWith(data, env);
    expect(await failing(daemon)).toEqual(code(EXIT.DISK));
  });

  test("when something else than a socket is at the path of the socket", async () => {
    mkdirSync(join(data, "bolthole.sock", "keep"), { recursive: true, mode: 0o700 });
    const daemon = daemons.add(data);
    const ended = await daemon.runToEnd();
    expect(ended).toEqual(code(EXIT.ADDRESS));
    expect(daemon.output).toContain("expected a socket");
    expect(existsSync(join(data, "bolthole.sock", "keep"))).toBe(true);
  });

  test("when the TCP port is taken", async () => {
    const server = (other = createServer());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    expect(await failing(daemons.add(data, ["--listen", `127.0.0.1:${String(port)}`]))).toEqual(code(EXIT.ADDRESS));
  });

  test("when the token file is unusable", async () => {
    mkdirSync(data, { mode: 0o700 });
    writeFileSync(join(data, "token"), "short\n", { mode: 0o600 });
    expect(await failing(daemons.add(data, ["--listen", "127.0.0.1:0"]))).toEqual(code(EXIT.DATA_FOLDER));
    rmSync(join(data, "token"));
    mkdirSync(join(data, "token"));
    expect(await failing(daemons.add(data, ["--listen", "127.0.0.1:0"]))).toEqual(code(EXIT.DATA_FOLDER));
  });

  test("when the endpoint file cannot be written", async () => {
    mkdirSync(join(data, "endpoint.new"), { recursive: true, mode: 0o700 });
    const daemon = daemons.add(data, ["--listen", "127.0.0.1:0"]);
    expect(await failing(daemon)).toEqual(code(EXIT.DATA_FOLDER));
    expect(daemon.output).toContain("endpoint.new");
  });

  test("when a library leaves a timer behind", async () => {
    mkdirSync(data, { mode: 0o700 });
    writeFileSync(join(data, "token"), "short\n", { mode: 0o600 });
    const env = preload("timer", `if (request === "@bolthole/lmdb") setInterval(() => undefined, 1000);`);
    const daemon = daemons.addWith(data, env, ["--listen", "127.0.0.1:0"]);
    expect(await failing(daemon)).toEqual(code(EXIT.DATA_FOLDER));
  });

  test("when the store that it opened cannot be closed: it ends itself, and the error says what failed first", async () => {
    mkdirSync(data, { mode: 0o700 });
    writeFileSync(join(data, "token"), "short\n", { mode: 0o600 });
    const env = preload(
      "never-closes",
      `if (request === "@bolthole/lmdb") exports.LmdbEngine.prototype.close = () => new Promise(() => undefined);`,
    );
    const daemon = daemons.addWith(data, env, ["--listen", "127.0.0.1:0", "--close-timeout", "500ms"]);
    const ended = daemon.runToEnd();
    const hang = setTimeout(() => {
      daemon.signal("SIGINT");
    }, HANG_MS);
    expect(await ended).toEqual({ code: null, signal: "SIGKILL" });
    clearTimeout(hang);
    expect(daemon.output).toMatch(/expected a token.*then the store could not be closed in time/);
  });

  test("when another daemon holds the lock", async () => {
    const holder = daemons.add(data);
    await holder.start();
    expect(await daemons.add(data).runToEnd()).toEqual(code(EXIT.HELD));
    expect(await holder.stop()).toEqual(code(EXIT.CLEAN));
  });

  test("when the store is refused", async () => {
    const daemon = daemons.add(data);
    await daemon.start();
    await daemon.stop();
    const format = join(data, "format");
    writeFileSync(format, "bolthole 999\n");
    expect(await failing(daemons.add(data))).toEqual(code(EXIT.DATA_FOLDER));
    writeFileSync(format, "bolthole 4\n");
  });
});

test("a start ends when the socket's path is too long in the data folder and in the runtime folder, and makes no socket anywhere", async () => {
  const long = longFolder("x");
  const runtime = longFolder("r");
  const daemon = daemons.addWith(long, { XDG_RUNTIME_DIR: runtime });
  expect(await failing(daemon, long)).toEqual(code(EXIT.ADDRESS));
  expect(daemon.output).toMatch(
    /may have 10[37] bytes, but .*bolthole\.sock has \d+ and .*\.sock has \d+; choose a data folder/,
  );
  expect(readdirSync(runtime)).toEqual([]);
  expect(readdirSync(folder).sort()).toEqual(["r".repeat(120), "x".repeat(120)]);
});

const asRoot = process.getuid?.() === 0 ? test : test.skip;

// Only root can give a folder to another user.
asRoot("a socket folder of another user is refused, because that user could replace the socket", async () => {
  const runtime = join(folder, "run");
  mkdirSync(join(runtime, "bolthole"), { recursive: true, mode: 0o700 });
  chownSync(join(runtime, "bolthole"), 12_345, 12_345);
  const daemon = daemons.addWith(longFolder("x"), { XDG_RUNTIME_DIR: runtime });
  expect(await daemon.runToEnd()).toEqual(code(EXIT.DATA_FOLDER));
  expect(daemon.output).toContain(`${join(runtime, "bolthole")} belongs to another user (12345)`);
});
