import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type BoltholeStore, connect } from "@bolthole/client";
import type { DaemonProcess } from "@bolthole/conformance/process";
import {
  type MachineLifecycle,
  type RunBoundaryReceipt,
  type StoredInputState,
  exportContents,
  importContents,
} from "@bolthole/contract";
import { RemoteMaintenance } from "./cli/remote-maintenance.js";
import { Daemons, bolthole, boltholeWith } from "./testing/daemons.js";
import { FIGURES_FILE, type ProcessFigures } from "./testing/event-loop-observer.js";

/*
 * The largest states that accepted calls can make, driven through every operation that must be able to leave them.
 *
 * BOLTHOLE_TEST_LONG=1 runs the long form too: 4,096 rows of 900 kB and 50,000 rows, over every engine, with exports and imports by
 * the commands. It prints the memory of the processes and the longest delay of the event loop of the daemons. It needs 50 GB of disk,
 * NODE_OPTIONS=--max-old-space-size=12000 for this process, which has all rows in memory, and more than an hour.
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
      const contents = await exportContents(transfer, { runtimeId: RT });
      expect(contents?.inputs).toHaveLength(2);
      transfer.close();
      const other = await started(engine, "other");
      const importing = new RemoteMaintenance(other.target);
      if (contents)
        expect(await importContents(importing, { contents, overwrite: false, dryRun: false })).toBe("added");
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

/** Too small for 100 rows of 900 kB at once, and large enough for a daemon, or a command, that works page by page. */
const SMALL_HEAP = { NODE_OPTIONS: "--max-old-space-size=96" };

describe.each<Engine>(["lmdb", "sqlite", "memory"])("with a small heap, over the engine %s", (engine) => {
  const ROWS = 150;

  /** Starts a daemon with a small heap. Returns the value of `--data` for a command. */
  async function startedSmall(name: string): Promise<{ readonly daemon: DaemonProcess; readonly data: string }> {
    const data = engine === "sqlite" ? join(folder, `${name}.sqlite3`) : join(folder, name);
    const home = engine === "sqlite" ? `${data}.bolthole` : undefined;
    const daemon = daemons.add(data, ["--engine", engine], home, SMALL_HEAP);
    return { daemon: await daemon.start(), data };
  }

  const run = (...args: readonly string[]): ReturnType<typeof boltholeWith> =>
    boltholeWith({ env: SMALL_HEAP, timeoutMs: CALL_MS }, ...args);

  test(
    `a runtime with ${String(ROWS)} inputs of 900 kB is exported, imported and deleted by the commands`,
    async () => {
      const source = await startedSmall("source");
      const rows = Array.from({ length: ROWS }, (_, n) => abandoned(acceptedRow(n, 900_000)));
      const store = await client(source.daemon);
      await store.commitMachineLifecycle(RT, RETIRED, rows);
      await store.atomicApply(RT, undefined, receiptOf(0n), [], undefined);

      const file = join(folder, "moved.sqlite3");
      const one = { code: 0, err: "" };
      const exporting = ["export", "meerkat", file, "--data", source.data, "--engine", engine];
      expect(await run(...exporting)).toMatchObject({ ...one, out: expect.stringContaining("1 added") as string });
      expect(await run(...exporting)).toMatchObject({ ...one, out: expect.stringContaining("1 unchanged") as string });
      const target = await startedSmall("target");
      const importing = ["import", "meerkat", file, "--data", target.data, "--engine", engine];
      expect(await run(...importing)).toMatchObject({ ...one, out: expect.stringContaining("1 added") as string });
      expect(await run(...importing)).toMatchObject({ ...one, out: expect.stringContaining("1 unchanged") as string });

      const moved = await client(target.daemon);
      expect(summaryOf(await moved.loadInputStates(RT))).toEqual(summaryOf(rows));
      expect(await moved.loadBoundaryReceipt(RT, idOf(999_999), 0n)).toEqual(receiptOf(0n));
      // The last row differs: the equal ones before it are staged from the stored ones.
      await moved.persistInputState(RT, acceptedRow(ROWS - 1, 10));
      expect(await run(...importing)).toMatchObject({ code: 9, out: expect.stringContaining("1 kept") as string });
      const replaced = expect.stringContaining("1 replaced") as string;
      expect(await run(...importing, "--overwrite")).toMatchObject({ ...one, out: replaced });
      expect(summaryOf(await moved.loadInputStates(RT))).toEqual(summaryOf(rows));
      expect(await moved.deleteRuntime(RT)).toMatchObject({ inputStates: ROWS, receipts: 1 });
    },
    5 * CALL_MS,
  );
});

describe("the long form", () => {
  const testLong = IS_LONG ? test : test.skip;
  const LONG_MS = 3 * 60 * 60 * 1000;
  const OBSERVER = join(__dirname, "testing", "event-loop-observer.js");
  const observed = (figures: string): NodeJS.ProcessEnv => ({
    NODE_OPTIONS: `--require ${OBSERVER} ${SMALL_HEAP.NODE_OPTIONS}`,
    [FIGURES_FILE]: figures,
  });
  const textOf = ({ longestDelayMs, peakMemoryMiB }: ProcessFigures): string =>
    `longest delay ${longestDelayMs.toFixed(1)} ms, peak ${peakMemoryMiB.toFixed(0)} MiB`;

  /** A daemon with a small heap, whose figures are read. */
  class ObservedDaemon {
    private constructor(
      private readonly name: string,
      readonly daemon: DaemonProcess,
      readonly data: string,
      private readonly figures: string,
    ) {}

    static async start(engine: Engine, name: string): Promise<ObservedDaemon> {
      const data = join(folder, engine === "sqlite" ? `${name}.sqlite3` : name);
      const home = engine === "sqlite" ? `${data}.bolthole` : undefined;
      const figures = join(folder, `figures of ${name}`);
      const daemon = daemons.add(data, ["--engine", engine], home, observed(figures));
      return new ObservedDaemon(name, await daemon.start(), data, figures);
    }

    /** Prints the figures since the last call. */
    async report(step: string): Promise<void> {
      rmSync(this.figures, { force: true });
      this.daemon.signal("SIGUSR2");
      for (let tries = 0; tries < 3000 && !existsSync(this.figures); tries += 1) await sleep(20);
      const found = JSON.parse(readFileSync(this.figures, "utf8")) as ProcessFigures;
      console.info(`${step}: ${this.name}: ${textOf(found)}`);
    }
  }

  /** Performs a step, prints its time and its figures. */
  async function timed<T>(step: string, work: () => Promise<T>, ...daemons: readonly ObservedDaemon[]): Promise<T> {
    const started = Date.now();
    const result = await work();
    console.info(`${step}: ${String((Date.now() - started) / 1000)} s`);
    for (const one of daemons) await one.report(step);
    return result;
  }

  async function run(...args: readonly string[]): Promise<void> {
    const figures = join(folder, "figures of the command");
    rmSync(figures, { force: true });
    expect(await boltholeWith({ env: observed(figures), timeoutMs: LONG_MS }, ...args)).toMatchObject({ code: 0 });
    console.info(
      `${args[0] ?? ""}: the command: ${textOf(JSON.parse(readFileSync(figures, "utf8")) as ProcessFigures)}`,
    );
  }

  async function count(daemon: DaemonProcess): Promise<number> {
    let loaded = 0;
    const { batches } = await (await client(daemon, LONG_MS)).versioned.loadInputStates({ runtimeId: RT });
    for await (const batch of batches) {
      for (const { value } of batch) if (value.currentState === "abandoned") loaded += 1;
    }
    return loaded;
  }

  testLong.each<[engine: Engine, rows: number, bytes: number]>([
    ["lmdb", 4096, 900_000],
    ["lmdb", 50_000, 0],
    ["sqlite", 4096, 900_000],
    // The rows are in the memory of two daemons, up to three times each while they are replaced.
    ["memory", 1024, 900_000],
  ])(
    "over the engine %s a runtime with %d inputs of %d bytes is retired, loaded, copied, moved and deleted",
    async (engine, rowCount, bytes) => {
      const source = await ObservedDaemon.start(engine, "source");
      const store = await client(source.daemon, LONG_MS);
      const rows = Array.from({ length: rowCount }, (_, n) => acceptedRow(n, bytes));
      const accept = async (): Promise<void> => {
        for (let at = 0; at < rowCount; at += 10) {
          await Promise.all(rows.slice(at, at + 10).map((row) => store.persistInputState(RT, row)));
        }
      };
      await timed("accept", accept, source);
      const retiring = await client(source.daemon, LONG_MS);
      const retired = rows.map(abandoned);
      await timed("retire", () => retiring.commitMachineLifecycle(RT, RETIRED, retired), source);
      expect(await timed("load", () => count(source.daemon), source)).toBe(rowCount);

      const file = join(folder, "moved.sqlite3");
      const move = (command: string, data: string): Promise<void> =>
        run(command, "meerkat", file, "--data", data, "--engine", engine);
      await timed("export", () => move("export", source.data), source);
      const target = await ObservedDaemon.start(engine, "target");
      await timed("import", () => move("import", target.data), target);
      await timed("import of the same", () => move("import", target.data), target);
      expect(await count(target.daemon)).toBe(rowCount);
      const { inputStates } = await timed("delete", () => store.deleteRuntime(RT), source);
      expect(inputStates).toBe(rowCount);
      if (engine !== "lmdb") return;

      const backup = join(folder, "copy.backup");
      await timed("backup", () => run("backup", backup, "--data", target.data), target);
      await target.daemon.stop();
      await timed("restore", () => run("restore", backup, "--data", join(folder, "restored")));
      const restored = await ObservedDaemon.start(engine, "restored");
      expect(await count(restored.daemon)).toBe(rowCount);
    },
    LONG_MS,
  );
});
