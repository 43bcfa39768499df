import { closeSync, openSync, readSync, writeSync } from "node:fs";

/** What a call meets; the numbers are those of native/faults.c. */
const FAULTS = {
  /** EIO, and nothing is done. */
  fail: 1,
  /** ENOSPC, and nothing is done, though there is room. */
  full: 2,
  /** Half of it is written; a flush or an open fails. */
  short: 3,
  /** A flush says that it is done, and does nothing. */
  "dropped flush": 4,
  /** A write says that it is done, and does nothing. */
  "lost write": 5,
} as const;
export type Fault = keyof typeof FAULTS;

const CALLS = ["", "page write", "meta write", "growth", "flush", "open"] as const;
export type CallName = (typeof CALLS)[number];
/** A kind of call, or any. */
export type Aim = Exclude<CallName, ""> | "any";

export interface PlannedFault {
  readonly fault: Fault;
  /** The number of the call on the data file from now on, from 1: this one, or the first of its kind after it. */
  readonly at: number;
  readonly aim: Aim;
  /** All such calls after it fail as well. */
  readonly isLasting: boolean;
}

const WORDS = ["fault", "at", "only", "lasting", "seen", "struck"] as const;
const BYTES = 4 * WORDS.length;

/** The file through which the daemon's calls are told what to meet. */
export class FaultPlan {
  private readonly file: number;

  constructor(readonly path: string) {
    this.file = openSync(path, "w+", 0o600);
    this.disarm();
  }

  arm({ fault, at, aim, isLasting }: PlannedFault): void {
    this.disarm();
    this.put([0, at, aim === "any" ? 0 : CALLS.indexOf(aim), isLasting ? 1 : 0]);
    this.put([FAULTS[fault]]);
  }

  disarm(): void {
    this.put(WORDS.map(() => 0));
  }

  /** The call that met the fault, or nothing yet. */
  get struck(): CallName {
    const bytes = Buffer.alloc(BYTES);
    readSync(this.file, bytes, 0, BYTES, 0);
    return CALLS[bytes.readUInt32LE(4 * WORDS.indexOf("struck"))] ?? "";
  }

  close(): void {
    closeSync(this.file);
  }

  private put(words: readonly number[]): void {
    const bytes = Buffer.alloc(4 * words.length);
    words.forEach((word, index) => bytes.writeUInt32LE(word, 4 * index));
    writeSync(this.file, bytes, 0, bytes.length, 0);
  }
}
