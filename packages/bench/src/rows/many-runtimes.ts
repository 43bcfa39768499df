import { Cast } from "../cast.js";
import type { Work } from "../closed-loop.js";
import { Ledger } from "../ledger.js";
import { startDaemon } from "../peers/peers.js";
import type { ServerProcess } from "../peers/server-process.js";
import { type Row, type Section, atMost, ratioRow, rowOf } from "../report.js";
import { type Cell, type MeasuredCell, measureRounds } from "../rounds.js";
import type { Run } from "../subject.js";

const RUNTIMES = 1_000_000;
const RUNTIMES_SHORT = 256;
const FEW = 1024;
const INPUTS_EACH = 10;
/** A prime: calls that follow each other are about runtimes far apart. */
const STRIDE = 611_953;

const COMMIT = "commit an input row";
const LOAD = "load an input row";

/** Whether a store that is full is slower than one that is not, and how soon it serves. */
export function manyRuntimes(run: Run): Promise<Section> {
  return Cast.with(async (cast) => {
    const runtimes = run.isShort ? RUNTIMES_SHORT : RUNTIMES;
    const full = `${run.folder}/full`;
    const filling = await cast.started(startDaemon(full));
    const filler = new Ledger(await cast.connected(filling.target), runtimes, INPUTS_EACH);
    await filler.fill((done) => {
      run.rounds.signal.throwIfAborted();
      run.rounds.onProgress(`many runtimes: ${String(done)} of ${String(runtimes)} are made`);
    });
    await cast.stop(filling);

    const begin = performance.now();
    const server = await cast.started(startDaemon(full));
    const startSeconds = (performance.now() - begin) / 1000;
    const empty = await cast.started(startDaemon(`${run.folder}/empty`));
    const few = new Ledger(await cast.connected(empty.target), run.isShort ? RUNTIMES_SHORT : FEW);
    await few.fill();
    const many = new Ledger(await cast.connected(server.target), runtimes);
    const cells = [...cellsOf("full", server, many), ...cellsOf("empty", empty, few)];
    const measured = await measureRounds(cells, run.rounds, () => few.verify());
    return { title: "Many runtimes", cells: measured, rows: rowsOf(measured, startSeconds, !run.isShort) };
  });
}

function cellsOf(name: string, process: ServerProcess, ledger: Ledger): Cell[] {
  const server = { name, cpuMs: () => process.cpuMs() };
  const over =
    (work: (runtime: number) => Promise<unknown>): Work =>
    async (_, call) => {
      await work((call * STRIDE) % ledger.runtimes);
    };
  return [
    { operation: COMMIT, server, callers: 1, work: over((runtime) => ledger.commit(runtime)) },
    { operation: LOAD, server, callers: 1, work: over((runtime) => ledger.load(runtime)) },
  ];
}

function rowsOf(cells: readonly MeasuredCell[], startSeconds: number, isJudged: boolean): Row[] {
  const [commitFull, loadFull, commitEmpty, loadEmpty] = cells;
  if (!commitFull || !loadFull || !commitEmpty || !loadEmpty) throw new RangeError("there are four cells");
  return [
    ratioRow(
      "1,000,000 runtimes: p50 of a commit, against an empty store",
      "p50Ms",
      [commitFull, commitEmpty],
      atMost(1.3),
      isJudged,
    ),
    ratioRow(
      "1,000,000 runtimes: p50 of a load, against an empty store",
      "p50Ms",
      [loadFull, loadEmpty],
      atMost(1.3),
      isJudged,
    ),
    rowOf({
      name: "1,000,000 runtimes: start to SERVING",
      values: [startSeconds],
      unit: "s",
      goal: atMost(2),
      isJudged,
    }),
  ];
}
