import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, existsSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { Client, credentials } from "@grpc/grpc-js";
import { type BoltholeStore, connect } from "@bolthole/client";
import { EXIT } from "../exit-code.js";
import { MAIN } from "../testing/daemons.js";
import { inputRow } from "../testing/input-row.js";
import { getStatus } from "./status.js";

const MIB = 1 << 20;
/** More lines than a pipe and the memory for waiting lines hold. */
const REFUSED_CALLS = 8000;

let folder: string;
let data: string;
let daemon: ChildProcess;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-stalled-log-"));
  data = join(folder, "data");
});
afterEach(() => {
  daemon.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** Starts a daemon whose standard error is not read. Returns the function that begins to read it. */
function start(kind: "pipe" | "socket"): () => Readable {
  const args = [MAIN, "serve", "--data", data, "--log-level", "debug"];
  if (kind === "socket") {
    // Node makes a pair of sockets.
    daemon = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
    const { stderr } = daemon;
    if (!stderr) throw new Error("expected a socket");
    return () => stderr;
  }
  const path = join(folder, "pipe");
  execFileSync("mkfifo", [path]);
  // Without blocking, so that neither side waits for the other one.
  const reading = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writing = openSync(path, "w");
  daemon = spawn(process.execPath, args, { stdio: ["ignore", "ignore", writing] });
  closeSync(writing);
  return () => new Socket({ fd: reading, readable: true, writable: false });
}

async function isServing(target: string): Promise<boolean> {
  const client = new Client(target, credentials.createInsecure(), { "grpc.default_authority": "localhost" });
  try {
    const asIs = (bytes: Buffer): Buffer => bytes;
    const response = await new Promise<Buffer | undefined>((resolve, reject) => {
      const deadline = Date.now() + 60_000;
      const path = "/grpc.health.v1.Health/Check";
      client.makeUnaryRequest(path, asIs, asIs, Buffer.alloc(0), { deadline }, (error, received) => {
        if (error) reject(error);
        else resolve(received);
      });
    });
    // The field `status` with the value SERVING.
    return response?.equals(Buffer.from([8, 1])) === true;
  } finally {
    client.close();
  }
}

async function refuseMany(store: BoltholeStore): Promise<void> {
  for (let sent = 0; sent < REFUSED_CALLS; sent += 100) {
    const calls = Array.from({ length: 100 }, () => store.versioned.loadInputState({ runtimeId: "", inputId: "" }));
    for (const result of await Promise.allSettled(calls)) expect(result.status).toBe("rejected");
  }
}

test.each(["pipe", "socket"] as const)("a daemon serves while its log has no reader (%s)", async (kind) => {
  const read = start(kind);
  while (!existsSync(join(data, "endpoint"))) await new Promise((resolve) => setTimeout(resolve, 20));
  const store = await connect(data, { timeoutMs: 60_000 });
  await refuseMany(store);
  const before = await getStatus(data);
  await refuseMany(store);
  // It answers, it commits, and it has dropped what it could not keep.
  expect(await isServing(`unix:${join(data, "bolthole.sock")}`)).toBe(true);
  await store.persistInputState("rt", inputRow("one"));
  const { droppedLogLines, residentBytes } = await getStatus(data);
  expect(droppedLogLines).toBeGreaterThan(before.droppedLogLines);
  expect(Number(residentBytes - before.residentBytes)).toBeLessThan(128 * MIB);
  await store.close();

  // The reader goes on, while the daemon ends.
  const ended = once(daemon, "exit");
  daemon.kill("SIGTERM");
  let log = "";
  const stream = read().setEncoding("utf8");
  stream.on("data", (text: string) => (log += text));
  const atEnd = once(stream, "end");
  expect((await ended)[0]).toBe(EXIT.CLEAN);
  await atEnd;
  const lines = log
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { readonly message: string; readonly dropped?: number });
  expect(lines.slice(-2)).toMatchObject([{ message: "stopping" }, { message: "stopped" }]);
  const dropped = lines.reduce((total, line) => total + (line.dropped ?? 0), 0);
  expect(dropped).toBeGreaterThanOrEqual(Number(droppedLogLines));
});
