import type { Buffer } from "node:buffer";

import { RUN_APPLY_BOUNDARIES, type RunBoundaryReceipt } from "./model/index.js";
import { list } from "./collection.js";
import { readDocument, writeDocument } from "./document.js";
import { STRING, U64, UUID, enumeration } from "./scalar.js";
import { optional, required } from "./field.js";
import { struct } from "./struct.js";

export const RUN_APPLY_BOUNDARY = enumeration(RUN_APPLY_BOUNDARIES);

/** Section 4. */
const RECEIPT = struct<RunBoundaryReceipt>("a receipt", {
  runId: required("run_id", UUID),
  boundary: required("boundary", RUN_APPLY_BOUNDARY),
  contributingInputIds: required("contributing_input_ids", list(UUID)),
  conversationDigest: optional("conversation_digest", STRING),
  messageCount: required("message_count", U64),
  sequence: required("sequence", U64),
});

export function readReceipt(source: Uint8Array | string): RunBoundaryReceipt {
  return readDocument(RECEIPT, source);
}

export function writeReceipt(receipt: RunBoundaryReceipt): Buffer {
  return writeDocument(RECEIPT, receipt);
}
