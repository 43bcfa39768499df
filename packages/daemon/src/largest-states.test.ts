import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import type { DaemonProcess } from "@bolthole/conformance/process";
import type { MachineLifecycle, RunBoundaryReceipt, StoredInputState } from "@bolthole/contract";
import { RemoteMaintenance } from "./cli/remote-maintenance.js";
import { Daemons, bolthole } from "./testing/daemons.js";
import { type DaemonFigures, FIGURES_FILE } from "./testing/event-loop-observer.js";

/*
 * The largest states that accepted calls can make, driven through every operation that must be able to leave them.
 *
 * BOLTHOLE_TEST_LONG=1 runs the long form too: 4,096 rows of 900 kB and 50,000 rows, over LMDB. It needs 20 GB of disk and some
 * minutes, and prints the memory of the daemon and the longest delay of its event loop.
 */
const IS_LONG = process.env.BOLTHOLE_TEST_LONG === "1";
delete process.env.BOLTHOLE_TEST_LONG;

const RT = "largest";
const RETIRED: MachineLifecycle = { runtimeState: "retired", binding: { fenceToken: 1n } };
const NOW = "2026-05-28T15:31:27Z";
const CALL_MS = 120_000;

const idOf = (n: number): string => `0198f01a-0000-7000-8000-${String(n).padStart(12, "0")}`;

const promptOf = (n: number, bytes: number): string =>
  `{"input_type":"prompt","header":{"id":"${idOf(n)}","timestamp":"${NOW}","source":{"type":"operator"},` +
  `"durability":"durable","visibility":{"transcript_eligible":true,"operator_eligible":true}},` +
  `"text":"${"a prompt of many words ".repeat(bytes / 23)}"}`;

const acceptedRow = (n: number, bytes: number): StoredInputState => ({
  inputId: idOf(n),
  currentState: "accepted",
  attemptCount: 0,
  recoveryCount: 0,
  history: [],
  ...(bytes === 0 ? {} : { persistedInput: promptOf(n, bytes) }),
  createdAt: NOW,
  updatedAt: NOW,
});

/** Returns the row as a retirement writes it. */
const abandoned = (row: StoredInputState): StoredInputState => ({
  ...row,
  currentState: "abandoned",
  terminalOutcome: { kind: "abandoned", reason: { kind: "retired" } },
});

const receiptOf = (sequence: bigint): RunBoundaryReceipt => ({
  runId: idOf(999_999),
  boundary: "run_start",
  contributingInputIds: [],
  messageCount: 0n,
  sequence,
});

let folder: string;
let daemons: Daemons;
const stores: BoltholeStore[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-largest-"));
  daemons = new Daemons();
});
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  await daemons.end();
  rmSync(folder, { recursive: true, force: true });
});

type Engine = "lmdb" | "sqlite" | "memory";

/** Starts a daemon of this engine, with its own files in `name`. */
async function started(engine: Engine, name = "home"): Promise<DaemonProcess> {
  const home = join(folder, name);
  if (engine !== "sqlite") return daemons.add(home, ["--engine", engine]).start();
  const file = `${home}.sqlite3`;
  return daemons.add(file, ["--engine", engine], `${file}.bolthole`).start();
}

/** Connects a client with empty caches: it sends every row of a call. */
async function client(daemon: DaemonProcess, timeoutMs = CALL_MS): Promise<BoltholeStore> {
  const store = await connect(daemon.target, { timeoutMs, keepAliveMs: 120_000 });
  stores.push(store);
  return store;
}

const summaryOf = (rows: readonly StoredInputState[]): unknown[] =>
  rows.map(({ inputId, currentState, persistedInput }) => [inputId, currentState, persistedInput?.length]);

describe.each<Engine>(["lmdb", "sqlite", "memory"])("over the engine %s", (engine) => {
  test(
    "a runtime with 40 inputs of 900 kB takes a boundary and is retired",
    async () => {
      const daemon = await started(engine);
      const rows = Array.from({ length: 40 }, (_, n) => acceptedRow(n, 900_000));
      const accepting = await client(daemon);
      for (const row of rows) await accepting.persistInputState(RT, row);
      const staged = rows.map((row): StoredInputState => ({ ...row, currentState: "staged" }));
      await (await client(daemon)).atomicApply(RT, undefined, receiptOf(0n), staged, undefined);
      const retiring = await client(daemon);
      await retiring.commitMachineLifecycle(RT, RETIRED, rows.map(abandoned));
      const reading = await client(daemon);
      expect(summaryOf(await reading.loadInputStates(RT))).toEqual(summaryOf(rows.map(abandoned)));
      expect(await reading.loadBoundaryReceipt(RT, idOf(999_999), 0n)).toEqual(receiptOf(0n));
      expect(await reading.loadMachineLifecycleRecord(RT)).toBeDefined();
    },
    CALL_MS,
  );

  test(
    "a runtime with 4,097 inputs takes a boundary and is retired",
    async () => {
      const daemon = await started(engine);
      const rows = Array.from({ length: 4097 }, (_, n) => acceptedRow(n, 0));
      const accepting = await client(daemon);
      await accepting.atomicApply(RT, undefined, receiptOf(0n), rows.slice(0, 4096), undefined);
      await accepting.persistInputState(RT, rows[4096] ?? acceptedRow(0, 0));
      await (await client(daemon)).atomicApply(RT, undefined, receiptOf(1n), rows, undefined);
      await (await client(daemon)).commitMachineLifecycle(RT, RETIRED, rows.map(abandoned));
      expect(summaryOf(await accepting.loadInputStates(RT))).toEqual(summaryOf(rows.map(abandoned)));
    },
    CALL_MS,
  );

  test(
    "an input of 20 MB is accepted, staged, retired, loaded, exported and imported",
    async () => {
      const daemon = await started(engine);
      const row = acceptedRow(1, 20_000_000);
      const store = await client(daemon);
      await store.persistInputState(RT, row);
      const staged: StoredInputState = { ...row, currentState: "staged" };
      await store.atomicApply(RT, undefined, receiptOf(0n), [staged, acceptedRow(2, 10)], undefined);
      await (await client(daemon)).commitMachineLifecycle(RT, RETIRED, [abandoned(row), acceptedRow(2, 10)]);
      const reading = await client(daemon);
      expect((await reading.loadInputState(RT, idOf(1)))?.persistedInput).toBe(row.persistedInput);
      expect(summaryOf(await reading.loadInputStates(RT))).toEqual(summaryOf([abandoned(row), acceptedRow(2, 10)]));

      const transfer = new RemoteMaintenance(daemon.target);
      const contents = await transfer.exportRuntime({ runtimeId: RT });
      expect(contents?.inputs).toHaveLength(2);
      transfer.close();
      const other = await started(engine, "other");
      const importing = new RemoteMaintenance(other.target);
      if (contents) expect(await importing.importRuntime({ contents, overwrite: false, dryRun: false })).toBe("added");
      importing.close();
      expect((await (await client(other)).loadInputState(RT, idOf(1)))?.persistedInput).toBe(row.persistedInput);
    },
    CALL_MS,
  );
});

test(
  "a store with an input of 20 MB is backed up, restored and verified",
  async () => {
    const daemon = await started("lmdb");
    const row = acceptedRow(1, 20_000_000);
    await (await client(daemon)).persistInputState(RT, row);
    const file = join(folder, "copy.backup");
    expect(await bolthole("backup", file, "--data", join(folder, "home"))).toMatchObject({ code: 0 });
    const restored = join(folder, "restored");
    expect(await bolthole("restore", file, "--data", restored)).toMatchObject({ code: 0 });
    expect(await bolthole("verify", "--data", restored)).toMatchObject({ code: 0 });
    const again = await daemons.add(restored).start();
    expect((await (await client(again)).loadInputState(RT, idOf(1)))?.persistedInput).toBe(row.persistedInput);
  },
  CALL_MS,
);

test("a row above the limit is refused by the client with the limit and the setting, before anything is sent", async () => {
  const daemon = await daemons.add(join(folder, "home"), ["--max-input-row-size", "2MiB"]).start();
  const store = await client(daemon);
  const refusal = {
    reason: "TOO_LARGE",
    applied: "no",
    text: expect.stringContaining("--max-input-row-size") as string,
  };
  await expect(store.persistInputState(RT, acceptedRow(1, 3_000_000))).rejects.toMatchObject({
    ...refusal,
    subject: { record: "state", expected: "at most 2097152 bytes" },
  });
  const rows = [acceptedRow(0, 0), acceptedRow(1, 3_000_000)];
  await expect(store.commitMachineLifecycle(RT, RETIRED, rows)).rejects.toMatchObject({
    ...refusal,
    subject: { record: "input_states[1]" },
  });
  expect(await store.loadInputStates(RT)).toEqual([]);
});

test("the limits of rows are settings of the daemon, and the client is told them", async () => {
  const flags = ["--max-input-row-size", "3MiB", "--max-input-upload-rows", "5000", "--max-input-upload-size", "1GiB"];
  const store = await client(await daemons.add(join(folder, "home"), flags).start());
  expect((await store.versioned.getServerInfo({})).limits).toMatchObject({
    inputRowBytes: 3 << 20,
    inputUploadRows: 5000,
    inputUploadBytes: 1 << 30,
  });
  const rows = Array.from({ length: 5001 }, (_, n) => acceptedRow(n, 0));
  await expect(store.commitMachineLifecycle(RT, RETIRED, rows)).rejects.toMatchObject({
    reason: "TOO_LARGE",
    subject: { record: "input_states" },
  });
});

describe("the long form", () => {
  const testLong = IS_LONG ? test : test.skip;
  const LONG_MS = 60 * 60 * 1000;

  /** Returns the figures since the last call. */
  async function figuresOf(daemon: DaemonProcess, file: string): Promise<DaemonFigures> {
    rmSync(file, { force: true });
    daemon.signal("SIGUSR2");
    for (let tries = 0; tries < 1000 && !existsSync(file); tries += 1) await sleep(20);
    return JSON.parse(readFileSync(file, "utf8")) as DaemonFigures;
  }

  testLong.each([
    [4096, 900_000],
    [50_000, 0],
  ])(
    "a runtime with %d inputs of %d bytes is retired and loaded",
    async (count, bytes) => {
      const figures = join(folder, "figures");
      const observer = join(__dirname, "testing", "event-loop-observer.js");
      const daemon = daemons.addObserved(join(folder, "home"), observer, { [FIGURES_FILE]: figures });
      await daemon.start();
      const report = async (step: string): Promise<void> => {
        const { longestDelayMs, peakMemoryMiB } = await figuresOf(daemon, figures);
        console.info(`${step}: longest delay ${longestDelayMs.toFixed(1)} ms, peak ${peakMemoryMiB.toFixed(0)} MiB`);
      };
      const store = await client(daemon, LONG_MS);
      const rows = Array.from({ length: count }, (_, n) => acceptedRow(n, bytes));
      for (let at = 0; at < count; at += 10) {
        await Promise.all(rows.slice(at, at + 10).map((row) => store.persistInputState(RT, row)));
      }
      await report(`accepted ${String(count)}`);
      const started = Date.now();
      const retiring = await client(daemon, LONG_MS);
      await retiring.commitMachineLifecycle(RT, RETIRED, rows.map(abandoned));
      await report(`retired in ${String((Date.now() - started) / 1000)} s`);
      let loaded = 0;
      const { batches } = await (await client(daemon, LONG_MS)).versioned.loadInputStates({ runtimeId: RT });
      for await (const batch of batches) {
        for (const { value } of batch) if (value.currentState === "abandoned") loaded += 1;
      }
      await report("loaded");
      expect(loaded).toBe(count);
    },
    LONG_MS,
  );
});
