import { list } from "../shapes/collection.js";
import { RAW_JSON, RAW_OBJECT, RawJson, VERBATIM_OBJECT } from "../shapes/raw-json.js";
import { BOOLEAN, FLOAT32, STRING, U64, enumeration, UUID } from "../shapes/scalar.js";
import { defaulted, nullable, omittedWhenEmpty, optional, optionalUnless, required, struct } from "../shapes/struct.js";
import { TIMESTAMP } from "../shapes/time.js";
import { opaqueUnion } from "../shapes/union.js";
import { CONTENT_BLOCK, RENDER_METADATA } from "./content.js";
import { NOTICE_BLOCK, NOTICE_KIND } from "./system-notice.js";

/** The durabilities of an input (contract 5.2). */
export const INPUT_DURABILITIES = ["durable", "ephemeral", "derived"] as const;
export type InputDurability = (typeof INPUT_DURABILITIES)[number];

/** The ways in which the runtime handles an input: in the queue, or by steering the current turn (contract 5.2). */
export const HANDLING_MODES = ["queue", "steer"] as const;
export type HandlingMode = (typeof HANDLING_MODES)[number];

const HANDLING_MODE = enumeration(HANDLING_MODES);

const ORIGIN = opaqueUnion("an input origin", "type", {
  operator: {},
  peer: {
    peerId: required("peer_id", STRING),
    displayIdentity: optional("display_identity", STRING),
    runtimeId: optional("runtime_id", STRING),
  },
  flow: { flowId: required("flow_id", STRING), stepIndex: required("step_index", U64) },
  system: {},
  external: { sourceName: required("source_name", STRING) },
});

const HEADER = struct("an input header", {
  id: required("id", UUID),
  timestamp: required("timestamp", TIMESTAMP),
  source: required("source", ORIGIN),
  durability: required("durability", enumeration(INPUT_DURABILITIES)),
  visibility: required(
    "visibility",
    struct("the visibility", {
      transcriptEligible: required("transcript_eligible", BOOLEAN),
      operatorEligible: required("operator_eligible", BOOLEAN),
    }),
  ),
  idempotencyKey: optional("idempotency_key", STRING),
  supersessionKey: optional("supersession_key", STRING),
  correlationId: optional("correlation_id", UUID),
});

const PEER_CONVENTION = opaqueUnion("a peer convention", "convention_type", {
  message: {},
  request: { requestId: required("request_id", STRING), intent: required("intent", STRING) },
  response_progress: {
    requestId: required("request_id", STRING),
    phase: required("phase", enumeration(["accepted", "in_progress", "partial_result"])),
  },
  response_terminal: {
    requestId: required("request_id", STRING),
    status: required("status", enumeration(["completed", "failed", "cancelled"])),
  },
});

const OPERATION_RESULT = struct("an operation result", {
  id: required("id", UUID),
  content: required("content", STRING),
  isError: required("is_error", BOOLEAN),
  durationMs: required("duration_ms", U64),
  tokensUsed: required("tokens_used", U64),
});

const OPERATION_EVENT = opaqueUnion("an operation event", "type", {
  started: { id: required("id", UUID), workKind: required("kind", enumeration(["tool_call", "shell_command"])) },
  progress: {
    id: required("id", UUID),
    message: required("message", STRING),
    percent: nullable("percent", FLOAT32),
  },
  completed: { id: required("id", UUID), result: required("result", OPERATION_RESULT) },
  failed: { id: required("id", UUID), error: required("error", STRING) },
  cancelled: { id: required("id", UUID) },
});

const RENDERABLE = opaqueUnion("renderable content", "type", {
  text: { text: required("text", STRING) },
  blocks: { blocks: required("blocks", list(CONTENT_BLOCK)) },
  json: { value: required("value", RAW_JSON) },
  system_notice: {
    noticeKind: required("kind", NOTICE_KIND),
    body: optional("body", STRING),
    blocks: omittedWhenEmpty("blocks", list(NOTICE_BLOCK)),
  },
  reference: { uri: required("uri", STRING), label: nullable("label", STRING) },
});

/** A message to append to the conversation. */
const CONVERSATION_APPEND = struct("a conversation append", {
  role: required("role", enumeration(["user", "assistant", "system_notice", "tool"])),
  content: required("content", RENDERABLE),
});

/** Content to append to the context of a turn. */
const CONTEXT_APPEND = struct("a context append", {
  key: required("key", STRING),
  content: required("content", RENDERABLE),
});

/** The tools that one turn may use. */
const TOOL_OVERLAY = struct("a tool overlay", {
  allowedTools: nullable("allowed_tools", list(STRING)),
  blockedTools: nullable("blocked_tools", list(STRING)),
  dispatchContext: optionalUnless(
    "dispatch_context",
    RAW_OBJECT,
    (value) => value instanceof RawJson && value.isEmptyObject(),
  ),
});

const header = required("header", HEADER);
const blocks = optional("blocks", list(CONTENT_BLOCK));
/** The store does not interpret this member and keeps it verbatim (contract 5.3). */
const turnMetadata = optional("turn_metadata", VERBATIM_OBJECT);

/**
 * The payload of an input (contract 5.3). The store does not interpret it, so it has no type in the model: an input row carries
 * it as JSON text.
 */
export const PERSISTED_INPUT = opaqueUnion(
  "an input",
  "input_type",
  {
    prompt: {
      header,
      text: required("text", STRING),
      blocks,
      typedTurnAppends: omittedWhenEmpty("typed_turn_appends", list(CONVERSATION_APPEND)),
      turnMetadata,
    },
    peer: {
      header,
      convention: optional("convention", PEER_CONVENTION),
      body: required("body", STRING),
      payload: optional("payload", RAW_JSON),
      blocks,
      handlingMode: optional("handling_mode", HANDLING_MODE),
    },
    flow_step: {
      header,
      stepId: required("step_id", STRING),
      instructions: required("instructions", STRING),
      blocks,
      turnMetadata,
    },
    external_event: {
      header,
      eventType: required("event_type", STRING),
      payload: required("payload", RAW_JSON),
      blocks,
      handlingMode: defaulted("handling_mode", HANDLING_MODE, "queue"),
      renderMetadata: optional("render_metadata", RENDER_METADATA),
    },
    continuation: {
      header,
      reason: required("reason", STRING),
      handlingMode: defaulted("handling_mode", HANDLING_MODE, "queue"),
      requestId: optional("request_id", STRING),
      toolOverlay: optional("flow_tool_overlay", TOOL_OVERLAY),
      contextAppend: optional("context_append", CONTEXT_APPEND),
      turnAppend: optional("turn_append", CONVERSATION_APPEND),
    },
    operation: {
      header,
      operationId: required("operation_id", UUID),
      event: required("event", OPERATION_EVENT),
    },
  },
  { system_generated: "continuation", projected: "operation" },
);
