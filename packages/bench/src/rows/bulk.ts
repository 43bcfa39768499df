import { statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { BoltholeStore } from "@bolthole/client";
import { type MachineLifecycle, type StoredInputState, emptyContents, partsOf } from "@bolthole/contract";
import { writeInputState } from "@bolthole/json";
import { IncorrectResponseError } from "../load/loops.js";
import { RuntimeImport } from "../load/runtime-import.js";
import { inputRow } from "../load/runtime-rows.js";
import { type Row, type Section, atMost, rowOf } from "../report.js";
import type { Run } from "../rounds.js";
import { Resources, startDaemon } from "../servers/server-process.js";

/** The most input rows of one request. */
const REQUEST_ROWS = 4096;
const REQUEST_ROWS_SHORT = 300;
const IMPORT_ROWS = 50_000;
const IMPORT_ROWS_SHORT = 600;
/** What earlier calls left to do, such as the deletion of old rows, is done in this time. */
const SETTLE_MS = 500;
const RUN_ID = "0198f0a0-0005-7000-8000-000000000001";
const LIFECYCLE: MachineLifecycle = {
  runtimeState: "idle",
  binding: { agentRuntimeId: "agent-bench", fenceToken: 7n },
};

const BOUNDARY = "agent:bulk:boundary";
const COMMIT = "agent:bulk:lifecycle";
const IMPORTED = "agent:bulk:imported";

/** A call that changes many rows, and the check of what it stored. */
interface BulkCall {
  readonly name: string;
  readonly runtimeId: string;
  /** The number of input rows after the call. */
  readonly rows: number;
  /** Runs the call of one round. Its rows differ from those of every other round. */
  readonly work: (rows: readonly StoredInputState[], round: number) => Promise<unknown>;
}

/** Measures the event loop and the data file of the daemon while single calls change as many rows as they may. */
export function bulk(run: Run): Promise<Section> {
  return Resources.with(async (resources) => {
    const daemon = await resources.started(startDaemon(run.folder, { isObserved: true, profileFile: run.profileFile }));
    const store = await resources.connected(daemon.target);
    const transfer = new RuntimeImport(daemon.target);
    resources.onEnd(() => {
      transfer.close();
      return Promise.resolve();
    });
    const calls = callsOf(store, transfer, run.isShort);
    const longest = calls.map((): number[] => []);
    const dataBytes = (): number => statSync(join(run.folder, "daemon", "data.mdb")).size;
    const growth: number[] = [];
    for (let round = run.rounds.hasRehearsal ? 0 : 1; round <= run.rounds.count; round += 1) {
      for (const [index, call] of calls.entries()) {
        run.rounds.signal.throwIfAborted();
        run.rounds.onProgress(`round ${String(round)} of ${String(run.rounds.count)}: ${call.name}`);
        const rows = Array.from({ length: call.rows }, (_, row) => inputRow(row, round * calls.length + index));
        await sleep(run.isShort ? 0 : SETTLE_MS);
        await daemon.innerFigures();
        await call.work(rows, round);
        const { longestDelayMs } = await daemon.innerFigures();
        if (round > 0) longest[index]?.push(longestDelayMs);
        await verify(store, call.runtimeId, rows);
        if (call.name === calls[OVERWRITE]?.name) growth.push(dataBytes() / bytesOf(rows));
      }
    }
    return {
      title: "Calls that change many rows",
      cells: [],
      rows: [
        ...calls.flatMap(({ name }, index) => delayRows(name, longest[index] ?? [], run)),
        rowOf({
          name: `${calls[OVERWRITE]?.name ?? ""}: data file against the rows`,
          values: growth,
          unit: "times",
        }),
      ],
    };
  });
}

/** The index of the import over existing rows, after which the data file is measured. */
const OVERWRITE = 3;

function callsOf(store: BoltholeStore, transfer: RuntimeImport, isShort: boolean): readonly BulkCall[] {
  const requestRows = isShort ? REQUEST_ROWS_SHORT : REQUEST_ROWS;
  const importRows = isShort ? IMPORT_ROWS_SHORT : IMPORT_ROWS;
  const request = requestRows.toLocaleString("en");
  const imported = importRows.toLocaleString("en");
  const importAll = (inputs: readonly StoredInputState[]): Promise<void> =>
    transfer.run({
      runtimeId: IMPORTED,
      parts: partsOf({ ...emptyContents(IMPORTED), inputs }),
      overwrite: true,
      dryRun: false,
    });
  return [
    {
      name: `boundary with ${request} input rows`,
      runtimeId: BOUNDARY,
      rows: requestRows,
      work: (rows, round) => store.atomicApply(BOUNDARY, undefined, receiptOf(round), rows, undefined),
    },
    {
      name: `lifecycle commit with ${request} input rows`,
      runtimeId: COMMIT,
      rows: requestRows,
      work: (rows) => store.commitMachineLifecycle(COMMIT, LIFECYCLE, rows),
    },
    { name: `import of ${imported} rows`, runtimeId: IMPORTED, rows: importRows, work: importAll },
    { name: `import of ${imported} rows over existing ones`, runtimeId: IMPORTED, rows: importRows, work: importAll },
    {
      name: `deletion of ${imported} rows`,
      runtimeId: IMPORTED,
      rows: 0,
      work: () => store.versioned.deleteRuntime({ runtimeId: IMPORTED, expectedStoreId: store.storeId }),
    },
  ];
}

const receiptOf = (round: number) =>
  ({
    runId: RUN_ID,
    boundary: "run_start",
    contributingInputIds: [],
    messageCount: 0n,
    sequence: BigInt(round),
  }) as const;

function delayRows(name: string, delays: readonly number[], { isShort }: Run): Row[] {
  const row = `${name}: longest delay of the event loop`;
  return [
    rowOf({ name: row, values: [Math.max(...delays)], unit: "ms", goal: atMost(30), isJudged: !isShort }),
    rowOf({ name: `${row} in each round`, values: delays, unit: "ms" }),
  ];
}

const bytesOf = (rows: readonly StoredInputState[]): number =>
  rows.reduce((total, row) => total + writeInputState(row).length, 0);

async function verify(store: BoltholeStore, runtimeId: string, expected: readonly StoredInputState[]): Promise<void> {
  const loaded = await store.loadInputStates(runtimeId);
  const isSame =
    loaded.length === expected.length &&
    loaded.every(({ inputId, attemptCount }, index) => {
      const row = expected[index];
      return inputId === row?.inputId && attemptCount === row.attemptCount;
    });
  if (!isSame) {
    throw new IncorrectResponseError(
      `${runtimeId}: expected ${String(expected.length)} rows as committed, found ${String(loaded.length)}`,
    );
  }
}
