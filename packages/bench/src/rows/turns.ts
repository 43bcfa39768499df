import type { RuntimeStore } from "@bolthole/contract";
import { Random } from "@bolthole/core/testing";
import { type Goal, type Row, type Section, atLeast, atMost, rowOf } from "../report.js";
import { type Run, median } from "../rounds.js";
import { Resources, type ServerProcess, startDaemon } from "../servers/server-process.js";
import { Conversation } from "../sessions/conversation.js";
import { LiveSession, type Ready } from "../sessions/live-session.js";
import { WireTap } from "../wire-tap.js";

/** The figures of one turn; NaN where a figure was not measured. */
interface MeasuredTurn {
  readonly callerMs: number;
  /** The CPU time of the server process. */
  readonly cpuMs: number;
  /** The time at the server's socket, from the first bytes of the request to the end of the response. */
  readonly serverMs: number;
  readonly wireBytes: number;
  readonly putBytes: number;
  readonly writtenBytes: number;
}

type Reading = Omit<MeasuredTurn, "callerMs">;

/** Counters that are read before and after a turn. */
interface Probe {
  read(): Promise<Reading>;
}

const NOT_MEASURED = {
  cpuMs: Number.NaN,
  serverMs: Number.NaN,
  wireBytes: Number.NaN,
  putBytes: Number.NaN,
  writtenBytes: Number.NaN,
};

/** Measures the server process from outside; the client is connected directly. */
class ServerProbe implements Probe {
  constructor(private readonly server: ServerProcess) {}

  read(): Promise<Reading> {
    return Promise.resolve({ ...NOT_MEASURED, cpuMs: this.server.cpuMs() });
  }
}

/** Measures the traffic through a tap, and the inner figures of an observed server. */
class TapProbe implements Probe {
  private wireBytes = 0;
  private serverMs = 0;

  constructor(
    private readonly server: ServerProcess,
    private readonly tap: WireTap,
  ) {}

  async read(): Promise<Reading> {
    const { putBytes } = await this.server.innerFigures();
    const { bytes, serverMs } = this.tap.take();
    this.wireBytes += bytes;
    this.serverMs += serverMs;
    return {
      cpuMs: Number.NaN,
      serverMs: this.serverMs,
      wireBytes: this.wireBytes,
      putBytes,
      writtenBytes: this.server.writtenBytes(),
    };
  }
}

async function measureTurn(turn: Ready, probe: Probe): Promise<MeasuredTurn> {
  const before = await probe.read();
  const start = performance.now();
  await turn();
  const callerMs = performance.now() - start;
  const after = await probe.read();
  const difference = (figure: keyof Reading): number => after[figure] - before[figure];
  return {
    callerMs,
    cpuMs: difference("cpuMs"),
    serverMs: difference("serverMs"),
    wireBytes: difference("wireBytes"),
    putBytes: difference("putBytes"),
    writtenBytes: difference("writtenBytes"),
  };
}

/** Returns the median or the mean of a figure for each round. */
function summary<Kind extends string>(
  rounds: readonly Readonly<Record<Kind, readonly MeasuredTurn[]>>[],
  kind: Kind,
  figure: keyof MeasuredTurn,
  by: "median" | "mean",
): number[] {
  return rounds.map((round) => {
    const values = round[kind].map((turn) => turn[figure]);
    return by === "median" ? median(values) : values.reduce((sum, value) => sum + value, 0) / values.length;
  });
}

const TURN_BYTES = 2000;
const GROWN_BY = 8000;
/** Every session but the long one is replaced by a new one after this number of turns. */
const CHAIN = 4;
const TURNS_A_ROUND = 2 * CHAIN;
const ROWS = 1000;
const ROWS_SHORT = 50;

/** The milliseconds of a turn in the reference (Rust, SQLite) on a machine of this kind, measured separately. */
const REFERENCE = { ms10KB: 3.9, ms10MB: 239, msRewritten: 670 };
const APART = "the reference was measured separately";

const KINDS = ["10 KB", "10 MB", "rewritten", "inputs"] as const;
type Kind = (typeof KINDS)[number];
const NAMES: Readonly<Record<Kind, string>> = {
  "10 KB": "10 KB session",
  "10 MB": "10 MB session",
  rewritten: "10 MB session with three rewrites",
  inputs: `10 KB session with ${ROWS.toLocaleString("en")} inputs`,
};

/** Measures turns of sessions that are long, rewritten, or have many input rows. */
export function turns(run: Run): Promise<Section> {
  return Resources.with(async (resources) => {
    const direct = await resources.started(startDaemon(run.folder, { profileFile: run.profileFile }));
    const timed = new Player(await resources.connected(direct.target), run.isShort);
    const caller = await play(timed, new ServerProbe(direct), run, "the caller's time and the daemon's CPU");

    const observed = await resources.started(startDaemon(`${run.folder}/tapped`, { isObserved: true }));
    const tap = await WireTap.before(observed.target, `${run.folder}/tap`);
    resources.onEnd(() => tap.close());
    const tapped = new Player(await resources.connected(tap.target), run.isShort);
    const tappedTurns = await play(tapped, new TapProbe(observed, tap), run, "bytes, and time at the daemon's socket");
    return { title: TITLE, cells: [], rows: rowsOf(caller, tappedTurns, !run.isShort) };
  });
}

const TITLE =
  "A turn: 2 KB of messages, a receipt, one changed input; the client gets the whole document and all input rows";

/** The first turn of a session. The daemon has no session index for it, and checks the whole document. */
type First = `first, ${Kind}`;

/** The present session of each kind on one server. */
class Player {
  private readonly sessions = new Map<Kind, Playing>();
  private started = 0;

  constructor(
    private readonly store: RuntimeStore,
    private readonly isShort: boolean,
  ) {}

  /** Measures a turn; also the first turn of its session, when the session is new. */
  async turn(kind: Kind, probe: Probe): Promise<{ readonly turn: MeasuredTurn; readonly first?: MeasuredTurn }> {
    const { playing, isNew } = await this.current(kind);
    const first = isNew ? { first: await measureTurn(playing.session.turn(TURN_BYTES), probe) } : {};
    playing.turns += 1;
    return { turn: await measureTurn(playing.session.turn(TURN_BYTES), probe), ...first };
  }

  async verify(): Promise<void> {
    for (const { session } of this.sessions.values()) await session.verify();
  }

  /** Sessions are replaced because a short one grows, and a rewritten one gets another copy of its transcript in each turn. */
  private async current(kind: Kind): Promise<{ readonly playing: Playing; readonly isNew: boolean }> {
    const playing = this.sessions.get(kind);
    if (playing && (kind === "10 MB" || playing.turns < CHAIN)) return { playing, isNew: false };
    if (playing) await this.store.clearSessionSnapshot(playing.session.runtimeId);
    this.started += 1;
    const next = { session: liveSession(this.store, kind, this.started, this.isShort), turns: 0 };
    await next.session.start();
    this.sessions.set(kind, next);
    return { playing: next, isNew: true };
  }
}

interface Playing {
  readonly session: LiveSession;
  turns: number;
}

function liveSession(store: RuntimeStore, kind: Kind, number: number, isShort: boolean): LiveSession {
  const id = `0198f0a0-0002-7000-8000-${String(number).padStart(12, "0")}`;
  const conversation = new Conversation(id, new Random(number)).growTo(bytesOf(kind, isShort), GROWN_BY);
  if (kind === "rewritten") {
    for (let rewrites = 0; rewrites < 3; rewrites += 1) {
      if (rewrites > 0) conversation.addTurn(TURN_BYTES);
      conversation.rewrite(1 + rewrites, 3 + rewrites);
    }
  }
  return new LiveSession(store, `agent:turns:${id}`, conversation, kind === "inputs" ? inputRowCount(isShort) : 1);
}

const inputRowCount = (isShort: boolean): number => (isShort ? ROWS_SHORT : ROWS);

/** Returns the size of the messages with which the document has its nominal size in the middle of a chain. */
function bytesOf(kind: Kind, isShort: boolean): number {
  const large = isShort ? 60_000 : 10_000_000;
  if (kind === "10 MB") return large;
  // A rewritten session has seven copies of its transcript before a chain, and eleven after it.
  if (kind === "rewritten") return large / 9;
  return 10_000 - (CHAIN / 2) * TURN_BYTES;
}

type Played = Readonly<Record<Kind | First, readonly MeasuredTurn[]>>;

/** Measures rounds of turns. The kinds alternate, so that noise of the machine affects all of them. */
async function play(player: Player, probe: Probe, run: Run, what: string): Promise<readonly Played[]> {
  const { count, hasRehearsal, signal, onProgress } = run.rounds;
  const rounds: Played[] = [];
  for (let round = hasRehearsal ? 0 : 1; round <= count; round += 1) {
    onProgress(`turns, ${what}: round ${String(round)} of ${String(count)}`);
    const names = KINDS.flatMap((kind) => [kind, `first, ${kind}`] as const);
    const played = Object.fromEntries(names.map((name) => [name, [] as MeasuredTurn[]])) as Record<
      Kind | First,
      MeasuredTurn[]
    >;
    for (let turn = 0; turn < (run.isShort ? CHAIN + 1 : TURNS_A_ROUND); turn += 1) {
      for (const kind of KINDS) {
        signal.throwIfAborted();
        const { turn: measured, first } = await player.turn(kind, probe);
        played[kind].push(measured);
        if (first) played[`first, ${kind}`].push(first);
      }
    }
    if (round > 0) rounds.push(played);
    await player.verify();
  }
  return rounds;
}

function rowsOf(caller: readonly Played[], tapped: readonly Played[], isJudged: boolean): Row[] {
  const firstMs = summary(caller, "first, rewritten", "callerMs", "median");
  const firstCpuMs = summary(caller, "first, rewritten", "cpuMs", "mean");
  const callerMs = (kind: Kind): number[] => summary(caller, kind, "callerMs", "median");
  const cpuMs = (kind: Kind): number[] => summary(caller, kind, "cpuMs", "mean");
  const socketMs = (kind: Kind): number[] => summary(tapped, kind, "serverMs", "median");
  const wire = (kind: Kind): number[] => summary(tapped, kind, "wireBytes", "median");
  const put = (kind: Kind): number[] => summary(tapped, kind, "putBytes", "median");
  const written = (kind: Kind): number[] => summary(tapped, kind, "writtenBytes", "median");
  const row = (name: string, values: readonly number[], unit: string, goal?: Goal, note?: string): Row =>
    rowOf({ name, values, unit, goal, isJudged, note });
  const times = (what: string, a: Kind, b: Kind, of: (kind: Kind) => number[], goal: Goal): Row =>
    row(`turn, ${NAMES[a]} against ${NAMES[b]}: ${what}`, quotients(of(a), of(b)), "times", goal);
  const kilobytes = (values: readonly number[]): number[] => values.map((bytes) => bytes / 1024);
  return [
    times("daemon p50", "10 MB", "10 KB", socketMs, atMost(2)),
    times("daemon CPU", "10 MB", "10 KB", cpuMs, atMost(2)),
    times("caller's p50", "10 MB", "10 KB", callerMs, atMost(3)),
    times("daemon p50", "inputs", "10 KB", socketMs, atMost(2)),
    times("daemon CPU", "inputs", "10 KB", cpuMs, atMost(2)),
    times("caller's p50", "inputs", "10 KB", callerMs, atMost(2)),
    row(
      "turn: bytes on the wire per additional input",
      wire("inputs").map(
        (bytes, round) => (bytes - (wire("10 KB")[round] ?? Number.NaN)) / (inputRowCount(!isJudged) - 1),
      ),
      "B",
      atMost(48),
    ),
    row(
      "turn, 10 MB session: the reference's time, against daemon p50",
      socketMs("10 MB").map((ms) => REFERENCE.ms10MB / ms),
      "times",
      atLeast(50),
      APART,
    ),
    row(
      "turn, 10 KB session: caller's p50 against the reference's",
      callerMs("10 KB").map((ms) => ms / REFERENCE.ms10KB),
      "times",
      atMost(1),
      APART,
    ),
    row("turn, 10 MB session: bytes on the wire", kilobytes(wire("10 MB")), "KiB", atMost(16)),
    row("turn, 10 MB session: value bytes put into LMDB", kilobytes(put("10 MB")), "KiB", atMost(48)),
    times("daemon p50", "rewritten", "10 KB", socketMs, atMost(4)),
    times("daemon CPU", "rewritten", "10 KB", cpuMs, atMost(4)),
    times("caller's p50", "rewritten", "10 KB", callerMs, atMost(4)),
    times("bytes on the wire", "rewritten", "10 KB", wire, atMost(4)),
    times("value bytes put", "rewritten", "10 KB", put, atMost(4)),
    row(
      `turn, ${NAMES.rewritten}: the reference's time, against daemon p50`,
      socketMs("rewritten").map((ms) => REFERENCE.msRewritten / ms),
      "times",
      undefined,
      `${APART}, with more rewrites`,
    ),
    row(`first turn, ${NAMES.rewritten}, checked completely: caller's p50`, firstMs, "ms"),
    row(`first turn, ${NAMES.rewritten}, checked completely: daemon CPU`, firstCpuMs, "ms"),
    ...KINDS.flatMap((kind) => [
      row(`turn, ${NAMES[kind]}: caller's p50`, callerMs(kind), "ms"),
      row(`turn, ${NAMES[kind]}: daemon p50`, socketMs(kind), "ms"),
      row(`turn, ${NAMES[kind]}: daemon CPU`, cpuMs(kind), "ms"),
      row(`turn, ${NAMES[kind]}: wire`, kilobytes(wire(kind)), "KiB"),
      row(`turn, ${NAMES[kind]}: values put`, kilobytes(put(kind)), "KiB"),
      row(`turn, ${NAMES[kind]}: bytes written`, kilobytes(written(kind)), "KiB"),
    ]),
  ];
}

const quotients = (one: readonly number[], other: readonly number[]): number[] =>
  one.map((value, round) => value / (other[round] ?? Number.NaN));
