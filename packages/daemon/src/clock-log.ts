import { type Clock, type ClockState, type HorizonMove, SYSTEM_CLOCK } from "@bolthole/core";
import type { Log } from "./log.js";

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** No clock of a running daemon can show an earlier time: this version did not exist then. A machine without a battery starts in 1970. */
const EARLIEST_MS = Date.UTC(2026, 0, 1);

/** Clocks are corrected by less than this all the time. */
const USUAL_CORRECTION_MS = 10 * SECOND_MS;

/** A start, and a restore, that is this much earlier than a commit of the store is reported. */
export const REPORTED_LAG_MS = MINUTE_MS;

/** A store is rarely unused for as long as this. */
const REPORTED_PAUSE_MS = 30 * DAY_MS;

/** A change of the horizon that deletions cause is reported at once, and then with all that follow within this time. */
const QUIET_MS = HOUR_MS;

const HOW_TO_SET =
  "if the clock is right, and no request that was sent before can still arrive, run: bolthole horizon --set now";

/** Logs every change of the horizon, and clocks that cannot be right. It logs no ids. */
export class ClockLog {
  /** The difference between the two clocks when they were last compared. */
  private offsetMs: number;
  /** The changes of the horizon that are not logged yet. */
  private waiting: HorizonMove | undefined;
  private readonly loggedAtMs = { info: -Infinity, warn: -Infinity };

  constructor(
    private readonly log: Log,
    private readonly clock: Clock = SYSTEM_CLOCK,
  ) {
    this.offsetMs = this.readOffset();
  }

  /** Compares the clock with the times that a store keeps, at a start. */
  started({ nowMs, horizonMs, lastCommitMs }: ClockState): void {
    const facts = { clock: instant(nowMs), lastCommit: instant(lastCommitMs), horizon: instant(horizonMs) };
    if (nowMs < EARLIEST_MS) {
      const text = `the clock cannot be right: it shows a time before ${instant(EARLIEST_MS)}; set it, and start again`;
      this.log.warn(facts, text);
    }
    if (nowMs < lastCommitMs - REPORTED_LAG_MS) {
      this.log.warn(
        facts,
        `the clock shows a time ${duration(lastCommitMs - nowMs)} before a commit of this store: it is behind now, or was ahead ` +
          `then; set it if it is behind; ${HOW_TO_SET}`,
      );
    }
    if (nowMs < horizonMs) {
      // As a restore sets it. A clock that is behind by so little is reported by the time of the last commit.
      const level = horizonMs - nowMs <= HOUR_MS ? "info" : "warn";
      this.log[level](
        facts,
        `the horizon is ${duration(horizonMs - nowMs)} above the clock: after a restore, or because a clock was ahead. Request ids ` +
          `below it are refused as REQUEST_ID_EXPIRED; clients that read the horizon go on. Set the clock if it is behind; ${HOW_TO_SET}`,
      );
    }
    if (lastCommitMs > 0 && nowMs > lastCommitMs + REPORTED_PAUSE_MS) {
      this.log.warn(
        facts,
        `the clock shows a time ${duration(nowMs - lastCommitMs)} after the last commit of this store; if the store was in use since ` +
          "then, the clock is ahead: set it within an hour, before outcomes are deleted by it",
      );
    }
  }

  /** Reports a jump of the clock since the last call. */
  compare(): void {
    const offsetMs = this.readOffset();
    const jumpMs = offsetMs - this.offsetMs;
    this.offsetMs = offsetMs;
    if (Math.abs(jumpMs) <= USUAL_CORRECTION_MS) return;
    const text =
      jumpMs > 0
        ? `the clock went ahead by ${duration(jumpMs)}, or the machine slept; if this is wrong, set it within an hour, before outcomes ` +
          "are deleted by it"
        : `the clock went back by ${duration(-jumpMs)}`;
    this.log.warn({ clock: instant(this.clock.now()), jumpMs: Math.round(jumpMs) }, text);
  }

  horizonMoved(move: HorizonMove): void {
    if (move.cause === "operator") {
      this.flush();
      const effect =
        move.toMs < move.fromMs
          ? "lower: requests between the two horizons that were applied or refused may be applied again"
          : "higher: requests between the two horizons are refused";
      this.log.warn(rangeOf(move), `an operator set the horizon ${effect}`);
      return;
    }
    const before = this.waiting;
    this.waiting = {
      ...move,
      fromMs: before?.fromMs ?? move.fromMs,
      aged: move.aged + (before?.aged ?? 0),
      displaced: move.displaced + (before?.displaced ?? 0),
      displacedSeals: move.displacedSeals + (before?.displacedSeals ?? 0),
    };
    if (this.clock.monotonic() - this.loggedAtMs[levelOf(this.waiting)] >= QUIET_MS) this.flush();
  }

  /** Logs the changes of the horizon that are not logged yet. */
  flush(): void {
    const { waiting } = this;
    if (!waiting) return;
    this.waiting = undefined;
    const level = levelOf(waiting);
    this.loggedAtMs[level] = this.clock.monotonic();
    const { aged, displaced, displacedSeals } = waiting;
    const facts = { ...rangeOf(waiting), aged, displaced, displacedSeals };
    if (level === "info")
      this.log.info(facts, "the horizon moved: outcomes of requests were deleted because of their age");
    else {
      this.log.warn(
        facts,
        "the horizon moved: outcomes of requests or sealed ids were deleted before their age required it, because there were too many; " +
          "later retries of those requests are refused as REQUEST_ID_EXPIRED; see --outcome-max-count",
      );
    }
  }

  private readOffset(): number {
    return this.clock.now() - this.clock.monotonic();
  }
}

const levelOf = ({ displaced, displacedSeals }: HorizonMove): "info" | "warn" =>
  displaced > 0 || displacedSeals > 0 ? "warn" : "info";

const rangeOf = ({ fromMs, toMs }: HorizonMove): { readonly from: string; readonly to: string } => ({
  from: instant(fromMs),
  to: instant(toMs),
});

const instant = (ms: number): string => new Date(ms).toISOString();

const UNITS = [
  [DAY_MS, "days"],
  [HOUR_MS, "hours"],
  [MINUTE_MS, "minutes"],
] as const;

/** Returns a length of time in the largest unit of which it has at least two. */
export function duration(ms: number): string {
  const [unit, name] = UNITS.find(([size]) => ms >= 2 * size) ?? [SECOND_MS, "seconds"];
  return `${String(Math.round(ms / unit))} ${name}`;
}
