import type { RuntimeStore } from "@bolthole/contract";
import { Random } from "@bolthole/core/testing";
import { Cast } from "../cast.js";
import { startDaemon } from "../peers/peers.js";
import { type Goal, type Row, type Section, atLeast, atMost, rowOf } from "../report.js";
import { Conversation } from "../sessions/conversation.js";
import { LiveSession } from "../sessions/live-session.js";
import type { Run } from "../subject.js";
import { type MeasuredTurn, type Probe, ServerProbe, TapProbe, measureTurn, summary } from "../turn-probe.js";
import { WireTap } from "../wire-tap.js";

const TURN_BYTES = 2000;
const GROWN_BY = 8000;
/** All but the long session start anew after so many turns. */
const CHAIN = 4;
const TURNS_A_ROUND = 2 * CHAIN;
const ROWS = 1000;
const ROWS_SHORT = 50;

/** The reference, in Rust on SQLite, on such a machine: measured apart, not in this run. */
const REFERENCE = { ms10KB: 3.9, ms10MB: 239, msRewritten: 670 };
const APART = "the reference was measured apart";

const KINDS = ["10 KB", "10 MB", "rewritten", "ledger"] as const;
type Kind = (typeof KINDS)[number];
const NAMES: Readonly<Record<Kind, string>> = {
  "10 KB": "10 KB session",
  "10 MB": "10 MB session",
  rewritten: "10 MB session with three rewrites",
  ledger: `10 KB session with ${ROWS.toLocaleString("en")} inputs`,
};

/** What a turn costs when the session is long, when it was rewritten, and when its ledger is. */
export function turns(run: Run): Promise<Section> {
  return Cast.with(async (cast) => {
    const direct = await cast.started(startDaemon(run.folder, { profileFile: run.profileFile }));
    const timed = new Player(await cast.connected(direct.target), run.isShort);
    const caller = await play(timed, new ServerProbe(direct), run, "the caller's time and the daemon's CPU");

    const observed = await cast.started(startDaemon(`${run.folder}/tapped`, { isObserved: true }));
    const tap = await WireTap.before(observed.target, `${run.folder}/tap`);
    cast.closes(() => tap.close());
    const tapped = new Player(await cast.connected(tap.target), run.isShort);
    const door = await play(tapped, new TapProbe(observed, tap), run, "bytes, and time at the daemon's door");
    return { title: TITLE, cells: [], rows: rowsOf(caller, door, !run.isShort) };
  });
}

const TITLE =
  "A turn: 2 KB of messages, a receipt, one changed input; the client is given the whole document and ledger";

/** The first turn of a session that a daemon does not know yet: its document is checked as a whole. */
type First = `first, ${Kind}`;

/** One session of each kind on one server. */
class Player {
  private readonly sessions = new Map<Kind, Playing>();
  private started = 0;

  constructor(
    private readonly store: RuntimeStore,
    private readonly isShort: boolean,
  ) {}

  /** A turn; and the first one of its session when that started with it. */
  async turn(kind: Kind, probe: Probe): Promise<{ readonly turn: MeasuredTurn; readonly first?: MeasuredTurn }> {
    const { playing, isNew } = await this.current(kind);
    const first = isNew ? { first: await measureTurn(playing.session.turn(TURN_BYTES), probe) } : {};
    playing.turns += 1;
    return { turn: await measureTurn(playing.session.turn(TURN_BYTES), probe), ...first };
  }

  async verify(): Promise<void> {
    for (const { session } of this.sessions.values()) await session.verify();
  }

  /** A short session is no longer short after some turns, and a rewritten one gains a copy of its transcript at each. */
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
  return new LiveSession(store, `agent:turns:${id}`, conversation, kind === "ledger" ? rowsOfLedger(isShort) : 1);
}

const rowsOfLedger = (isShort: boolean): number => (isShort ? ROWS_SHORT : ROWS);

/** Of the messages, so that the document has its name's size in the middle of a chain. */
function bytesOf(kind: Kind, isShort: boolean): number {
  const large = isShort ? 60_000 : 10_000_000;
  if (kind === "10 MB") return large;
  // It has seven copies of its transcript before a chain, and eleven after it.
  if (kind === "rewritten") return large / 9;
  return 10_000 - (CHAIN / 2) * TURN_BYTES;
}

type Played = Readonly<Record<Kind | First, readonly MeasuredTurn[]>>;

/** Rounds of turns, the kinds after each other turn by turn, so that the machine's moods meet all of them. */
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

function rowsOf(caller: readonly Played[], door: readonly Played[], isJudged: boolean): Row[] {
  const firstMs = summary(caller, "first, rewritten", "callerMs", "median");
  const firstCpuMs = summary(caller, "first, rewritten", "cpuMs", "mean");
  const callerMs = (kind: Kind): number[] => summary(caller, kind, "callerMs", "median");
  const cpuMs = (kind: Kind): number[] => summary(caller, kind, "cpuMs", "mean");
  const doorMs = (kind: Kind): number[] => summary(door, kind, "serverMs", "median");
  const wire = (kind: Kind): number[] => summary(door, kind, "wireBytes", "median");
  const put = (kind: Kind): number[] => summary(door, kind, "putBytes", "median");
  const written = (kind: Kind): number[] => summary(door, kind, "writtenBytes", "median");
  const row = (name: string, values: readonly number[], unit: string, goal?: Goal, note?: string): Row =>
    rowOf({ name, values, unit, goal, isJudged, note });
  const times = (what: string, a: Kind, b: Kind, of: (kind: Kind) => number[], goal: Goal): Row =>
    row(`turn, ${NAMES[a]} against ${NAMES[b]}: ${what}`, quotients(of(a), of(b)), "times", goal);
  const kilobytes = (values: readonly number[]): number[] => values.map((bytes) => bytes / 1024);
  return [
    times("daemon p50", "10 MB", "10 KB", doorMs, atMost(2)),
    times("daemon CPU", "10 MB", "10 KB", cpuMs, atMost(2)),
    times("caller's p50", "10 MB", "10 KB", callerMs, atMost(3)),
    times("daemon p50", "ledger", "10 KB", doorMs, atMost(2)),
    times("daemon CPU", "ledger", "10 KB", cpuMs, atMost(2)),
    times("caller's p50", "ledger", "10 KB", callerMs, atMost(2)),
    row(
      "turn: bytes on the wire for each input more",
      wire("ledger").map(
        (bytes, round) => (bytes - (wire("10 KB")[round] ?? Number.NaN)) / (rowsOfLedger(!isJudged) - 1),
      ),
      "B",
      atMost(48),
    ),
    row(
      "turn, 10 MB session: daemon p50, times less than the reference's",
      doorMs("10 MB").map((ms) => REFERENCE.ms10MB / ms),
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
    times("daemon p50", "rewritten", "10 KB", doorMs, atMost(4)),
    times("daemon CPU", "rewritten", "10 KB", cpuMs, atMost(4)),
    times("caller's p50", "rewritten", "10 KB", callerMs, atMost(4)),
    times("bytes on the wire", "rewritten", "10 KB", wire, atMost(4)),
    times("value bytes put", "rewritten", "10 KB", put, atMost(4)),
    row(
      `turn, ${NAMES.rewritten}: daemon p50, times less than the reference's`,
      doorMs("rewritten").map((ms) => REFERENCE.msRewritten / ms),
      "times",
      undefined,
      `${APART}, with more rewrites`,
    ),
    row(`first turn, ${NAMES.rewritten}, checked as a whole: caller's p50`, firstMs, "ms"),
    row(`first turn, ${NAMES.rewritten}, checked as a whole: daemon CPU`, firstCpuMs, "ms"),
    ...KINDS.flatMap((kind) => [
      row(`turn, ${NAMES[kind]}: caller's p50`, callerMs(kind), "ms"),
      row(`turn, ${NAMES[kind]}: daemon p50`, doorMs(kind), "ms"),
      row(`turn, ${NAMES[kind]}: daemon CPU`, cpuMs(kind), "ms"),
      row(`turn, ${NAMES[kind]}: wire`, kilobytes(wire(kind)), "KiB"),
      row(`turn, ${NAMES[kind]}: values put`, kilobytes(put(kind)), "KiB"),
      row(`turn, ${NAMES[kind]}: bytes written`, kilobytes(written(kind)), "KiB"),
    ]),
  ];
}

const quotients = (one: readonly number[], other: readonly number[]): number[] =>
  one.map((value, round) => value / (other[round] ?? Number.NaN));
