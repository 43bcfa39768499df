import { HANDLING_MODES, INPUT_DURABILITIES } from "./model/index.js";
import { list } from "./collection.js";
import { CONTENT_BLOCK, RENDER_METADATA } from "./content-block.js";
import { CONTEXT_APPEND, CONVERSATION_APPEND, TOOL_OVERLAY } from "./conversation.js";
import { RAW_JSON, VERBATIM_OBJECT } from "./free-json.js";
import { BOOLEAN, FLOAT32, STRING, TIMESTAMP, U64, UUID, enumeration } from "./scalar.js";
import { defaulted, nullable, omittedWhenEmpty, optional, required } from "./field.js";
import { struct } from "./struct.js";
import { opaqueUnion } from "./union.js";

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

const header = required("header", HEADER);
const blocks = optional("blocks", list(CONTENT_BLOCK));
/** The runtime's own business: kept as it stands (section 14.21). */
const turnMetadata = optional("turn_metadata", VERBATIM_OBJECT);

/** The payload of an input (section 5.3). Nobody here looks into it, so it has no model of its own. */
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
