import { execFile } from "node:child_process";
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { UnsupportedMachineError } from "../run.js";

/** The faults of a call. The numbers are those of native/faults.c. */
const FAULTS = {
  /** The call does nothing and returns EIO. */
  fail: 1,
  /** The call does nothing and returns ENOSPC, although there is space. */
  full: 2,
  /** A write writes half of its bytes; a flush or an open fails. */
  short: 3,
  /** A flush does nothing and reports success. */
  "dropped flush": 4,
  /** A write does nothing and reports success. */
  "lost write": 5,
} as const;
export type Fault = keyof typeof FAULTS;

const CALLS = ["", "page write", "meta write", "growth", "flush", "open", "truncation", "copy"] as const;
/** A kind of call on the data file. Truncations and the writes of a copy can be delayed, and do not fail. */
export type CallName = (typeof CALLS)[number];
/** The kind of call that fails. */
type Aim = Exclude<CallName, "" | "truncation" | "copy"> | "any";
/** The milliseconds that calls wait before they do their work. */
export type Delays = Readonly<Partial<Record<Exclude<CallName, "">, number>>>;

export interface PlannedFault {
  readonly fault: Fault;
  /** The number of the call on the data file, from 1. That call fails, or the first one of the kind `aim` after it. */
  readonly at: number;
  readonly aim: Aim;
  /** Whether all later calls of that kind fail as well. */
  readonly isLasting: boolean;
}

const WORDS = ["fault", "at", "only", "lasting", "seen", "hit"] as const;
/** After the words, the file has the delay of each kind of call, and the number of calls of each kind that have begun. */
const DELAYS_AT = 4 * WORDS.length;
const BEGUN_AT = DELAYS_AT + 4 * CALLS.length;
const BYTES = BEGUN_AT + 4 * CALLS.length;

/** The file that native/faults.c maps into the daemon: it names the fault and the delays, and receives what happened. */
export class FaultPlan {
  private readonly file: number;

  constructor(readonly path: string) {
    this.file = openSync(path, "w+", 0o600);
    writeSync(this.file, Buffer.alloc(BYTES), 0, BYTES, 0);
  }

  arm({ fault, at, aim, isLasting }: PlannedFault): void {
    this.disarm();
    this.put([0, at, aim === "any" ? 0 : CALLS.indexOf(aim), isLasting ? 1 : 0]);
    this.put([FAULTS[fault]]);
  }

  /** Removes the fault and all delays. */
  disarm(): void {
    this.put(WORDS.map(() => 0));
    this.delay({});
  }

  /** Delays these kinds of calls, and no others. */
  delay(delays: Delays): void {
    this.put(
      CALLS.map((call) => (call === "" ? 0 : (delays[call] ?? 0))),
      DELAYS_AT,
    );
  }

  /** The number of calls of a kind that have begun. Writes of a copy are counted only while they are delayed. */
  begun(call: CallName): number {
    return this.bytes().readUInt32LE(BEGUN_AT + 4 * CALLS.indexOf(call));
  }

  /** The call that failed; empty when no call has failed yet. */
  get hit(): CallName {
    return CALLS[this.bytes().readUInt32LE(4 * WORDS.indexOf("hit"))] ?? "";
  }

  close(): void {
    closeSync(this.file);
  }

  private bytes(): Buffer {
    const bytes = Buffer.alloc(BYTES);
    readSync(this.file, bytes, 0, BYTES, 0);
    return bytes;
  }

  private put(words: readonly number[], at = 0): void {
    const bytes = Buffer.alloc(4 * words.length);
    words.forEach((word, index) => bytes.writeUInt32LE(word, 4 * index));
    writeSync(this.file, bytes, 0, bytes.length, at);
  }
}

const SOURCE = join(__dirname, "..", "..", "native", "faults.c");

/** Compiles the library that makes calls of the daemon fail, or delays them. */
export async function compileFaultLibrary(target: string): Promise<void> {
  if (process.platform !== "linux") throw new UnsupportedMachineError("this kind needs Linux");
  try {
    await promisify(execFile)("cc", ["-shared", "-fPIC", "-O1", "-o", target, SOURCE, "-ldl"]);
  } catch (error) {
    throw new UnsupportedMachineError(`this kind needs a C compiler, called cc: ${(error as Error).message}`);
  }
}
