import { seal, unseal, unsealed } from "./document-tree/checksum.js";
import type { Put } from "./environment.js";
import { UnusableFolderError } from "./format.js";

/*
 * The numbers that a store counts up: the sequence of the last commit, the next node id and the next row space id. A number
 * that is used twice would overwrite the data of another runtime, or give two states the same version. So a counter is sealed
 * (see `seal`), and compared with the largest number that is stored when the store is opened.
 *
 *   number (8, a double, little-endian)  CRC-32 (4)
 *
 * A store of format 2 has no CRC-32 until the counter is written again.
 */
const NUMBER_BYTES = 8;

export function encodeCounter(key: Buffer, value: number): Buffer {
  const bytes = unsealed(NUMBER_BYTES);
  bytes.writeDoubleLE(value);
  return seal(key, bytes);
}

/** Returns the number of a stored counter, or undefined when it is damaged. */
export function decodeCounter(key: Buffer, stored: Buffer): number | undefined {
  const body = stored.length === NUMBER_BYTES ? stored : unseal(key, stored);
  const value = body?.length === NUMBER_BYTES ? body.readDoubleLE() : Number.NaN;
  return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** A counter of a store: its key, its name in errors, and the least value that it can have, given what is stored. */
export interface CounterFacts {
  readonly key: Buffer;
  readonly name: string;
  readonly atLeast: number;
}

/** The facts of the counter of an id, given the largest id that is stored. 0 stands for none. */
export const nextIdFacts = (key: Buffer, name: string, lastId: number): CounterFacts => ({
  key,
  name,
  atLeast: lastId === 0 ? 0 : lastId + 1,
});

/** Returns the sentence about a counter that is damaged or too small, or undefined when it can be used. */
export function counterProblem({ key, name, atLeast }: CounterFacts, stored: Buffer | undefined): string | undefined {
  const value = stored ? decodeCounter(key, stored) : 0;
  if (value !== undefined && value >= atLeast) return undefined;
  const found = value === undefined ? (stored?.toString("hex") ?? "nothing") : String(value);
  return `the number of the ${name} is damaged: expected at least ${atLeast}, found ${found}`;
}

/**
 * Returns the number of a counter, and 0 when none is stored. Throws an UnusableFolderError when it is damaged or too small:
 * numbers would be used a second time.
 */
export function loadCounter(source: { get(key: Buffer): Buffer | undefined }, facts: CounterFacts): number {
  const stored = source.get(facts.key);
  const problem = counterProblem(facts, stored);
  if (problem !== undefined) {
    throw new UnusableFolderError(`${problem}; keep a copy of the folder, check the disk, and restore a backup`);
  }
  return stored ? (decodeCounter(facts.key, stored) ?? 0) : 0;
}

/**
 * A counter of ids that are stored. Every transaction that stores a new id stores the counter too, so no id that was ever on
 * the disk is used again. Ids that were taken in memory and lost in a crash were never on the disk.
 */
export class IdCounter {
  constructor(
    private readonly key: Buffer,
    private next: number,
  ) {}

  /** Reads the counter. Throws an UnusableFolderError as `loadCounter` does. */
  static load(source: { get(key: Buffer): Buffer | undefined }, facts: CounterFacts): IdCounter {
    // The first id is 1.
    return new IdCounter(facts.key, loadCounter(source, facts) || 1);
  }

  take(count: number): { readonly first: number; readonly end: number } {
    const first = this.next;
    this.next += count;
    return { first, end: this.next };
  }

  /** Returns the write that stores the counter. */
  put(): Put {
    return [this.key, encodeCounter(this.key, this.next)];
  }
}
