import { type BoltholeStore, connect } from "@bolthole/client";
import { Random, typicalSession } from "@bolthole/core/testing";
import { IncorrectResponseError } from "../load/loops.js";
import { RuntimeRows } from "../load/runtime-rows.js";
import { type Row, type Section, callersText, ratioRow } from "../report.js";
import { type Cell, type MeasuredCell, type Run, measureRounds } from "../rounds.js";
import { type ServerProcess, startEngine } from "../servers/server-process.js";

const ENGINES = ["memory", "lmdb", "sqlite"] as const;
const CALLERS = [1, 64];
const CALLERS_SHORT = [1];
const RUNTIMES = 1024;
const RUNTIMES_SHORT = 128;
const SESSION_BYTES = 100_000;
const SESSION_RUNTIMES = 16;
const SEED = 1;

const COMMIT = "commit a small row";
const LOAD = "load a small row";
const SESSION = "commit a session of 100 KB";

/** Measures the daemon on each of its engines with the same work, one after the other. */
export async function engines(run: Run): Promise<Section> {
  const servers: ServerProcess[] = [];
  const stores: BoltholeStore[] = [];
  try {
    const allRows: RuntimeRows[] = [];
    const cells: Cell[] = [];
    const session = typicalSession(new Random(SEED), SESSION_BYTES);
    for (const engine of ENGINES) {
      const server = await startEngine(engine, run.folder);
      servers.push(server);
      const store = await connect(server.target);
      stores.push(store);
      const rows = new RuntimeRows(store, run.isShort ? RUNTIMES_SHORT : RUNTIMES);
      allRows.push(rows);
      await rows.fill();
      const callerCounts = run.isShort ? CALLERS_SHORT : CALLERS;
      cells.push(...callerCounts.flatMap((callers) => cellsOf(server, store, rows, session, callers)));
    }
    // The engines alternate for each operation, so that compared figures are measured close together.
    const inTurns = cells.toSorted((a, b) => a.callers - b.callers || a.operation.localeCompare(b.operation));
    const measured = await measureRounds(inTurns, run.rounds, async () => {
      for (const rows of allRows) await rows.verify();
      for (const store of stores) await verifySession(store, session);
    });
    return { title: "Engines", cells: measured, rows: ratios(measured, !run.isShort) };
  } finally {
    await Promise.all(stores.map((store) => store.close()));
    for (const server of servers) {
      const problem = await server.stop();
      // Not thrown, because that would hide an error that caused it.
      if (problem !== "") process.stderr.write(`bench: ${problem}\n`);
      if (problem !== "") process.exitCode = 1;
    }
  }
}

const runtimeIdOf = (caller: number): string => `agent:session:${String(caller % SESSION_RUNTIMES)}`;

const cellsOf = (
  server: ServerProcess,
  store: BoltholeStore,
  rows: RuntimeRows,
  session: Buffer,
  callers: number,
): Cell[] => [
  {
    operation: COMMIT,
    server,
    callers,
    work: async (caller, call) => {
      await rows.commit(rows.runtime(callers, caller, call));
    },
  },
  { operation: LOAD, server, callers, work: (caller, call) => rows.load(rows.runtime(callers, caller, call)) },
  {
    operation: SESSION,
    server,
    callers,
    work: (caller) => store.commitSessionSnapshot(runtimeIdOf(caller), { sessionSnapshot: session }),
  },
];

async function verifySession(store: BoltholeStore, session: Buffer): Promise<void> {
  const loaded = await store.loadSessionSnapshot(runtimeIdOf(0));
  if (!loaded || Buffer.compare(loaded, session) !== 0)
    throw new IncorrectResponseError("the loaded session is not the committed one");
}

function ratios(cells: readonly MeasuredCell[], isJudged: boolean): Row[] {
  return cells
    .filter(({ server }) => server.name !== "memory")
    .flatMap((cell) => {
      const { operation, callers } = cell;
      const memory = cells.find(
        (one) => one.operation === operation && one.callers === callers && one.server.name === "memory",
      );
      if (!memory) return [];
      const name = `${operation}, ${callersText(callers)}: ${cell.server.name} against memory`;
      // The CPU time of a call is meaningful also on a shared machine.
      return [
        ratioRow(`${name}, rate`, "rate", [cell, memory], undefined, isJudged),
        ratioRow(`${name}, server CPU`, "serverCpuUs", [cell, memory], undefined, isJudged),
      ];
    });
}
