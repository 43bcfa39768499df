import { IncorrectResponseError, type Work } from "../load/loops.js";
import { RuntimeRows } from "../load/runtime-rows.js";
import { type Goal, type Row, type Section, atLeast, atMost, callersText, ratioRow } from "../report.js";
import { type Cell, type MeasuredCell, type Run, measureRounds } from "../rounds.js";
import {
  Resources,
  type ServerProcess,
  startBareCommit,
  startBareEcho,
  startDaemon,
} from "../servers/server-process.js";

const CALLERS = [1, 16, 64] as const;
const RUNTIMES = 1024;
const RUNTIMES_SHORT = 128;

const COMMIT = "commit an input row";
const ECHO = "echo of the same request";

/** Compares small durable commits and loads with a bare commit to LMDB, and with gRPC alone. */
export function smallRequests(run: Run): Promise<Section> {
  return Resources.with(async (resources) => {
    const started = async (start: Promise<ServerProcess>): Promise<{ server: ServerProcess; rows: RuntimeRows }> => {
      const server = await resources.started(start);
      const store = await resources.connected(server.target);
      return { server, rows: new RuntimeRows(store, run.isShort ? RUNTIMES_SHORT : RUNTIMES) };
    };
    const daemon = await started(startDaemon(run.folder, { profileFile: run.profileFile }));
    const bare = await started(startBareCommit(run.folder));
    const echo = await started(startBareEcho(run.folder));
    await daemon.rows.fill();

    const cells = CALLERS.flatMap((callers): Cell[] => {
      const over =
        (rows: RuntimeRows, work: (runtime: number) => Promise<void>): Work =>
        (caller, call) =>
          work(rows.runtime(callers, caller, call));
      return [
        {
          operation: COMMIT,
          server: daemon.server,
          callers,
          work: over(daemon.rows, async (runtime) => {
            await daemon.rows.commit(runtime);
          }),
        },
        {
          operation: COMMIT,
          server: bare.server,
          callers,
          work: over(bare.rows, async (runtime) => {
            const { version, attempt } = await bare.rows.commit(runtime);
            if (!version.endsWith(`.${String(attempt)}`))
              throw new IncorrectResponseError(`the bare commit returned version ${version}`);
          }),
        },
        {
          operation: ECHO,
          server: echo.server,
          callers,
          work: over(echo.rows, async (runtime) => {
            const { version } = await echo.rows.commit(runtime);
            if (!version.endsWith(String(runtime)))
              throw new IncorrectResponseError(`the bare echo returned ${version}`);
          }),
        },
        {
          operation: "load an input row",
          server: daemon.server,
          callers,
          work: over(daemon.rows, (runtime) => daemon.rows.load(runtime)),
        },
        {
          operation: "load a lifecycle record",
          server: daemon.server,
          callers,
          work: over(daemon.rows, (runtime) => daemon.rows.loadLifecycle(runtime)),
        },
      ];
    });
    const measured = await measureRounds(cells, run.rounds, () => daemon.rows.verify());
    return { title: "Small requests, through our client", cells: measured, rows: ratiosOf(measured, !run.isShort) };
  });
}

function ratiosOf(cells: readonly MeasuredCell[], isJudged: boolean): Row[] {
  const cell = (operation: string, server: string, callers: number): MeasuredCell => {
    const found = cells.find(
      (one) => one.operation === operation && one.server.name === server && one.callers === callers,
    );
    if (!found) throw new RangeError(`${operation} on ${server} was not measured`);
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
