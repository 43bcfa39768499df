import { type BoltholeStore, connect } from "@bolthole/client";
import type { Work } from "../closed-loop.js";
import { Ledger, WrongAnswer } from "../ledger.js";
import { startBareCommit, startBareEcho, startDaemon } from "../peers/peers.js";
import type { ServerProcess } from "../peers/server-process.js";
import { type Goal, type Row, type Section, callersText, ratioRow } from "../report.js";
import { type Cell, type MeasuredCell, measureRounds, medianRatio } from "../rounds.js";
import type { Run } from "../subject.js";

const CALLERS = [1, 16, 64] as const;
const RUNTIMES = 1024;
const RUNTIMES_SHORT = 128;

const COMMIT = "commit an input row";
const ECHO = "echo of that commit";

/** Small durable commits and small loads, beside the least that a gRPC server over LMDB can do, and beside gRPC alone. */
export async function smallRequests(run: Run): Promise<Section> {
  const servers: ServerProcess[] = [];
  const stores: BoltholeStore[] = [];
  let section: Section;
  try {
    const started = async (start: Promise<ServerProcess>): Promise<{ server: ServerProcess; ledger: Ledger }> => {
      const server = await start;
      servers.push(server);
      const store = await connect(server.target);
      stores.push(store);
      return { server, ledger: new Ledger(store, run.isShort ? RUNTIMES_SHORT : RUNTIMES) };
    };
    const daemon = await started(startDaemon(run.folder, run.profileFile));
    const bare = await started(startBareCommit(run.folder));
    const echo = await started(startBareEcho(run.folder));
    await daemon.ledger.fill();

    const cells = CALLERS.flatMap((callers): Cell[] => {
      const over =
        (ledger: Ledger, work: (runtime: number) => Promise<void>): Work =>
        (caller, call) =>
          work(ledger.runtime(callers, caller, call));
      return [
        {
          operation: COMMIT,
          server: daemon.server,
          callers,
          work: over(daemon.ledger, async (runtime) => {
            await daemon.ledger.commit(runtime);
          }),
        },
        {
          operation: COMMIT,
          server: bare.server,
          callers,
          work: over(bare.ledger, async (runtime) => {
            const { version, attempt } = await bare.ledger.commit(runtime);
            if (!version.endsWith(`.${String(attempt)}`)) throw new WrongAnswer(`the bare handler answers ${version}`);
          }),
        },
        {
          operation: ECHO,
          server: echo.server,
          callers,
          work: over(echo.ledger, async (runtime) => {
            const { version } = await echo.ledger.commit(runtime);
            if (!version.endsWith(String(runtime))) throw new WrongAnswer(`the echo answers ${version}`);
          }),
        },
        {
          operation: "load an input row",
          server: daemon.server,
          callers,
          work: over(daemon.ledger, (runtime) => daemon.ledger.load(runtime)),
        },
        {
          operation: "load a lifecycle record",
          server: daemon.server,
          callers,
          work: over(daemon.ledger, (runtime) => daemon.ledger.loadLifecycle(runtime)),
        },
      ];
    });
    const measured = await measureRounds(cells, run.rounds, () => daemon.ledger.verify());
    section = { title: "Small requests", cells: measured, rows: ratios(measured, !run.isShort) };
  } finally {
    await Promise.all(stores.map((store) => store.close()));
    for (const server of servers) {
      const problem = await server.stop();
      // With an error under way this is its consequence at most, and must not hide it.
      if (problem !== "") process.stderr.write(`bench: ${problem}\n`);
      if (problem !== "") process.exitCode = 1;
    }
  }
  return section;
}

function ratios(cells: readonly MeasuredCell[], isJudged: boolean): Row[] {
  const cell = (operation: string, server: string, callers: number): MeasuredCell => {
    const found = cells.find(
      (one) => one.operation === operation && one.server.name === server && one.callers === callers,
    );
    if (!found) throw new RangeError(`nothing was measured of ${operation} on ${server}`);
    return found;
  };
  const daemon = (callers: number): MeasuredCell => cell(COMMIT, "bolthole", callers);
  const bare = (callers: number): MeasuredCell => cell(COMMIT, "bare commit", callers);
  const rate = (callers: number, goal?: Goal): Row =>
    ratioRow(
      `commits, ${callersText(callers)}: rate, against the bare commit`,
      medianRatio(daemon(callers), bare(callers), "rate"),
      goal,
      isJudged,
    );
  return [
    rate(64, { is: ">=", bound: 0.8 }),
    ratioRow(
      "commit, 1 caller: p50, against the bare commit",
      medianRatio(daemon(1), bare(1), "p50Ms"),
      { is: "<=", bound: 1.3 },
      isJudged,
    ),
    rate(16),
    ratioRow(
      "commit, 64 callers: server CPU, against the bare commit",
      medianRatio(daemon(64), bare(64), "serverCpuUs"),
      undefined,
      isJudged,
    ),
    ratioRow(
      "commits, 64 callers: rate, against the bare echo",
      medianRatio(daemon(64), cell(ECHO, "bare echo", 64), "rate"),
      undefined,
      isJudged,
    ),
  ];
}
