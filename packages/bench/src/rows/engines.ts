import { type BoltholeStore, connect } from "@bolthole/client";
import { Random, typicalSession } from "@bolthole/core/testing";
import { Ledger } from "../ledger.js";
import { WrongAnswer } from "../wrong-answer.js";
import { startEngine } from "../peers/peers.js";
import type { ServerProcess } from "../peers/server-process.js";
import { type Row, type Section, callersText, ratioRow } from "../report.js";
import { type Cell, type MeasuredCell, measureRounds } from "../rounds.js";
import type { Run } from "../subject.js";

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

/** The daemon on each of its engines, under the same work in turns. */
export async function engines(run: Run): Promise<Section> {
  const servers: ServerProcess[] = [];
  const stores: BoltholeStore[] = [];
  try {
    const ledgers: Ledger[] = [];
    const cells: Cell[] = [];
    const session = typicalSession(new Random(SEED), SESSION_BYTES);
    for (const engine of ENGINES) {
      const server = await startEngine(engine, run.folder);
      servers.push(server);
      const store = await connect(server.target);
      stores.push(store);
      const ledger = new Ledger(store, run.isShort ? RUNTIMES_SHORT : RUNTIMES);
      ledgers.push(ledger);
      await ledger.fill();
      const callerCounts = run.isShort ? CALLERS_SHORT : CALLERS;
      cells.push(...callerCounts.flatMap((callers) => cellsOf(server, store, ledger, session, callers)));
    }
    // Engine after engine for each work, so that what is compared is measured close together.
    const inTurns = cells.toSorted((a, b) => a.callers - b.callers || a.operation.localeCompare(b.operation));
    const measured = await measureRounds(inTurns, run.rounds, async () => {
      for (const ledger of ledgers) await ledger.verify();
      for (const store of stores) await verifySession(store, session);
    });
    return { title: "Engines", cells: measured, rows: ratios(measured, !run.isShort) };
  } finally {
    await Promise.all(stores.map((store) => store.close()));
    for (const server of servers) {
      const problem = await server.stop();
      // With an error under way this is its consequence at most, and must not hide it.
      if (problem !== "") process.stderr.write(`bench: ${problem}\n`);
      if (problem !== "") process.exitCode = 1;
    }
  }
}

const runtimeIdOf = (caller: number): string => `agent:session:${String(caller % SESSION_RUNTIMES)}`;

const cellsOf = (
  server: ServerProcess,
  store: BoltholeStore,
  ledger: Ledger,
  session: Buffer,
  callers: number,
): Cell[] => [
  {
    operation: COMMIT,
    server,
    callers,
    work: async (caller, call) => {
      await ledger.commit(ledger.runtime(callers, caller, call));
    },
  },
  { operation: LOAD, server, callers, work: (caller, call) => ledger.load(ledger.runtime(callers, caller, call)) },
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
    throw new WrongAnswer("the loaded session is not the committed one");
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
      // The CPU of a call says something also on a machine that others use.
      return [
        ratioRow(`${name}, rate`, "rate", [cell, memory], undefined, isJudged),
        ratioRow(`${name}, server CPU`, "serverCpuUs", [cell, memory], undefined, isJudged),
      ];
    });
}
