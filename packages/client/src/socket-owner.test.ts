import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { type Socket, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { connect } from "./index.js";
import { socketProblem } from "./socket-owner.js";
import { startEmptyDaemon } from "./testing/empty-daemon.js";

const OTHER = 65_534;
const isRoot = process.getuid?.() === 0;
/** Only root can make files of another user. */
const asRoot = isRoot ? test : test.skip;
if (!isRoot) console.warn("SKIPPED: the tests with a second user need root");

let folder: string;
let end: (() => unknown)[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-owner-"));
  end = [];
});
afterEach(async () => {
  for (const one of end) await one();
  rmSync(folder, { recursive: true, force: true });
});

interface Imposter {
  readonly bytes: () => number;
  close(): Promise<void>;
}

/** Listens on a socket of another user, as a program that took its name, and counts the bytes that it gets. */
async function impose(path: string, uid = OTHER): Promise<Imposter> {
  let bytes = 0;
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    socket.on("error", () => undefined);
  }).listen(path);
  await once(server, "listening");
  chownSync(path, uid, uid);
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  end.push(close);
  return { bytes: () => bytes, close };
}

async function startDaemon(): Promise<{ readonly socket: string; readonly target: string; stop(): void }> {
  const socket = join(folder, "bolthole.sock");
  const { target, end: stop } = await startEmptyDaemon({ code: status.INTERNAL, details: "refused" }, socket);
  end.push(() => {
    stop();
  });
  return { socket, target, stop };
}

asRoot("nothing is sent to the socket of another user, and the error comes at once", async () => {
  const socket = join(folder, "bolthole.sock");
  const imposter = await impose(socket);
  await expect(connect(socket, { timeoutMs: 600_000 })).rejects.toMatchObject({
    reason: "UNAUTHENTICATED",
    applied: "no",
    message: expect.stringMatching(
      /bolthole\.sock belongs to user 65534.*socketOwner: 65534.*nothing was sent/,
    ) as string,
  });
  expect(imposter.bytes()).toBe(0);
});

asRoot("a socket in the folder of another user is refused", async () => {
  const theirs = join(folder, "theirs");
  mkdirSync(theirs);
  await impose(join(theirs, "bolthole.sock"), 0);
  chownSync(theirs, OTHER, OTHER);
  await expect(connect(theirs)).rejects.toMatchObject({ reason: "UNAUTHENTICATED" });
  // A link of this user leads there.
  symlinkSync(theirs, join(folder, "link"));
  await expect(connect(join(folder, "link"))).rejects.toMatchObject({ reason: "UNAUTHENTICATED" });
});

asRoot("socketOwner names the user of the daemon", async () => {
  const { socket, target } = await startDaemon();
  chownSync(socket, OTHER, OTHER);
  await expect(connect(target)).rejects.toMatchObject({ reason: "UNAUTHENTICATED" });
  await expect(connect(target, { socketOwner: OTHER - 1 })).rejects.toMatchObject({ reason: "UNAUTHENTICATED" });
  await (await connect(target, { socketOwner: OTHER })).close();
});

asRoot("a connection that is made again is looked at again", async () => {
  const { socket, target, stop } = await startDaemon();
  const store = await connect(target, { timeoutMs: 60_000 });
  stop();
  rmSync(socket, { force: true });
  const imposter = await impose(socket);
  await expect(store.loadInputStates("rt")).rejects.toMatchObject({ reason: "UNAUTHENTICATED" });
  expect(imposter.bytes()).toBe(0);
  await store.close();
});

test("a socket in a folder in which every user may replace it is refused; a sticky folder is not such a one", async () => {
  const socket = join(folder, "s.sock");
  const server = createServer().listen(socket);
  await once(server, "listening");
  end.push(async () => {
    await new Promise((resolve) => server.close(resolve));
  });
  expect(socketProblem(socket)).toBeUndefined();
  chmodSync(folder, 0o1777);
  expect(socketProblem(socket)).toBeUndefined();
  chmodSync(folder, 0o777);
  expect(socketProblem(socket)).toContain(`run: chmod o-w ${folder}`);
  chmodSync(folder, 0o700);
});

test("a place without a socket is no problem of owners", () => {
  expect(socketProblem(join(folder, "none.sock"))).toBeUndefined();
});

test.each([-1, 1.5, Number.NaN, "1000"])("socketOwner %p is refused", async (socketOwner) => {
  await expect(connect(join(folder, "s.sock"), { socketOwner: socketOwner as number })).rejects.toThrow(
    /^socketOwner: expected the id of a user/,
  );
});
