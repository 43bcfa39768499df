import type { RunBoundaryReceipt, RuntimeContents, RuntimeId, StoredInputState } from "@bolthole/contract";
import {
  readInputState,
  readMachineLifecycle,
  readOpsSnapshot,
  readReceipt,
  readSession,
  writeInputState,
  writeMachineLifecycle,
  writeOpsSnapshot,
  writeReceipt,
} from "@bolthole/json";
import { decodeLifecycleRecord, encodeLifecycleRecord } from "@bolthole/contract/wire";
import { bufferOf, isValidSeed } from "@bolthole/core";
import { clamped } from "./reference-place.js";

/** The rows of one runtime, as they lie in the reference's tables (section 9.1). */
export interface MeerkatRows {
  readonly snapshot: Buffer | undefined;
  readonly lifecycle: Buffer | undefined;
  readonly ops: Buffer | undefined;
  readonly inputs: readonly { readonly inputId: string; readonly json: Buffer }[];
  readonly receipts: readonly { readonly runId: string; readonly sequence: bigint; readonly json: Buffer }[];
}

/** A row that cannot be taken over, and why. */
export interface RefusedRow {
  /** As people read it, without the runtime's id. */
  readonly record: string;
  readonly reason: string;
}

/** Collects what can be taken, row by row, and what cannot. */
class Taking {
  readonly refused: RefusedRow[] = [];
  isEmpty = true;

  /** Nothing of a row that is not there. */
  one<From, To>(record: string, from: From | undefined, take: (from: From) => To): To | undefined {
    if (from === undefined) return undefined;
    try {
      const taken = take(from);
      this.isEmpty = false;
      return taken;
    } catch (error) {
      this.refused.push({ record, reason: (error as Error).message });
      return undefined;
    }
  }

  each<From, To>(all: readonly From[], record: (one: From) => string, take: (one: From) => To): To[] {
    return all.flatMap((one) => this.one(record(one), one, take) ?? []);
  }
}

export interface Taken<T> {
  readonly taken: T;
  readonly refused: readonly RefusedRow[];
  /** Nothing could be taken. */
  readonly isEmpty: boolean;
}

/** What a store can take of them. Each row is read as the reference's own loader reads it, and held to its key. */
export function fromMeerkat(runtimeId: RuntimeId, rows: MeerkatRows): Taken<RuntimeContents> {
  const taking = new Taking();
  const taken: RuntimeContents = {
    runtimeId,
    session: taking.one("session snapshot", rows.snapshot, sessionFrom),
    lifecycle: taking.one("machine lifecycle record", rows.lifecycle, lifecycleFrom),
    ops: taking.one("operation snapshot", rows.ops, readOpsSnapshot),
    inputs: taking.each(rows.inputs, ({ inputId }) => `input state ${inputId}`, inputFrom),
    receipts: taking.each(rows.receipts, describeReceipt, receiptFrom),
  };
  return { taken, refused: taking.refused, isEmpty: taking.isEmpty };
}

/** What the reference can take of a runtime. */
export function toMeerkat(contents: RuntimeContents): Taken<MeerkatRows> {
  const taking = new Taking();
  const used = new Set<string>();
  const taken: MeerkatRows = {
    snapshot: taking.one("session snapshot", contents.session, snapshotOf),
    lifecycle: taking.one("machine lifecycle record", contents.lifecycle, lifecycleOf),
    ops: taking.one("operation snapshot", contents.ops, writeOpsSnapshot),
    inputs: taking.each(
      contents.inputs,
      ({ inputId }) => `input state ${inputId}`,
      (state) => ({ inputId: state.inputId, json: writeInputState(state) }),
    ),
    receipts: taking.each(contents.receipts, describeReceipt, (receipt) => {
      const { runId, sequence } = receipt;
      const key = `${runId} ${clamped(sequence)}`;
      if (used.has(key)) throw new Error("the reference keeps only one receipt of a run with a sequence above 2^63-2");
      used.add(key);
      return { runId, sequence: clamped(sequence), json: writeReceipt(receipt) };
    }),
  };
  return { taken, refused: taking.refused, isEmpty: taking.isEmpty };
}

const describeReceipt = ({ runId, sequence }: { readonly runId: string; readonly sequence: bigint }): string =>
  `boundary receipt ${runId} ${sequence}`;

function sessionFrom(snapshot: Buffer): RuntimeContents["session"] {
  readSession(snapshot);
  return { snapshot, profile: "session" };
}

const lifecycleFrom = (json: Buffer): Uint8Array => encodeLifecycleRecord(readMachineLifecycle(json));

function inputFrom({ inputId, json }: MeerkatRows["inputs"][number]): StoredInputState {
  const state = readInputState(json);
  if (state.inputId !== inputId) throw new Error(`it says that it is ${state.inputId}`);
  if (!isValidSeed(state)) throw new Error("its phase, outcome, lane and attempts contradict each other");
  return state;
}

function receiptFrom({ runId, sequence, json }: MeerkatRows["receipts"][number]): RunBoundaryReceipt {
  const receipt = readReceipt(json);
  if (receipt.runId !== runId || clamped(receipt.sequence) !== sequence) {
    throw new Error(`it says that it is ${receipt.runId} ${receipt.sequence}`);
  }
  return receipt;
}

function snapshotOf({ snapshot, profile }: NonNullable<RuntimeContents["session"]>): Buffer {
  if (profile !== "session") throw new Error("it is opaque, and no session of the reference's");
  return bufferOf(snapshot);
}

function lifecycleOf(record: Uint8Array): Buffer {
  const lifecycle = decodeLifecycleRecord(record);
  if (!encodeLifecycleRecord(lifecycle).every((byte, index) => byte === record[index])) {
    throw new Error("it has members that the reference's JSON has no place for");
  }
  return writeMachineLifecycle(lifecycle);
}
