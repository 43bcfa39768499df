import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@bolthole/client";
import { EXIT } from "../exit-code.js";
import { MAIN } from "../testing/daemons.js";
import { inputRow } from "../testing/input-row.js";

let folder: string;
let daemon: ChildProcess | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-log-"));
});
afterEach(() => {
  daemon?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

function start(stdio: StdioOptions, level: string): ChildProcess {
  const args = [MAIN, "serve", "--data", join(folder, "data"), "--log-level", level];
  daemon = spawn(process.execPath, args, { stdio });
  return daemon;
}

/** Uses the daemon: one call that is refused, and one that is served. */
async function use(): Promise<void> {
  const store = await connect(join(folder, "data"), { timeoutMs: 30_000 });
  await expect(store.loadInputState("rt", "no id")).rejects.toMatchObject({ reason: "INVALID_ARGUMENT" });
  for (let row = 0; row < 20; row += 1) await store.persistInputState("rt", inputRow(String(row)));
  expect(await store.loadInputStates("rt")).toHaveLength(1);
  await store.close();
}

async function stopped(process: ChildProcess): Promise<unknown> {
  const ended = once(process, "exit");
  process.kill("SIGTERM");
  return (await ended)[0];
}

const hasFullDevice = existsSync("/dev/full");
const testWithFullDevice = hasFullDevice ? test : test.skip;

testWithFullDevice.each(["info", "debug"])("a log that cannot be written ends nothing (level %s)", async (level) => {
  const full = openSync("/dev/full", "w");
  const process = start(["ignore", "ignore", full], level);
  closeSync(full);
  await use();
  expect(await stopped(process)).toBe(EXIT.CLEAN);
});

test("an output whose reader has gone ends nothing", async () => {
  const process = start(["ignore", "pipe", "pipe"], "debug");
  process.stdout?.destroy();
  process.stderr?.destroy();
  await use();
  expect(await stopped(process)).toBe(EXIT.CLEAN);
});
