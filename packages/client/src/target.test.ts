import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
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

test.each([
  ["", 'found ""'],
  ["  \n", "found"],
  ["http://127.0.0.1:7117", "an address has no scheme"],
  ["tcp://127.0.0.1:7117", "an address has no scheme"],
  ["127.0.0.1:70000", "a port is from 1 to 65535"],
  ["127.0.0.1:0", "a port is from 1 to 65535"],
  ["127.0.0.1", 'found "127.0.0.1"'],
  ["localhost", 'found "localhost"'],
  [undefined, "found undefined"],
  [7117, "found 7117"],
])("the target %p is refused with what is expected", (target, text) => {
  expect(() => parseTarget(target)).toThrow(TypeError);
  expect(() => parseTarget(target)).toThrow(text);
  expect(() => parseTarget(target)).toThrow("target: expected the path of a socket or of a data folder");
});

test("a file that is no socket is refused", () => {
  const file = join(folder, "data.mdb");
  writeFileSync(file, "");
  expect(() => parseTarget(file)).toThrow("that path is neither a socket nor a folder");
});

test("sockets and loopback addresses are on this machine", () => {
  for (const target of ["/run/x.sock", "127.0.0.1:1", "127.8.8.8:1", "localhost:1", "[::1]:1"])
    expect([target, isLocal(parseTarget(target))]).toEqual([target, true]);
  for (const target of ["10.0.0.1:1", "store.example:1", "dns:store.example:1"])
    expect([target, isLocal(parseTarget(target))]).toEqual([target, false]);
});

test("the reason why no connection can be made says whether a socket exists and whether anybody listens", async () => {
  mkdirSync(join(folder, "empty"));
  expect(await connectionProblem(parseTarget(join(folder, "empty")))).toMatch(
    /^there is no socket at .*empty\/bolthole.sock: no daemon serves that folder; start one with: bolthole serve --data/,
  );
  const server = await listening(join(folder, "silent.sock"));
  expect(await connectionProblem(parseTarget(join(folder, "silent.sock")))).toMatch(/does not answer as a daemon/);
  server.close();
  const tcp = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => tcp.once("listening", resolve));
  const { port } = tcp.address() as AddressInfo;
  tcp.close();
  expect(await connectionProblem(parseTarget(`127.0.0.1:${String(port)}`))).toBe(
    `no process listens at 127.0.0.1:${String(port)}: start one with: bolthole serve --listen 127.0.0.1:${String(port)}`,
  );
});
