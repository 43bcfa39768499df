import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, Metadata, type ServiceError, credentials, loadPackageDefinition, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { protoPath } from "grpc-health-check";
import { connect } from "@bolthole/client";
import { AdminService } from "@bolthole/contract/wire";
import { DaemonProcess, type DaemonProcessOptions } from "@bolthole/conformance/process";
import { EXIT } from "../exit-code.js";
import { environmentWithChange } from "../testing/changed-modules.js";
import { MAIN, bolthole } from "../testing/daemons.js";

const INPUT_ID = "0198f0a0-0000-7000-8000-0000000000bb";
const NOW = "2026-05-28T15:31:27.123456789Z";
const input = {
  inputId: INPUT_ID,
  currentState: "accepted",
  attemptCount: 0,
  recoveryCount: 0,
  history: [],
  createdAt: NOW,
  updatedAt: NOW,
} as const;

let home: string;
let daemons: DaemonProcess[];

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "bolthole-serve-"));
  daemons = [];
});

afterEach(async () => {
  for (const daemon of daemons) await daemon.stop("SIGKILL");
  rmSync(home, { recursive: true, force: true });
});

const data = (): string => join(home, "data");

function daemon(options: Partial<DaemonProcessOptions> = {}): DaemonProcess {
  const created = new DaemonProcess({ main: MAIN, data: data(), ...options });
  daemons.push(created);
  return created;
}

describe("the data folder", () => {
  test("is accessible to its owner only, and so are its files", async () => {
    await daemon({ args: ["--listen", "127.0.0.1:0"] }).start();
    const modes = ["", "bolthole.lock", "bolthole.sock", "data.mdb", "endpoint", "format", "token"].map(
      (name) => statSync(join(data(), name)).mode & 0o777,
    );
    expect(modes).toEqual([0o700, 0o600, 0o600, 0o600, 0o600, 0o600, 0o600]);
  });

  test("that another daemon uses is refused, and the error names the pid", async () => {
    const first = await daemon().start();
    const second = daemon();
    expect(await second.runToEnd()).toEqual({ code: EXIT.HELD, signal: null });
    expect(second.output).toContain(`pid ${first.pid}`);
    expect(existsSync(join(data(), "bolthole.sock"))).toBe(true);
  });

  test("with the files of another program is refused", async () => {
    mkdirSync(data(), { mode: 0o700 });
    writeFileSync(join(data(), "photos.txt"), "");
    const refused = daemon();
    expect((await refused.runToEnd()).code).toBe(EXIT.DATA_FOLDER);
    expect(refused.output).toContain("photos.txt");
  });

  test("of a newer format is refused, and not changed", async () => {
    mkdirSync(data(), { mode: 0o700 });
    writeFileSync(join(data(), "format"), "bolthole 999\n");
    const refused = daemon();
    expect((await refused.runToEnd()).code).toBe(EXIT.DATA_FOLDER);
    expect(refused.output).toContain("format 999");
    expect(existsSync(join(data(), "data.mdb"))).toBe(false);
  });

  test("that other users can write is refused", async () => {
    mkdirSync(data());
    chmodSync(data(), 0o777);
    const refused = daemon();
    expect((await refused.runToEnd()).code).toBe(EXIT.DATA_FOLDER);
    expect(refused.output).toContain("is writable by other users");
  });

  test("that cannot be created is refused", async () => {
    writeFileSync(join(home, "file"), "");
    const refused = daemon({ data: join(home, "file", "data") });
    expect((await refused.runToEnd()).code).toBe(EXIT.DATA_FOLDER);
    expect(refused.output).toContain("cannot be created or written (ENOTDIR)");
  });

  test.each([
    ["status", EXIT.NOT_RUNNING, []],
    ["verify", EXIT.DATA_FOLDER, []],
    ["backup", EXIT.DATA_FOLDER, ["FILE"]],
  ])("below a file ends bolthole %s with an error and without a stack", async (command, code, args) => {
    writeFileSync(join(home, "file"), "");
    const result = await bolthole(command, ...args, "--data", join(home, "file", "data"));
    expect([result.code, result.err]).toEqual([code, expect.stringMatching(/^bolthole: [^\n]*\n$/)]);
  });

  test.each([
    ["the data folder", (path: string) => ["serve", "--data", path]],
    [
      "the control folder of a database",
      (path: string) => ["serve", "--engine", "sqlite", "--data", join(path, "file")],
    ],
    ["a restored data folder", (path: string) => ["restore", __filename, "--data", path]],
  ])("that the file system refuses to create ends the command with an error: %s", async (_description, args) => {
    // In /proc, mkdir reports ENOENT although the parent exists.
    for (const path of ["/proc/x", "/proc/x/y"]) {
      const { code, err } = await bolthole(...args(path));
      expect([code, err]).toEqual([EXIT.DATA_FOLDER, expect.stringContaining("cannot be created")]);
    }
  });

  test("with a very long path is refused when the folder of its socket cannot be created", async () => {
    const refused = daemon({ data: join(home, "x".repeat(120)), env: { XDG_RUNTIME_DIR: "/proc/x" } });
    expect((await refused.runToEnd()).code).toBe(EXIT.DATA_FOLDER);
    expect(refused.output).toContain(
      "in the folder /proc/x/bolthole, because the path of the data folder is long, but it cannot be created",
    );
  });

  test("with a very long path has its socket in the runtime folder of the user", async () => {
    const long = join(home, "x".repeat(120));
    const elsewhere = join(home, "run");
    mkdirSync(elsewhere, { mode: 0o700 });
    const served = await daemon({ data: long, env: { XDG_RUNTIME_DIR: elsewhere } }).start();
    expect(served.target).toMatch(new RegExp(`^unix:${elsewhere}/bolthole/[0-9a-f]{16}[.]sock$`));
    const store = await connect(served.target);
    expect(await store.loadInputStates("rt")).toEqual([]);
    await store.close();
  });
});

describe("a database file", () => {
  const args = ["--engine", "sqlite"];
  const file = (): string => join(home, "sessions.sqlite3");
  const ofFile = (options: Partial<DaemonProcessOptions> = {}): DaemonProcess =>
    daemon({ data: file(), home: `${file()}.bolthole`, args, ...options });

  test("is served with a control folder beside it, and keeps its rows after a kill", async () => {
    const served = await ofFile().start();
    const store = await connect(served.target);
    await store.persistInputState("rt", input);
    await served.restart("SIGKILL");
    expect(await store.loadInputState("rt", INPUT_ID)).toMatchObject(input);
    await store.close();
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(statSync(`${file()}.bolthole`).mode & 0o777).toBe(0o700);
  });

  test("is served by one daemon only, also when another path leads to it", async () => {
    const first = await ofFile().start();
    const link = join(home, "link.sqlite3");
    symlinkSync(file(), link);
    const second = daemon({ data: link, args });
    expect((await second.runToEnd()).code).toBe(EXIT.HELD);
    expect(second.output).toContain(`pid ${first.pid}`);
  });

  test("must be given, and must not be a folder or a file of another program", async () => {
    const unnamed = daemon({ args: [...args, "--data", ""] });
    expect((await unnamed.runToEnd()).code).toBe(EXIT.USAGE);
    mkdirSync(data(), { mode: 0o700 });
    const folder = daemon({ args });
    expect((await folder.runToEnd()).code).toBe(EXIT.DATA_FOLDER);
    expect(folder.output).toContain("found a folder");
    writeFileSync(file(), "some text ".repeat(1000));
    const text = ofFile();
    expect((await text.runToEnd()).code).toBe(EXIT.DATA_FOLDER);
    expect(text.output).toContain("not a SQLite database");
  });
});

describe("listening", () => {
  test("a socket file that a crash left behind does not block the next start", async () => {
    const served = await daemon().start();
    await served.stop("SIGKILL");
    expect(existsSync(join(data(), "bolthole.sock"))).toBe(true);
    await served.start();
  });

  test("a socket on which another process listens is not replaced", async () => {
    mkdirSync(data(), { mode: 0o700 });
    const path = join(data(), "bolthole.sock");
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(path, resolve));
    try {
      const refused = daemon();
      expect((await refused.runToEnd()).code).toBe(EXIT.ADDRESS);
      expect(existsSync(path)).toBe(true);
    } finally {
      other.close();
    }
  });

  test("the start prints each target and a grpcurl command for the socket", async () => {
    const served = await daemon({ args: ["--listen", "127.0.0.1:0", "--log-level", "silent"] }).start();
    // The endpoint file, which `start` waits for, is written before the text.
    for (let attempt = 0; attempt < 500 && !served.output.includes("try "); attempt += 1) await sleep(10);
    await served.stop();
    expect(served.output.split("\n")).toEqual([
      `bolthole listens on unix:${join(data(), "bolthole.sock")}`,
      expect.stringMatching(/^bolthole listens on 127\.0\.0\.1:\d+$/),
      `try (grpcurl 1.9.2 or later): grpcurl -plaintext unix://${join(data(), "bolthole.sock")} bolthole.v1.RuntimeStoreService/GetServerInfo`,
      "",
    ]);
  });

  test("a TCP address in use is refused", async () => {
    const first = await daemon({ args: ["--listen", "127.0.0.1:0"] }).start();
    const refused = daemon({ data: join(home, "other"), args: ["--listen", first.targets[1] ?? ""] });
    expect((await refused.runToEnd()).code).toBe(EXIT.ADDRESS);
    expect(refused.output).toContain("EADDRINUSE");
  });

  test("TCP calls need the token", async () => {
    const served = await daemon({ args: ["--listen", "127.0.0.1:0"] }).start();
    const tcp = served.targets[1] ?? "";
    await expect(connect(tcp)).rejects.toMatchObject({ reason: "UNAUTHENTICATED" });
    await expect(connect(tcp, { token: "0".repeat(64) })).rejects.toMatchObject({ reason: "UNAUTHENTICATED" });
  });

  test("calls of AdminService over TCP say where it is served", async () => {
    const served = await daemon({ args: ["--listen", "127.0.0.1:0"] }).start();
    const client = new Client(served.targets[1] ?? "", credentials.createInsecure());
    const token = new Metadata();
    token.set("authorization", `Bearer ${readFileSync(join(data(), "token"), "utf8").trim()}`);
    const same = (bytes: Buffer): Buffer => bytes;
    const refusal = (path: string, isStream: boolean): Promise<ServiceError> =>
      new Promise((resolve) => {
        if (isStream) {
          client.makeServerStreamRequest(path, same, same, Buffer.alloc(0), token).on("error", resolve).resume();
        } else {
          client.makeUnaryRequest(path, same, same, Buffer.alloc(0), token, (error) => {
            resolve(error as ServiceError);
          });
        }
      });
    try {
      for (const { name, methodKind } of AdminService.methods) {
        const error = await refusal(`/${AdminService.typeName}/${name}`, methodKind === "server_streaming");
        expect(error.code).toBe(status.UNIMPLEMENTED);
        expect(error.details).toContain("use the unix socket of the daemon");
      }
    } finally {
      client.close();
    }
  });

  test("invalid settings have a separate exit code", async () => {
    const refused = daemon({ args: ["--engine", "stone"], env: { BOLTHOLE_MAX_STREAMS: "none" } });
    expect((await refused.runToEnd()).code).toBe(EXIT.USAGE);
    expect(refused.output).toMatch(/--engine[^]*BOLTHOLE_MAX_STREAMS/);
  });
});

describe("health", () => {
  const { grpc } = loadPackageDefinition(loadSync(protoPath)) as unknown as {
    grpc: { health: { v1: { Health: new (target: string, credentials: unknown) => Client & HealthCalls } } };
  };
  interface HealthCalls {
    check(request: object, callback: (error: Error | null, response?: { status: number | string }) => void): void;
    watch(request: object): AsyncIterable<{ status: number | string }> & { cancel(): void };
  }

  test("is reported for the server and for each service, without a token", async () => {
    const served = await daemon({ args: ["--listen", "127.0.0.1:0"] }).start();
    for (const target of served.targets) {
      const client = new grpc.health.v1.Health(target, credentials.createInsecure());
      for (const service of ["", "bolthole.v1.RuntimeStoreService"]) {
        const status = await new Promise((resolve, reject) => {
          client.check({ service }, (error, response) => {
            if (response) resolve(response.status);
            else reject(error ?? new Error("no response"));
          });
        });
        expect(status).toBe(1);
      }
      client.close();
    }
  });

  test("changes to NOT_SERVING for a watcher when the daemon stops", async () => {
    const served = await daemon().start();
    const client = new grpc.health.v1.Health(served.target, credentials.createInsecure());
    const watch = client.watch({ service: "" });
    const seen: unknown[] = [];
    try {
      for await (const { status } of watch) {
        seen.push(status);
        if (seen.length === 1) served.signal("SIGTERM");
        if (seen.length === 2) break;
      }
    } finally {
      client.close();
    }
    expect(seen).toEqual([1, 2]);
  });
});

describe("stopping", () => {
  test("a signal directly after the start leaves a closed store", async () => {
    const served = daemon();
    for (let times = 0; times < 4; times += 1) {
      await served.start();
      expect(await served.stop()).toEqual({ code: EXIT.CLEAN, signal: null });
      expect(existsSync(join(data(), "running"))).toBe(false);
    }
  });

  test.each(["SIGTERM", "SIGINT"] as const)(
    "%s stops the daemon cleanly, and the next start serves the committed data",
    async (signal) => {
      const served = await daemon().start();
      const before = await connect(served.target);
      await before.persistInputState("rt", input);
      await before.close();
      expect(await served.stop(signal)).toEqual({ code: EXIT.CLEAN, signal: null });
      expect(existsSync(join(data(), "endpoint"))).toBe(false);

      await served.start();
      const after = await connect(served.target);
      expect(await after.loadInputState("rt", INPUT_ID)).toMatchObject(input);
      await after.close();
    },
  );

  test("a store that does not close ends the process within the time limit, and a second signal does not shorten it", async () => {
    const change =
      'if (request === "@bolthole/lmdb") exports.LmdbEngine.prototype.close = () => new Promise(() => undefined);';
    const served = await daemon({
      args: ["--close-timeout", "500ms"],
      env: environmentWithChange(join(home, "never-closes.cjs"), change),
    }).start();
    const store = await connect(served.target);
    await store.persistInputState("rt", input);
    await store.close();
    served.signal("SIGTERM");
    served.signal("SIGTERM");
    expect(await served.ended).toEqual({ code: null, signal: "SIGKILL" });
    expect(served.output).toContain('"waitsFor":"the store"');

    const next = await daemon().start();
    const after = await connect(next.target);
    expect(await after.loadInputState("rt", INPUT_ID)).toMatchObject(input);
    await after.close();
  });

  test("a client that calls continuously has no error during a restart", async () => {
    const served = await daemon().start();
    // A restart takes long on a busy machine; the deadline of a call must be later.
    const store = await connect(served.target, { timeoutMs: 120_000 });
    const over = new AbortController();
    const caller = (async () => {
      let calls = 0;
      for (; !over.signal.aborted; calls += 1) await store.persistInputState("rt", { ...input, attemptCount: calls });
      return calls;
    })();
    await served.restart("SIGKILL");
    await served.restart("SIGTERM");
    over.abort();
    const calls = await caller;
    expect((await store.loadInputState("rt", INPUT_ID))?.attemptCount).toBe(calls - 1);
    await store.close();
  });
});

test("nothing that a client sent is logged", async () => {
  const canary = "canary-5e1f2c";
  const served = await daemon({ args: ["--listen", "127.0.0.1:0"], env: { BOLTHOLE_LOG_LEVEL: "debug" } }).start();
  const store = await connect(served.target);
  await store.persistAuthOauthFlowSnapshot(Buffer.from(`${canary}-oauth`));
  await store.commitSessionSnapshot("rt", { sessionSnapshot: Buffer.from(canary), profile: "opaque" });
  await expect(
    store.persistInputState("rt", { ...input, persistedInput: `{"input_type":"${canary}"}` }),
  ).rejects.toMatchObject({ reason: "INVALID_ARGUMENT" });
  await expect(connect(served.targets[1] ?? "", { token: canary })).rejects.toMatchObject({
    reason: "UNAUTHENTICATED",
  });
  await store.close();
  await served.stop();
  expect(served.output).toContain("call refused");
  expect(served.output).not.toContain(canary);
});
