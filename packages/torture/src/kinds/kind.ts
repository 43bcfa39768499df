import type { DaemonProcess, Ending } from "@bolthole/conformance/process";
import type { Findings } from "../check/findings.js";
import type { Random } from "../random.js";

/** How a client reaches the daemon. */
export interface Way {
  readonly target: string;
  readonly token?: string | undefined;
}

/** What a strike has to do with. */
export interface Strike {
  readonly daemon: DaemonProcess;
  readonly random: Random;
  readonly findings: Findings;
  /** For the report: this happened, once or so many times. */
  readonly count: (what: string, times?: number) => void;
}

/** Where a daemon keeps its data while it is tortured, and how. */
export interface Site {
  /** The daemon's data folder; it need not exist. */
  readonly data: string;
  /** Variables of the daemon's own. */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Further arguments of the daemon. */
  readonly args?: readonly string[];
  /** How clients get there, in turns; by the daemon's socket unless told otherwise. */
  ways?(daemon: DaemonProcess, random: Random): Promise<readonly Way[]>;
  /** Breaks the machine under a daemon at work; answers how the daemon ended, or undefined when it lives on. */
  strike(strike: Strike): Promise<Ending | undefined>;
  /** What is there to be done before the daemon may start again, or its clients settle what has no answer. */
  recover(): Promise<void>;
  /** The data folder is kept when `isKept`. */
  dispose(isKept: boolean): Promise<void>;
}

export interface Kind {
  readonly name: string;
  readonly description: string;
  /** Acknowledged writes that must come before each strike. */
  readonly acknowledgedBefore: number;
  /** The strike comes at a random instant of this many milliseconds. */
  readonly withinMs: number;
  /** How a daemon may end under a strike, besides by SIGKILL. */
  readonly endings: readonly string[];
  /** Refusals that the fault explains, beside those of a daemon that is not there. */
  readonly excuses: readonly string[];
  /** It mounts a file system of its own. */
  readonly isOnOwnDisk: boolean;
  prepare(folder: string): Promise<Site>;
}

/** This machine cannot run the kind. */
export class CannotRun extends Error {}
