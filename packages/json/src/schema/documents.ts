import { INPUT_STATE } from "../records/input-state.js";
import { LIFECYCLE_RECORD } from "../records/lifecycle.js";
import { MESSAGE } from "../records/message.js";
import { OPS_SNAPSHOT } from "../records/operations.js";
import { PERSISTED_INPUT } from "../records/persisted-input.js";
import { RECEIPT } from "../records/receipt.js";
import { SESSION } from "../records/session.js";
import { HISTORY, REWRITE_COMMIT } from "../records/transcript-history.js";
import type { JsonObject } from "../shapes/form.js";
import type { Shape } from "../shapes/shape.js";
import { SEED_RULES } from "./seed-rules.js";

/** A document that has a JSON Schema of its own. */
export interface SchemaDocument {
  /** The name of its files. */
  readonly name: string;
  readonly title: string;
  readonly description: string;
  /** The rules of this document that its schema lacks. docs/documents.md has those of all documents. */
  readonly comment: string;
  readonly shape: Shape<unknown>;
  /** Rules that a store checks in addition to the shape. */
  readonly rules?: readonly JsonObject[];
}

/** The documents that callers write, in the order of docs/documents.md. */
export const DOCUMENTS: readonly SchemaDocument[] = [
  {
    name: "session",
    title: "session document",
    description:
      "The document of a session snapshot with the profile SESSION. With the profile OPAQUE a snapshot is any " +
      "bytes, and has no schema.",
    comment:
      "This schema does not have the rules that compare a document with the stored one. It accepts any metadata: " +
      "transcript-history.schema.json describes the member session_transcript_history_state_v1.",
    shape: SESSION,
  },
  {
    name: "message",
    title: "message",
    description: "One message of a session document.",
    comment: "The store does not compare a tool result with its tool call.",
    shape: MESSAGE,
  },
  {
    name: "transcript-history",
    title: "transcript history",
    description:
      "The member session_transcript_history_state_v1 of a session's metadata, after a rewrite of the transcript.",
    comment:
      "This schema does not have the rules for digests, counts and the order of revisions. The store checks them " +
      "when a turn or a rewrite is committed.",
    shape: HISTORY,
  },
  {
    name: "rewrite-commit",
    title: "rewrite commit",
    description:
      "The audit record of one rewrite of a transcript: commit_json, or an element of the transcript history.",
    comment:
      "This schema does not have the rules for digests, counts and the selection. The store checks them when the " +
      "rewrite is committed.",
    shape: REWRITE_COMMIT,
  },
  {
    name: "input-row",
    title: "input row",
    description: "One row of the inputs of a runtime (state_json). Its payload is the member persisted_input.",
    comment:
      "This schema does not have one rule: the attempts of the reason max_attempts_exhausted are equal to " +
      "attempt_count. The store checks the rules in allOf when it writes a row.",
    shape: INPUT_STATE,
    rules: SEED_RULES,
  },
  {
    name: "input-payload",
    title: "input payload",
    description: "The payload of an input row (persisted_input_json), or the member persisted_input of a row as JSON.",
    comment:
      "The store does not interpret the payload, and does not compare the id in the header with that of the row.",
    shape: PERSISTED_INPUT,
  },
  {
    name: "receipt",
    title: "receipt",
    description: "The proof that a boundary of a run was applied (receipt_json).",
    comment:
      "The store also refuses a receipt whose run and sequence are stored already. It does not compare the " +
      "digest and the count with the session.",
    shape: RECEIPT,
  },
  {
    name: "lifecycle-record",
    title: "lifecycle record",
    description: "The state of a runtime and its owner (record_json).",
    comment: "The store interprets only the fence token of the binding.",
    shape: LIFECYCLE_RECORD,
  },
  {
    name: "operation-snapshot",
    title: "operation snapshot",
    description:
      "The registry of the background operations of a runtime (ops_json). Each write replaces it as a whole.",
    comment: "The store does not compare the maps and lists with each other.",
    shape: OPS_SNAPSHOT,
  },
];
