import type { RunBoundaryReceipt, RuntimeContents, RuntimeId, StoredInputState } from "@bolthole/contract";
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

/** The rows of one runtime in the reference's tables (contract 13.1). */
export interface MeerkatRows {
  readonly snapshot: Buffer | undefined;
  readonly lifecycle: Buffer | undefined;
  readonly ops: Buffer | undefined;
  readonly inputs: readonly { readonly inputId: string; readonly json: Buffer }[];
  readonly receipts: readonly { readonly runId: string; readonly sequence: bigint; readonly json: Buffer }[];
}

/** A row that cannot be imported or exported, and the reason. */
export interface RefusedRow {
  /** The name of the row for messages, without the runtime id. */
  readonly record: string;
  readonly reason: string;
}

/** Converts rows one by one, and collects those that cannot be converted. */
class Conversion {
  readonly refused: RefusedRow[] = [];
  isEmpty = true;

  /** Returns the converted row, or undefined when the row is missing or refused. */
  one<From, To>(record: string, from: From | undefined, convert: (from: From) => To): To | undefined {
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

  each<From, To>(all: readonly From[], record: (one: From) => string, convert: (one: From) => To): To[] {
    return all.flatMap((one) => this.one(record(one), one, convert) ?? []);
  }
}

/** The result of a conversion. */
export interface Taken<T> {
  /** The rows that could be converted. */
  readonly taken: T;
  readonly refused: readonly RefusedRow[];
  /** Whether no row could be converted. */
  readonly isEmpty: boolean;
}

/**
 * Converts rows of the reference for a store. Each row is read as the reference's loader reads it, and must contain the
 * ids of its key.
 */
export function fromMeerkat(runtimeId: RuntimeId, rows: MeerkatRows): Taken<RuntimeContents> {
  const conversion = new Conversion();
  const taken: RuntimeContents = {
    runtimeId,
    session: conversion.one("session snapshot", rows.snapshot, sessionFrom),
    lifecycle: conversion.one("machine lifecycle record", rows.lifecycle, lifecycleFrom),
    ops: conversion.one("operation snapshot", rows.ops, opsFrom),
    inputs: conversion.each(rows.inputs, ({ inputId }) => `input state ${inputId}`, inputFrom),
    receipts: conversion.each(rows.receipts, describeReceipt, receiptFrom),
  };
  return { taken, refused: conversion.refused, isEmpty: conversion.isEmpty };
}

/** Converts a runtime for the tables of the reference. */
export function toMeerkat(contents: RuntimeContents): Taken<MeerkatRows> {
  const conversion = new Conversion();
  const used = new Set<string>();
  const taken: MeerkatRows = {
    snapshot: conversion.one("session snapshot", contents.session, snapshotOf),
    lifecycle: conversion.one("machine lifecycle record", contents.lifecycle, lifecycleOf),
    ops: conversion.one("operation snapshot", contents.ops, bufferOf),
    inputs: conversion.each(
      contents.inputs,
      ({ inputId }) => `input state ${inputId}`,
      (state) => ({ inputId: state.inputId, json: writeInputState(state) }),
    ),
    receipts: conversion.each(contents.receipts, describeReceipt, (receipt) => {
      const { runId, sequence } = receipt;
      const key = `${runId} ${clamped(sequence)}`;
      if (used.has(key)) throw new Error("the reference keeps only one receipt of a run with a sequence above 2^63-2");
      used.add(key);
      return { runId, sequence: clamped(sequence), json: writeReceipt(receipt) };
    }),
  };
  return { taken, refused: conversion.refused, isEmpty: conversion.isEmpty };
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

function inputFrom({ inputId, json }: MeerkatRows["inputs"][number]): StoredInputState {
  const state = readInputState(json);
  if (state.inputId !== inputId) throw new Error(`expected the input id of its key, found ${state.inputId}`);
  if (!isValidSeed(state)) throw new Error("its phase, outcome, lane and attempt count are inconsistent");
  return state;
}

function receiptFrom({ runId, sequence, json }: MeerkatRows["receipts"][number]): RunBoundaryReceipt {
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
