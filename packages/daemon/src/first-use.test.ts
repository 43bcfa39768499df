import { execFile } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { type Socket, connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "@bolthole/client";
import type { DaemonProcess } from "@bolthole/conformance/process";
import { EXIT } from "./exit-code.js";
import { connectionsWithin, refuseFewOpenFiles } from "./process-limits.js";
import { type CommandResult, Daemons, MAIN, bolthole } from "./testing/daemons.js";
import { inputRow } from "./testing/input-row.js";

let folder: string;
let data: string;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-first-"));
  data = join(folder, "data");
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

/** Waits for a condition. Fails after a time that no machine needs. */
async function until(isTrue: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 6000 && !isTrue(); attempt += 1) await sleep(10);
  expect(isTrue()).toBe(true);
}

/** Stores one row through a new connection, and loads it. */
async function use(target: string, text: string): Promise<void> {
  const store = await connect(target, { timeoutMs: 30_000 });
  await store.persistInputState("rt", inputRow(text));
  expect(await store.loadInputStates("rt")).toEqual([inputRow(text)]);
  await store.close();
}

describe("a folder", () => {
  test("with only what file systems and tools put into empty folders is used as an empty one, and keeps it", async () => {
    mkdirSync(join(data, "lost+found"), { recursive: true, mode: 0o700 });
    for (const name of [".DS_Store", ".gitkeep", ".keep", ".gitignore"]) writeFileSync(join(data, name), "theirs");
    const daemon = await daemons.add(data).start();
    await use(daemon.target, "first");
    await daemon.stop();
    expect(readFileSync(join(data, ".gitkeep"), "utf8")).toBe("theirs");
    expect(existsSync(join(data, "lost+found"))).toBe(true);
    await daemons.serve(daemon, async (store) => {
      expect(await store.loadInputStates("rt")).toHaveLength(1);
    });
  });

  test("with anything else beside it is refused, and the error names only that", async () => {
    mkdirSync(join(data, "lost+found"), { recursive: true, mode: 0o700 });
    writeFileSync(join(data, "photo.jpg"), "");
    const { code, err } = await bolthole("serve", "--data", data);
    expect(code).toBe(EXIT.DATA_FOLDER);
    expect(err).toMatch(/found photo\.jpg; name an empty or a new folder/);
  });

  test("that a backup is restored to must be empty, and the error names what is in it, and another folder that works", async () => {
    const daemon = await daemons.add(data).start();
    await use(daemon.target, "kept");
    await daemon.stop();
    const backup = join(folder, "backup");
    expect((await bolthole("backup", backup, "--data", data)).code).toBe(EXIT.CLEAN);
    const mounted = join(folder, "mounted");
    mkdirSync(join(mounted, "lost+found"), { recursive: true, mode: 0o700 });
    writeFileSync(join(mounted, "photo.jpg"), "");
    const { code, err } = await bolthole("restore", backup, "--data", mounted);
    expect(code).toBe(EXIT.DATA_FOLDER);
    expect(err).toContain("it has photo.jpg;");
    const [, proposed = ""] = /such as (.*?),/.exec(err) ?? [];
    expect(dirname(proposed)).toBe(mounted);
    expect((await bolthole("restore", backup, "--data", proposed)).code).toBe(EXIT.CLEAN);
    rmSync(join(mounted, "photo.jpg"));
    rmSync(proposed, { recursive: true });
    expect((await bolthole("restore", backup, "--data", mounted)).code).toBe(EXIT.CLEAN);
    expect(existsSync(join(mounted, "lost+found"))).toBe(true);
  });

  test("that a group can write is refused, with a command, and with a folder in it that works where the mode is given", async () => {
    mkdirSync(data);
    chmodSync(data, 0o2770);
    const { code, err } = await bolthole("serve", "--data", data);
    expect(code).toBe(EXIT.DATA_FOLDER);
    expect(err).toContain(`(mode 2770); run: chmod go-w ${data}`);
    const [, proposed = ""] = /such as (.*?),/.exec(err) ?? [];
    expect(dirname(proposed)).toBe(data);
    const daemon = await daemons.add(proposed).start();
    await use(daemon.target, "first");
    expect(statSync(proposed).mode & 0o777).toBe(0o700);
  });
});

describe("a copy of a data folder", () => {
  const copy = (): string => join(folder, "copy");
  /** Copies the folder of a running daemon, except the socket. */
  const makeCopy = (): void => {
    cpSync(data, copy(), { recursive: true, filter: (path) => !/\.(sock|new)$/.test(path) });
  };

  test("has no daemon, and status says so, whether the original runs or not", async () => {
    const daemon = await daemons.add(data).start();
    makeCopy();
    expect((await bolthole("status", "--data", data)).code).toBe(EXIT.CLEAN);
    const { code, out, err } = await bolthole("status", "--data", copy());
    expect([code, out]).toEqual([EXIT.NOT_RUNNING, ""]);
    expect(err).toContain(`no daemon serves ${copy()}: its file endpoint names the daemon of ${data}`);
    await daemon.stop();
    expect((await bolthole("status", "--data", copy())).code).toBe(EXIT.NOT_RUNNING);
  });

  test("is not mistaken for the original by commands that work through a daemon", async () => {
    const daemon = await daemons.add(data).start();
    await use(daemon.target, "copied");
    makeCopy();
    await use(daemon.target, "later");
    // The first command opens the copy itself, and removes the address of the original.
    for (const command of [["verify"], ["delete", "rt", "--yes"]]) {
      expect(await bolthole(...command, "--data", copy())).toMatchObject({ code: EXIT.CLEAN });
    }
    expect(existsSync(join(copy(), "endpoint"))).toBe(false);
    const store = await connect(daemon.target);
    expect(await store.loadInputStates("rt")).toEqual([inputRow("later")]);
    await store.close();
  });

  test("can be served beside the original, and each has its own status", async () => {
    await daemons.add(data).start();
    makeCopy();
    await daemons.add(copy()).start();
    for (const served of [data, copy()]) {
      const { code, out } = await bolthole("status", "--data", served);
      expect(code).toBe(EXIT.CLEAN);
      expect(out).toContain(`engine      lmdb in ${served},`);
    }
  });
});

describe("the socket file", () => {
  const logging = (env: NodeJS.ProcessEnv = {}, at = data): DaemonProcess =>
    daemons.addWith(at, env, ["--log-level", "warn"]);

  test("is made again when it is removed, and connections are not affected", async () => {
    const daemon = await logging().start();
    const socket = join(data, "bolthole.sock");
    const store = await connect(daemon.target, { timeoutMs: 30_000 });
    for (let times = 0; times < 2; times += 1) {
      rmSync(socket);
      await until(() => existsSync(socket));
      expect(statSync(socket).mode & 0o777).toBe(0o600);
      await use(daemon.target, `after ${String(times)}`);
    }
    await store.persistInputState("rt", inputRow("the old connection"));
    await store.close();
    expect(daemon.output).toContain("the unix socket was removed, and was made again");
    expect((await bolthole("status", "--data", data)).code).toBe(EXIT.CLEAN);
    expect(await daemon.stop()).toEqual({ code: EXIT.CLEAN, signal: null });
    expect(readdirSync(data).filter((name) => /sock|bind/.test(name))).toEqual([]);
  });

  test("is made again with its folder when both are removed from the runtime folder", async () => {
    const runtime = join(folder, "run");
    mkdirSync(runtime, { mode: 0o700 });
    const daemon = await logging({ XDG_RUNTIME_DIR: runtime }, join(folder, "x".repeat(120))).start();
    const socket = daemon.target.replace("unix:", "");
    // Moved first: the daemon may make the socket again between the removal of the file and that of the folder.
    renameSync(dirname(socket), `${dirname(socket)}-removed`);
    rmSync(`${dirname(socket)}-removed`, { recursive: true });
    await until(() => existsSync(socket));
    await use(daemon.target, "again");
    expect(await daemon.stop()).toEqual({ code: EXIT.CLEAN, signal: null });
    expect(readdirSync(dirname(socket))).toEqual([]);
  });

  test("is not made again over another file, which stays, and the log says it once", async () => {
    const daemon = await logging().start();
    const socket = join(data, "bolthole.sock");
    rmSync(socket);
    writeFileSync(socket, "theirs");
    const text = "another file is at the path of the unix socket";
    await until(() => daemon.output.includes(text));
    expect(await daemon.stop()).toEqual({ code: EXIT.CLEAN, signal: null });
    expect(readFileSync(socket, "utf8")).toBe("theirs");
    expect(daemon.output.split(text)).toHaveLength(2);
  });
});

describe("the limit of open files", () => {
  /** Runs `bolthole` with this limit. */
  const limited = (limit: number, ...args: readonly string[]): Promise<CommandResult> =>
    new Promise((resolve) => {
      const script = `ulimit -n ${String(limit)}; exec "$@"`;
      execFile(
        "/bin/sh",
        ["-c", script, "sh", process.execPath, MAIN, ...args],
        { timeout: 60_000 },
        (error, out, err) => {
          resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, out, err });
        },
      );
    });

  test.each([["serve"], ["status"], ["verify"], ["backup", "FILE"]])(
    "that is too low ends bolthole %s with the number that is needed",
    async (...command) => {
      const { code, err } = await limited(40, ...command, "--data", data);
      expect(code).toBe(EXIT.USAGE);
      expect(err).toMatch(/may have 40 files open, but bolthole needs at least 96.*ulimit -n/);
      expect(existsSync(data)).toBe(false);
    },
  );

  test("leaves files for the store: fewer connections are accepted than the setting allows, and the daemon works on", async () => {
    const script = join(folder, "limited.sh");
    writeFileSync(script, `#!/bin/sh\nulimit -n 96\nexec "${process.execPath}" "$@"\n`, { mode: 0o700 });
    const daemon = daemons.addWith(data, {}, ["--log-level", "warn"], script);
    await daemon.start();
    const store = await connect(daemon.target, { timeoutMs: 60_000 });
    await store.persistInputState("rt", inputRow("before"));
    const sockets: Socket[] = [];
    try {
      for (let number = 0; number < 120; number += 1) {
        const socket = connectSocket(daemon.target.replace("unix:", ""));
        // A connection that was closed ends when what was sent before is received.
        socket.on("error", () => undefined).resume();
        sockets.push(socket);
      }
      await until(() => sockets.filter(({ destroyed }) => destroyed).length >= 120 - 32);
      await store.persistInputState("rt", inputRow("during"));
      expect(await store.loadInputStates("rt")).toEqual([inputRow("during")]);
    } finally {
      for (const socket of sockets) socket.destroy();
    }
    expect((await bolthole("verify", "--data", data)).code).toBe(EXIT.CLEAN);
    await store.close();
    expect(daemon.output).toContain('"maxConnections":32,"configured":1024');
    expect(await daemon.stop()).toEqual({ code: EXIT.CLEAN, signal: null });
  });

  test("divides what is left among the listeners", () => {
    expect(connectionsWithin(1024, 1, undefined)).toBe(1024);
    expect(connectionsWithin(1024, 1, 1_000_000)).toBe(1024);
    expect(connectionsWithin(1024, 1, 1024)).toBe(960);
    expect(connectionsWithin(1024, 2, 1024)).toBe(480);
    expect(connectionsWithin(10, 2, 1024)).toBe(10);
    expect(() => {
      refuseFewOpenFiles(95);
    }).toThrow("at least 96");
    refuseFewOpenFiles(96);
  });
});
