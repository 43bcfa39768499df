import type { DeletedCounts, Version } from "@bolthole/contract";
import { bufferOf } from "../bytes.js";
import { UnknownFormError } from "./row.js";

/** The stored result of a request id: the response of the mutation that was applied under it, or that it was sealed. */
export type Outcome =
  | {
      readonly state: "applied";
      /** The version in the response. */
      readonly version: Version;
      readonly method: string;
      readonly fingerprint: Uint8Array;
      /** The rest of the response. Undefined in an outcome of the first form, which did not keep it. */
      readonly response: StoredResponse | undefined;
    }
  | { readonly state: "sealed" };

const APPLIED_WITHOUT_RESPONSE = 1;
const SEALED = 2;
const APPLIED = 3;
const FINGERPRINT_BYTES = 32;
/** The texts follow the form, the lengths of version and method, and the fingerprint. */
const TEXTS_AT = 3 + FINGERPRINT_BYTES;

export function encodeOutcome(outcome: Outcome): Uint8Array {
  if (outcome.state === "sealed") return Uint8Array.of(SEALED);
  const { version, method, response } = outcome;
  const stored = response && encodeResponse(response);
  const responseAt = TEXTS_AT + version.length + method.length;
  const bytes = Buffer.allocUnsafe(responseAt + (stored?.length ?? 0));
  bytes[0] = stored ? APPLIED : APPLIED_WITHOUT_RESPONSE;
  bytes[1] = version.length;
  bytes[2] = method.length;
  bytes.set(outcome.fingerprint, 3);
  bytes.write(version + method, TEXTS_AT, "latin1");
  if (stored) bytes.set(stored, responseAt);
  return bytes;
}

/** Whether an outcome is that of a sealed id. It also answers for a row whose checksum is wrong. */
export const isSealedOutcome = (value: Uint8Array): boolean => value[0] === SEALED;

export function decodeOutcome(value: Uint8Array): Outcome {
  if (value[0] === SEALED) return { state: "sealed" };
  if (value[0] !== APPLIED && value[0] !== APPLIED_WITHOUT_RESPONSE) {
    throw new UnknownFormError("form", "1, 2 or 3", value[0]);
  }
  const bytes = bufferOf(value);
  const methodAt = TEXTS_AT + bytes.readUInt8(1);
  const responseAt = methodAt + bytes.readUInt8(2);
  return {
    state: "applied",
    fingerprint: bytes.subarray(3, TEXTS_AT),
    version: bytes.toString("latin1", TEXTS_AT, methodAt),
    method: bytes.toString("latin1", methodAt, responseAt),
    response: value[0] === APPLIED ? decodeResponse(bytes.subarray(responseAt)) : undefined,
  };
}

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
  readonly deletedRuntime?: DeletedCounts | undefined;
}

/** Marks a row that was written. No commit and no external row has this sequence. */
export const WRITTEN = 0;

const HAS_INPUTS = 1;
const HAS_KEPT = 2;
const HAS_DELETED_RUNTIME = 4;
const ALL_FLAGS = HAS_INPUTS | HAS_KEPT | HAS_DELETED_RUNTIME;

const HAD_SNAPSHOT = 1;
const HAD_LIFECYCLE = 2;
const HAD_OPS = 4;

/**
 * Returns the bytes of a response: a byte of flags, then the parts whose flags are set. All numbers have a variable length.
 * The kept sequences are runs: a count, and the difference from the sequence of the previous run.
 */
export function encodeResponse({ inputs, keptSequences, deletedRuntime }: StoredResponse): Uint8Array {
  const bytes = [
    (inputs ? HAS_INPUTS : 0) | (keptSequences.length > 0 ? HAS_KEPT : 0) | (deletedRuntime ? HAS_DELETED_RUNTIME : 0),
  ];
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
  if (deletedRuntime) {
    const { hadSessionSnapshot, hadMachineLifecycle, hadOpsLifecycle } = deletedRuntime;
    writeUnsigned(bytes, deletedRuntime.inputStates);
    writeUnsigned(bytes, deletedRuntime.receipts);
    bytes.push(
      (hadSessionSnapshot ? HAD_SNAPSHOT : 0) |
        (hadMachineLifecycle ? HAD_LIFECYCLE : 0) |
        (hadOpsLifecycle ? HAD_OPS : 0),
    );
  }
  return Buffer.from(bytes);
}

export function decodeResponse(bytes: Uint8Array): StoredResponse {
  const [flags] = bytes;
  // A flag of a later version means a part that this version would leave out of a replayed response.
  if (flags === undefined || (flags & ~ALL_FLAGS) !== 0) throw new UnknownFormError("flags", "up to 7", flags);
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
  return { inputs, keptSequences, deletedRuntime: flags & HAS_DELETED_RUNTIME ? readDeleted(numbers) : undefined };
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
