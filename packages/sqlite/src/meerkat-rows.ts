import type { ExportedPart, Finding, RunBoundaryReceipt, RuntimeContents, StoredInputState } from "@bolthole/contract";
import { SingleRecords } from "@bolthole/contract";
import {
  readInputState,
  readMachineLifecycle,
  checkOpsSnapshot,
  readReceipt,
  readSession,
  writeInputState,
  writeMachineLifecycle,
  writeReceipt,
} from "@bolthole/json";
import { decodeLifecycleRecord, encodeLifecycleRecord, inspectLifecycleRecord } from "@bolthole/contract/wire";
import { bufferOf, isValidSeed } from "@bolthole/core";
import { clamped } from "./reference-tables.js";

/** The rows of one runtime in the reference's tables of which there is at most one each (contract 13.1). */
export interface MeerkatSingles {
  readonly snapshot: Buffer | undefined;
  readonly lifecycle: Buffer | undefined;
  readonly ops: Buffer | undefined;
}

export interface MeerkatInput {
  readonly table: "input";
  readonly inputId: string;
  readonly json: Buffer;
}

export interface MeerkatReceipt {
  readonly table: "receipt";
  readonly runId: string;
  readonly sequence: bigint;
  readonly json: Buffer;
}

/** An input row or receipt in the reference's tables. */
export type MeerkatRow = MeerkatInput | MeerkatReceipt;

/** A row that cannot be imported or exported, and the reason. */
export interface RefusedRow {
  /** The name of the row for messages, without the runtime id. */
  readonly record: string;
  readonly reason: string;
}

/** What is known of a conversion when all rows were converted. */
export interface Converted {
  readonly refused: readonly RefusedRow[];
  /** Whether no row could be converted. */
  readonly isEmpty: boolean;
}

/** Converts rows one by one, and collects those that cannot be converted. */
class Conversion implements Converted {
  readonly refused: RefusedRow[] = [];
  isEmpty = true;

  /** Returns the converted row, or undefined when the row is missing or refused. */
  protected one<From, To>(record: string, from: From | undefined, convert: (from: From) => To): To | undefined {
    if (from === undefined) return undefined;
    try {
      const converted = convert(from);
      this.isEmpty = false;
      return converted;
    } catch (error) {
      this.refused.push({ record, reason: (error as Error).message });
      return undefined;
    }
  }
}

/**
 * Converts rows of the reference for a store. Each row is read as the reference's loader reads it, and must contain the
 * ids of its key.
 */
export class FromMeerkat extends Conversion {
  singles({ snapshot, lifecycle, ops }: MeerkatSingles): Pick<RuntimeContents, "session" | "lifecycle" | "ops"> {
    return {
      session: this.one("session snapshot", snapshot, sessionFrom),
      lifecycle: this.one("machine lifecycle record", lifecycle, lifecycleFrom),
      ops: this.one("operation snapshot", ops, opsFrom),
    };
  }

  input(row: MeerkatInput): StoredInputState | undefined {
    return this.one(`input state ${row.inputId}`, row, inputFrom);
  }

  receipt(row: MeerkatReceipt): RunBoundaryReceipt | undefined {
    return this.one(describeReceipt(row), row, receiptFrom);
  }
}

/** Converts the parts of an exported runtime for the tables of the reference, as they arrive. */
export class ToMeerkat extends Conversion {
  /** The damage of the records that were left out of the export. */
  readonly findings: Finding[] = [];
  private readonly records = new SingleRecords();
  private last: MeerkatReceipt | undefined;

  /** Yields the rows that can be converted. */
  async *rows(parts: AsyncIterable<ExportedPart>): AsyncGenerator<MeerkatRow, void> {
    for await (const part of parts) {
      switch (part.kind) {
        case "inputs":
          for (const state of part.inputs) {
            const row = this.one(`input state ${state.inputId}`, state, inputOf);
            if (row) yield row;
          }
          break;
        case "receipts":
          for (const receipt of part.receipts) {
            const row = this.one(describeReceipt(receipt), receipt, (one) => this.receiptOf(one));
            if (row) yield row;
          }
          break;
        case "finding":
          this.findings.push(part.finding);
          break;
        case "session":
        case "lifecycle":
        case "ops":
          this.records.add(part);
      }
    }
  }

  /** Converts the other records. Call it once, after the last row. */
  async singles(): Promise<MeerkatSingles> {
    const { session, lifecycle, ops } = await this.records.take();
    const refusedRows = this.refused.splice(0);
    const singles = {
      snapshot: this.one("session snapshot", session, snapshotOf),
      lifecycle: this.one("machine lifecycle record", lifecycle, lifecycleOf),
      ops: this.one("operation snapshot", ops, bufferOf),
    };
    this.refused.push(...refusedRows);
    return singles;
  }

  /** The receipts are in the order of their keys. */
  private receiptOf(receipt: RunBoundaryReceipt): MeerkatReceipt {
    const { runId } = receipt;
    const sequence = clamped(receipt.sequence);
    if (this.last?.runId === runId && this.last.sequence === sequence) {
      throw new Error("the reference keeps only one receipt of a run with a sequence above 2^63-2");
    }
    this.last = { table: "receipt", runId, sequence, json: writeReceipt(receipt) };
    return this.last;
  }
}

/** Whether a row of the tables equals a converted row, in canonical JSON: the reference writes the members of maps in any order. */
export function isSameRow(stored: MeerkatRow, row: MeerkatRow): boolean {
  if (stored.table === "input" && row.table === "input") {
    if (stored.inputId !== row.inputId) return false;
    return isSameJson(stored, row, () => writeInputState(inputFrom(stored)));
  }
  if (stored.table === "receipt" && row.table === "receipt") {
    if (stored.runId !== row.runId || stored.sequence !== row.sequence) return false;
    return isSameJson(stored, row, () => writeReceipt(receiptFrom(stored)));
  }
  return false;
}

function isSameJson({ json: stored }: MeerkatRow, { json }: MeerkatRow, canonical: () => Buffer): boolean {
  if (stored.equals(json)) return true;
  try {
    return canonical().equals(json);
  } catch {
    // A row that cannot be read is another one.
    return false;
  }
}

/** Returns what an export of the rows would write again, and undefined in place of a row that cannot be read. */
export function canonicalSingles(stored: MeerkatSingles): MeerkatSingles {
  const { session, lifecycle, ops } = new FromMeerkat().singles(stored);
  return {
    snapshot: session && bufferOf(session.snapshot),
    lifecycle: lifecycle && lifecycleOf(lifecycle),
    ops: ops && bufferOf(ops),
  };
}

const describeReceipt = ({ runId, sequence }: { readonly runId: string; readonly sequence: bigint }): string =>
  `boundary receipt ${runId} ${sequence}`;

function sessionFrom(snapshot: Buffer): RuntimeContents["session"] {
  readSession(snapshot);
  return { snapshot, profile: "session" };
}

function opsFrom(json: Buffer): Buffer {
  checkOpsSnapshot(json);
  return json;
}

const lifecycleFrom = (json: Buffer): Uint8Array => encodeLifecycleRecord(readMachineLifecycle(json));

function inputFrom({ inputId, json }: MeerkatInput): StoredInputState {
  const state = readInputState(json);
  if (state.inputId !== inputId) throw new Error(`expected the input id of its key, found ${state.inputId}`);
  if (!isValidSeed(state)) throw new Error("its phase, outcome, lane and attempt count are inconsistent");
  return state;
}

const inputOf = (state: StoredInputState): MeerkatInput => ({
  table: "input",
  inputId: state.inputId,
  json: writeInputState(state),
});

function receiptFrom({ runId, sequence, json }: MeerkatReceipt): RunBoundaryReceipt {
  const receipt = readReceipt(json);
  if (receipt.runId !== runId || clamped(receipt.sequence) !== sequence) {
    throw new Error(`expected the run id and sequence of its key, found ${receipt.runId} ${receipt.sequence}`);
  }
  return receipt;
}

function snapshotOf({ snapshot, profile }: NonNullable<RuntimeContents["session"]>): Buffer {
  if (profile !== "session") throw new Error("it is opaque, but the reference stores only sessions");
  return bufferOf(snapshot);
}

function lifecycleOf(record: Uint8Array): Buffer {
  const lifecycle = decodeLifecycleRecord(record);
  if (inspectLifecycleRecord(record).hasUnknownFields) {
    throw new Error("it has fields that the reference's JSON has no members for");
  }
  return writeMachineLifecycle(lifecycle);
}
