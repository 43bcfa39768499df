import type { Work } from "../load/loops.js";
import { RuntimeRows } from "../load/runtime-rows.js";
import { type Row, type Section, atMost, ratioRow, rowOf } from "../report.js";
import { type Cell, type MeasuredCell, type Run, measureRounds } from "../rounds.js";
import { Resources, type ServerProcess, startDaemon } from "../servers/server-process.js";

const RUNTIMES = 1_000_000;
const RUNTIMES_SHORT = 256;
const FEW = 1024;
const INPUTS_EACH = 10;
/** A prime number, so that successive calls use distant runtimes. */
const STRIDE = 611_953;

const COMMIT = "commit an input row";
const LOAD = "load an input row";

/** Compares a store with a million runtimes with an almost empty one, and measures its start. */
export function manyRuntimes(run: Run): Promise<Section> {
  return Resources.with(async (resources) => {
    const runtimes = run.isShort ? RUNTIMES_SHORT : RUNTIMES;
    const full = `${run.folder}/full`;
    const filling = await resources.started(startDaemon(full));
    const filler = new RuntimeRows(await resources.connected(filling.target), runtimes, INPUTS_EACH);
    await filler.fill((done) => {
      run.rounds.signal.throwIfAborted();
      run.rounds.onProgress(`many runtimes: ${String(done)} of ${String(runtimes)} created`);
    });
    await resources.stop(filling);

    const begin = performance.now();
    const server = await resources.started(startDaemon(full));
    const startSeconds = (performance.now() - begin) / 1000;
    const empty = await resources.started(startDaemon(`${run.folder}/empty`));
    const few = new RuntimeRows(await resources.connected(empty.target), run.isShort ? RUNTIMES_SHORT : FEW);
    await few.fill();
    const many = new RuntimeRows(await resources.connected(server.target), runtimes);
    const cells = [...cellsOf("full", server, many), ...cellsOf("empty", empty, few)];
    const measured = await measureRounds(cells, run.rounds, () => few.verify());
    return { title: "Many runtimes", cells: measured, rows: rowsOf(measured, startSeconds, !run.isShort) };
  });
}

function cellsOf(name: string, process: ServerProcess, rows: RuntimeRows): Cell[] {
  const server = { name, cpuMs: () => process.cpuMs() };
  const over =
    (work: (runtime: number) => Promise<unknown>): Work =>
    async (_, call) => {
      await work((call * STRIDE) % rows.runtimes);
    };
  return [
    { operation: COMMIT, server, callers: 1, work: over((runtime) => rows.commit(runtime)) },
    { operation: LOAD, server, callers: 1, work: over((runtime) => rows.load(runtime)) },
  ];
}

function rowsOf(cells: readonly MeasuredCell[], startSeconds: number, isJudged: boolean): Row[] {
  const [commitFull, loadFull, commitEmpty, loadEmpty] = cells;
  if (!commitFull || !loadFull || !commitEmpty || !loadEmpty) throw new RangeError("there must be four cells");
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
