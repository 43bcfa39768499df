import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { BoltholeStore } from "@bolthole/client";
import type { DaemonProcess } from "@bolthole/conformance/process";
import { ScrubState, type ScrubStatus } from "@bolthole/contract/wire";
import { EXIT } from "../exit-code.js";
import { Daemons, bolthole } from "../testing/daemons.js";
import { INPUT_ID, inputRow } from "../testing/input-row.js";
import { getStatus } from "./status.js";

const IN_ROW = "a text that only one row contains";
const IN_DOCUMENT = "a text that only one document contains";
let folder: string;
let data: string;
let daemons: Daemons;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-scrub-"));
  data = join(folder, "data");
  daemons = new Daemons();
});
afterEach(async () => {
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

const FAST = ["--scrub-rate", "1GiB", "--scrub-interval", "1s"];

const served = <T>(
  args: readonly string[],
  use: (store: BoltholeStore, daemon: DaemonProcess) => Promise<T>,
): Promise<T> => daemons.serve(daemons.add(data, ["--log-level", "error", ...args]), use);

async function fill(store: BoltholeStore): Promise<void> {
  await store.persistInputState("rows", inputRow(IN_ROW));
  await store.commitSessionSnapshot("documents", {
    sessionSnapshot: Buffer.concat([
      Buffer.alloc(100_000, "document"),
      Buffer.from(IN_DOCUMENT),
      Buffer.alloc(100_000),
    ]),
    profile: "opaque",
  });
  await store.persistInputState("undamaged", inputRow("undamaged"));
}

async function scrubOf(): Promise<ScrubStatus> {
  const { scrub } = await getStatus(data);
  if (!scrub) throw new Error("the status has no scrub member");
  return scrub;
}

/** Polls the status until the condition holds. */
async function until(isReached: (scrub: ScrubStatus) => boolean): Promise<ScrubStatus> {
  for (let attempt = 0; attempt < 1000; attempt += 1) {
    const scrub = await scrubOf();
    if (isReached(scrub)) return scrub;
    await sleep(20);
  }
  throw new Error("the scrub did not reach the expected state in time");
}

/** Returns the findings of the first pass that starts after this call. */
async function nextFindings(): Promise<(string | undefined)[][]> {
  const { passes } = await scrubOf();
  const { last } = await until((scrub) => scrub.passes >= passes + 2n);
  return (last?.findings ?? []).map(({ code, runtimeId, record }) => [code, runtimeId, record]);
}

/** Changes a byte at a distance after every copy of `mark` in the data file, also in old pages, while the daemon runs. */
function flipBehind(mark: Buffer, distance: number): void {
  const path = join(data, "data.mdb");
  const bytes = readFileSync(path);
  const file = openSync(path, "r+");
  let count = 0;
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 1)) {
    const position = at + distance;
    writeSync(file, Buffer.of((bytes[position] ?? 0) ^ 1), 0, 1, position);
    count += 1;
  }
  closeSync(file);
  expect(count).toBeGreaterThan(0);
}

const reasonOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => "none",
    (error: unknown) => (error as { reason?: unknown }).reason ?? error,
  );

test("a row that changes on the disk is reported in the status and the log until it is written again", async () => {
  await served(FAST, async (store, daemon) => {
    await fill(store);
    expect(await nextFindings()).toEqual([]);
    flipBehind(Buffer.from(IN_ROW), 5);
    const finding = ["row-damaged", "rows", `input state ${INPUT_ID}`];
    expect(await nextFindings()).toEqual([finding]);
    expect(await nextFindings()).toEqual([finding]);
    expect(daemon.output.match(/a stored record is damaged/g)).toHaveLength(1);
    const status = await bolthole("status", "--data", data);
    expect(status.out).toMatch(
      /^scrub +(running|resting), 1024\.0 MiB per second, \d+ pass(es)?.* 3 runtimes, .* 1 finding$/m,
    );
    expect(status.out).toMatch(new RegExp(`^damaged +row-damaged +"rows" input state ${INPUT_ID}`, "m"));
    for (let load = 0; load < 3; load += 1) {
      expect(await reasonOf(store.loadInputStates("rows"))).toBe("DAMAGED_RECORD");
    }
    // One line for the record, and none with the id of the runtime.
    expect(daemon.output.match(/a stored record is damaged/g)).toHaveLength(1);
    expect(daemon.output).not.toContain('"rows"');
    expect(await store.loadInputStates("undamaged")).toHaveLength(1);
    await store.persistInputState("rows", inputRow("again"));
    expect(await nextFindings()).toEqual([]);
  });
});

test("a damaged part of a session is reported until the session is cleared", async () => {
  await served(FAST, async (store) => {
    await fill(store);
    flipBehind(Buffer.from(IN_DOCUMENT), 5);
    expect(await nextFindings()).toEqual([["document-damaged", "documents", "session snapshot"]]);
    await store.clearSessionSnapshot("documents");
    expect(await nextFindings()).toEqual([]);
  });
});

test("a runtime with a damaged manifest is refused, also after a restart, and other runtimes are served", async () => {
  const isDamaged = async (store: BoltholeStore): Promise<void> => {
    expect(await reasonOf(store.loadInputState("rows", INPUT_ID))).toBe("DAMAGED_RECORD");
    expect(await reasonOf(store.persistInputState("rows", inputRow("again")))).toBe("DAMAGED_RECORD");
    expect(await store.loadInputStates("undamaged")).toHaveLength(1);
    await store.persistInputState("undamaged", inputRow("changed"));
  };
  await served(FAST, async (store) => {
    await fill(store);
    // The key of the runtime manifest; its value has a header of 20 bytes.
    const manifestKey = Buffer.concat([Buffer.of(2), Buffer.from("rows"), Buffer.of(0, 1, 0)]);
    flipBehind(manifestKey, manifestKey.length + 24);
    expect(await nextFindings()).toEqual([
      ["row-damaged", "rows", "runtime manifest"],
      ["head-missing", "rows", "runtime manifest"],
    ]);
    await isDamaged(store);
  });
  await served(["--scrub-interval", "24h"], async (store, daemon) => {
    for (let attempt = 0; attempt < 100 && !daemon.output.includes("head-missing"); attempt += 1) await sleep(100);
    await isDamaged(store);
    expect((await scrubOf()).state).toBe(ScrubState.RESTING);
  });
});

test("a pass continues after a restart and after a crash", async () => {
  const slow = ["--scrub-rate", "32KiB", "--scrub-interval", "24h"];
  await served(["--scrub-rate", "off"], async (store) => {
    for (let index = 0; index < 20; index += 1) {
      const sessionSnapshot = Buffer.alloc(20_000, `document ${String(index)}`);
      await store.commitSessionSnapshot(`runtime ${String(index)}`, { sessionSnapshot, profile: "opaque" });
    }
  });
  const before = await served(slow, () => until(({ current }) => (current?.runtimes ?? 0n) > 0n));
  const { startedAt, runtimes = 0n } = before.current ?? {};
  expect(statSync(join(data, "scrub")).mode & 0o777).toBe(0o600);
  await served(slow, async (_store, daemon) => {
    const { current, last } = await scrubOf();
    await daemon.stop("SIGKILL");
    expect((current ?? last)?.startedAt).toBe(startedAt);
    expect((current ?? last)?.runtimes).toBeGreaterThanOrEqual(runtimes);
  });
  await served(["--scrub-rate", "1GiB", "--scrub-interval", "24h"], async () => {
    const { last } = await until(({ passes }) => passes === 1n);
    expect(last).toMatchObject({ startedAt, runtimes: 20n, findingCount: 0n });
  });
});

test("the scrub can be disabled, and is off for an engine without checks", async () => {
  await served(["--scrub-rate", "off"], async (store) => {
    await fill(store);
    expect(await scrubOf()).toMatchObject({ state: ScrubState.OFF, passes: 0n });
    expect((await bolthole("status", "--data", data)).out).toMatch(/^scrub +off$/m);
    expect(existsSync(join(data, "scrub"))).toBe(false);
  });
  await served(["--engine", "memory"], async () => {
    expect(await scrubOf()).toMatchObject({ state: ScrubState.OFF });
  });
  expect((await bolthole("verify", "--data", data)).code).toBe(EXIT.CLEAN);
});
