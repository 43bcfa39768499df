import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, type Server, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectionProblem, isLocal, parseTarget } from "./target.js";

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "bolthole-target-")));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const listening = (path: string): Promise<Server> =>
  new Promise((resolve) => {
    const server = createServer();
    server.listen(path, () => {
      resolve(server);
    });
  });

test("a path, a data folder and an address are recognised as they are written", async () => {
  const socket = join(folder, "bolthole.sock");
  const expected = { address: `unix:${socket}`, socket };
  for (const text of [
    socket,
    `unix:${socket}`,
    `unix://${socket}`,
    `UNIX:${socket}`,
    ` ${socket}\n`,
    folder,
    `${folder}/`,
  ]) {
    expect([text, parseTarget(text)]).toEqual([text, expected]);
  }
  const server = await listening(socket);
  expect(parseTarget(socket)).toEqual(expected);
  server.close();
  const before = process.cwd();
  process.chdir(folder);
  try {
    for (const text of ["./bolthole.sock", "unix:bolthole.sock", "unix:./bolthole.sock", "."]) {
      expect([text, parseTarget(text)]).toEqual([text, expected]);
    }
  } finally {
    process.chdir(before);
  }
  expect(parseTarget("127.0.0.1:7117")).toEqual({ address: "127.0.0.1:7117", host: "127.0.0.1", port: 7117 });
  expect(parseTarget("[::1]:7117\n")).toEqual({ address: "[::1]:7117", host: "::1", port: 7117 });
});

test("a data folder leads to its socket, also before it is made, and when the socket is elsewhere", () => {
  const future = join(folder, "not-made-yet");
  expect(parseTarget(future)).toMatchObject({ socket: join(future, "bolthole.sock") });
  writeFileSync(join(folder, "endpoint"), "unix:/run/elsewhere/bolthole.sock\n127.0.0.1:7117\n");
  expect(parseTarget(folder)).toMatchObject({ socket: "/run/elsewhere/bolthole.sock" });
});

test.each(["a pipe", "a folder"])("%s in the place of the file endpoint is not read", (kind) => {
  const path = join(folder, "endpoint");
  if (kind === "a folder") mkdirSync(path);
  else execFileSync("mkfifo", [path]);
  // In a process of its own: the old code waited for the writer of the pipe, without an end.
  const script = `console.log(JSON.stringify(require(process.argv[1]).parseTarget(process.argv[2])))`;
  const args = ["-e", script, join(__dirname, "target.js"), folder];
  const found: unknown = JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8", timeout: 120_000 }));
  expect(found).toMatchObject({ socket: join(folder, "bolthole.sock") });
});

test.each([
  ["", 'found ""'],
  ["  \n", "found"],
  ["http://127.0.0.1:7117", "an address has no scheme"],
  ["tcp://127.0.0.1:7117", "an address has no scheme"],
  ["127.0.0.1:70000", "a port is from 1 to 65535"],
  ["127.0.0.1:0", "a port is from 1 to 65535"],
  ["unix://", "the path is missing"],
  ["127.0.0.1", 'found "127.0.0.1"'],
  ["localhost", 'found "localhost"'],
  [undefined, "found undefined"],
  [7117, "found 7117"],
])("the target %p is refused with what is expected", (target, text) => {
  expect(() => parseTarget(target)).toThrow(TypeError);
  expect(() => parseTarget(target)).toThrow(text);
  expect(() => parseTarget(target)).toThrow("target: expected the path of a socket or of a data folder");
});

test("a file that is no socket is refused, and its path is shown whole", () => {
  const longFolder = join(folder, "a-folder-with-a-long-name".repeat(4));
  mkdirSync(longFolder);
  const file = join(longFolder, "data.mdb");
  writeFileSync(file, "");
  expect(() => parseTarget(file)).toThrow(`found ${JSON.stringify(file)} (`);
  expect(() => parseTarget(file)).toThrow("that path is neither a socket nor a folder");
});

test("sockets and loopback addresses are on this machine", () => {
  for (const target of [
    "/run/x.sock",
    "127.0.0.1:1",
    "127.8.8.8:1",
    "localhost:1",
    "[::1]:1",
    "127.1:1",
    "0.0.0.0:1",
    "2130706433:1",
    "[::ffff:127.0.0.1]:1",
    "localhost.:1",
    "[::]:1",
  ])
    expect([target, isLocal(parseTarget(target))]).toEqual([target, true]);
  for (const target of [
    "10.0.0.1:1",
    "store.example:1",
    "dns:store.example:1",
    "127.0.0.1.example:1",
    "[::2]:1",
    "[2001::7f00:1]:1",
  ])
    expect([target, isLocal(parseTarget(target))]).toEqual([target, false]);
});

test("the reason why no connection can be made says whether a socket exists and whether anybody listens", async () => {
  mkdirSync(join(folder, "empty"));
  expect(await connectionProblem(parseTarget(join(folder, "empty")))).toMatch(
    /^there is no socket at .*empty\/bolthole.sock, so no daemon serves that folder; start a daemon with: bolthole serve --data .*empty$/,
  );
  expect(await connectionProblem(parseTarget(`unix:${folder}/st.bolthole/bolthole.sock`))).toContain(
    `bolthole serve --engine sqlite --data ${folder}/st`,
  );
  expect(await connectionProblem(parseTarget(`/${"x".repeat(300)}/a.sock`))).toMatch(
    /^the path of the socket has 308 bytes/,
  );
  const server = await listening(join(folder, "silent.sock"));
  expect(await connectionProblem(parseTarget(join(folder, "silent.sock")))).toMatch(/does not answer as a daemon/);
  server.close();
  const tcp = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => tcp.once("listening", resolve));
  const { port } = tcp.address() as AddressInfo;
  tcp.close();
  expect(await connectionProblem(parseTarget(`127.0.0.1:${String(port)}`))).toBe(
    `no process listens at 127.0.0.1:${String(port)}; start a daemon with: bolthole serve --listen 127.0.0.1:${String(port)}`,
  );
  expect(await connectionProblem(parseTarget(`ipv4:127.0.0.1:${String(port)}`))).toMatch(/--listen 127\.0\.0\.1:\d+$/);
});

/** Returns the problem that another user has with a socket, found in a process that has become that user. */
function problemOfAnotherUser(socket: string): string {
  const script = `
    const { connectionProblem, parseTarget } = require(process.argv[1]);
    if (process.getuid() === 0) {
      process.setgroups([]);
      process.setgid(${String(NOBODY)});
      process.setuid(${String(NOBODY)});
    }
    connectionProblem(parseTarget("unix:" + process.argv[2])).then(console.log);`;
  const args = ["-e", script, join(__dirname, "target.js"), socket];
  return execFileSync(process.execPath, args, { encoding: "utf8", timeout: 120_000 }).trim();
}

const NOBODY = 65_534;

test("a user who may not enter the folder, or may not use the socket, is told so", async () => {
  const closed = join(folder, "closed");
  mkdirSync(closed);
  const hidden = await listening(join(closed, "a.sock"));
  const open = join(folder, "open.sock");
  const shown = await listening(open);
  try {
    // Root ignores modes, and its child becomes another user. Any other user is stopped by these modes itself.
    chmodSync(folder, 0o755);
    chmodSync(closed, 0);
    chmodSync(open, 0);
    expect(problemOfAnotherUser(join(closed, "a.sock"))).toBe(
      `this user may not look into the folder of ${join(closed, "a.sock")}; connect as the user of the daemon`,
    );
    expect(problemOfAnotherUser(open)).toBe(
      `this user may not connect to the socket ${open}; connect as the user of the daemon`,
    );
  } finally {
    chmodSync(closed, 0o700);
    hidden.close();
    shown.close();
  }
});
