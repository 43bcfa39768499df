import { Cast } from "../cast.js";
import type { Work } from "../closed-loop.js";
import { Ledger } from "../ledger.js";
import { WrongAnswer } from "../wrong-answer.js";
import { startBareCommit, startBareEcho, startDaemon } from "../peers/peers.js";
import type { ServerProcess } from "../peers/server-process.js";
import { type Goal, type Row, type Section, atLeast, atMost, callersText, ratioRow } from "../report.js";
import { type Cell, type MeasuredCell, measureRounds } from "../rounds.js";
import type { Run } from "../subject.js";

const CALLERS = [1, 16, 64] as const;
const RUNTIMES = 1024;
const RUNTIMES_SHORT = 128;

const COMMIT = "commit an input row";
const ECHO = "echo of that commit";

/** Small durable commits and small loads, beside the least that a gRPC server over LMDB can do, and beside gRPC alone. */
export function smallRequests(run: Run): Promise<Section> {
  return Cast.with(async (cast) => {
    const started = async (start: Promise<ServerProcess>): Promise<{ server: ServerProcess; ledger: Ledger }> => {
      const server = await cast.started(start);
      const store = await cast.connected(server.target);
      return { server, ledger: new Ledger(store, run.isShort ? RUNTIMES_SHORT : RUNTIMES) };
    };
    const daemon = await started(startDaemon(run.folder, { profileFile: run.profileFile }));
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
    return { title: "Small requests, through our client", cells: measured, rows: ratiosOf(measured, !run.isShort) };
  });
}

function ratiosOf(cells: readonly MeasuredCell[], isJudged: boolean): Row[] {
  const cell = (operation: string, server: string, callers: number): MeasuredCell => {
    const found = cells.find(
      (one) => one.operation === operation && one.server.name === server && one.callers === callers,
    );
    if (!found) throw new RangeError(`nothing was measured of ${operation} on ${server}`);
    return found;
  };
  const against = (callers: number): readonly [MeasuredCell, MeasuredCell] => [
    cell(COMMIT, "bolthole", callers),
    cell(COMMIT, "bare commit", callers),
  ];
  const rate = (callers: number, goal?: Goal): Row =>
    ratioRow(
      `our client, ${callersText(callers)}: rate of commits, against the bare commit`,
      "rate",
      against(callers),
      goal,
      isJudged,
    );
  return [
    rate(64, atLeast(0.8)),
    ratioRow(
      "our client, 1 caller: p50 of a commit, against the bare commit",
      "p50Ms",
      against(1),
      atMost(1.3),
      isJudged,
    ),
    rate(16),
    ratioRow(
      "our client, 64 callers: server CPU of a commit, against the bare commit",
      "serverCpuUs",
      against(64),
      undefined,
      isJudged,
    ),
  ];
}
