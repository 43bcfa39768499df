import type { Buffer } from "node:buffer";

import { list } from "../shapes/collection.js";
import { STRING, U64, enumeration, UUID } from "../shapes/scalar.js";
import { readDocument, writeDocument } from "../shapes/shape.js";
import { optional, required, struct } from "../shapes/struct.js";
import type { InputId, RunId } from "./ids.js";

/** The boundaries of a run at which changes are applied (contract 4.1). */
export const RUN_APPLY_BOUNDARIES = ["immediate", "run_start", "run_checkpoint"] as const;
export type RunApplyBoundary = (typeof RUN_APPLY_BOUNDARIES)[number];

/** The proof that a boundary of a run was applied. Its key is the runtime, the run and the sequence (contract 4.2). */
export interface RunBoundaryReceipt {
  readonly runId: RunId;
  readonly boundary: RunApplyBoundary;
  /** The inputs in the order of their contribution. */
  readonly contributingInputIds: readonly InputId[];
  readonly conversationDigest?: string | undefined;
  /** 0 to 2^64-1. */
  readonly messageCount: bigint;
  /** 0 to 2^64-1. */
  readonly sequence: bigint;
}

export const RUN_APPLY_BOUNDARY = enumeration(RUN_APPLY_BOUNDARIES);

export const RECEIPT = struct<RunBoundaryReceipt>("a receipt", {
  runId: required("run_id", UUID),
  boundary: required("boundary", RUN_APPLY_BOUNDARY),
  contributingInputIds: required("contributing_input_ids", list(UUID)),
  conversationDigest: optional("conversation_digest", STRING),
  messageCount: required("message_count", U64),
  sequence: required("sequence", U64),
});

/** Reads a receipt (contract 4.1). Throws a `JsonError` when the text is not one. */
export function readReceipt(source: Uint8Array | string): RunBoundaryReceipt {
  return readDocument(RECEIPT, source);
}

/** Returns the canonical JSON of a receipt. Throws a `JsonError` when a value is not allowed. */
export function writeReceipt(receipt: RunBoundaryReceipt): Buffer {
  return writeDocument(RECEIPT, receipt);
}
