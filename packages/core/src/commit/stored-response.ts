import type { DeletedCounts } from "@bolthole/contract";

/*
 * The part of a response that an outcome keeps besides its version, so that a replayed response has every field of the first one.
 * A store may keep a quarter of a million of them for a day, so they are short: versions are stored as sequences,
 * and the ids of the input rows are not stored. A repeated request has the same rows in the same order, because its
 * fingerprint is the same.
 */

/** The fields of a response besides its version and `replayed`. Sequences stand for versions. */
export interface StoredResponse {
  /** The version of all input rows before and after the commit. Absent for a mutation without a runtime. */
  readonly inputs?: { readonly before: number; readonly after: number } | undefined;
  /**
   * A number for each input row of the request, in its order: the sequence that the row kept because it was not written, or
   * `WRITTEN`. Empty when every row was written.
   */
  readonly keptSequences: readonly number[];
  /** The counts in the response to a deletion of the runtime. */
  readonly deleted?: DeletedCounts | undefined;
}

/** Marks a row that was written. No commit and no external row has this sequence. */
export const WRITTEN = 0;

const HAS_INPUTS = 1;
const HAS_KEPT = 2;
const HAS_DELETED = 4;

const HAD_SNAPSHOT = 1;
const HAD_LIFECYCLE = 2;
const HAD_OPS = 4;

/**
 * Returns the bytes of a response: a byte of flags, then the parts whose flags are set. All numbers have a variable length.
 * The kept sequences are runs: a count, and the difference from the sequence of the previous run.
 */
export function encodeResponse({ inputs, keptSequences, deleted }: StoredResponse): Uint8Array {
  const bytes = [(inputs ? HAS_INPUTS : 0) | (keptSequences.length > 0 ? HAS_KEPT : 0) | (deleted ? HAS_DELETED : 0)];
  if (inputs) {
    writeSigned(bytes, inputs.before);
    writeSigned(bytes, inputs.after - inputs.before);
  }
  if (keptSequences.length > 0) {
    writeUnsigned(bytes, keptSequences.length);
    let previous = 0;
    for (let at = 0; at < keptSequences.length;) {
      const sequence = keptSequences[at] ?? WRITTEN;
      let end = at + 1;
      while (end < keptSequences.length && keptSequences[end] === sequence) end += 1;
      writeUnsigned(bytes, end - at);
      writeSigned(bytes, sequence - previous);
      previous = sequence;
      at = end;
    }
  }
  if (deleted) {
    const { hadSessionSnapshot, hadMachineLifecycle, hadOpsLifecycle } = deleted;
    writeUnsigned(bytes, deleted.inputStates);
    writeUnsigned(bytes, deleted.receipts);
    bytes.push(
      (hadSessionSnapshot ? HAD_SNAPSHOT : 0) |
        (hadMachineLifecycle ? HAD_LIFECYCLE : 0) |
        (hadOpsLifecycle ? HAD_OPS : 0),
    );
  }
  return Buffer.from(bytes);
}

export function decodeResponse(bytes: Uint8Array): StoredResponse {
  const flags = bytes[0] ?? 0;
  const numbers = new NumberReader(bytes, 1);
  const before = flags & HAS_INPUTS ? numbers.signed() : undefined;
  const inputs = before === undefined ? undefined : { before, after: before + numbers.signed() };
  const keptSequences: number[] = [];
  const rows = flags & HAS_KEPT ? numbers.unsigned() : 0;
  for (let sequence = 0; keptSequences.length < rows;) {
    const end = keptSequences.length + numbers.unsigned();
    sequence += numbers.signed();
    if (end > rows) throw new RangeError(`a response of ${String(rows)} rows has a run to row ${String(end)}`);
    while (keptSequences.length < end) keptSequences.push(sequence);
  }
  return { inputs, keptSequences, deleted: flags & HAS_DELETED ? readDeleted(numbers) : undefined };
}

function readDeleted(numbers: NumberReader): DeletedCounts {
  const inputStates = numbers.unsigned();
  const receipts = numbers.unsigned();
  const had = numbers.unsigned();
  return {
    inputStates,
    receipts,
    hadSessionSnapshot: (had & HAD_SNAPSHOT) !== 0,
    hadMachineLifecycle: (had & HAD_LIFECYCLE) !== 0,
    hadOpsLifecycle: (had & HAD_OPS) !== 0,
  };
}

// Arithmetic, because sequences are larger than the 32 bits of JavaScript's shifts.

function writeUnsigned(bytes: number[], value: number): void {
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80);
  bytes.push(rest);
}

const writeSigned = (bytes: number[], value: number): void => {
  writeUnsigned(bytes, value < 0 ? -2 * value - 1 : 2 * value);
};

class NumberReader {
  constructor(
    private readonly bytes: Uint8Array,
    private at: number,
  ) {}

  unsigned(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 0x80) {
      const byte = this.bytes[this.at];
      if (byte === undefined) throw new RangeError("a number ends after the end of a stored response");
      this.at += 1;
      value += (byte % 0x80) * factor;
      if (byte < 0x80) return value;
    }
  }

  signed(): number {
    const value = this.unsigned();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}
