import { ASSISTANT_BLOCK } from "./assistant-block.js";
import { list } from "./collection.js";
import { RENDER_METADATA } from "./content-block.js";
import { readDocument } from "./document.js";
import { defaulted, nullable, omittedWhenEmpty, optional, required } from "./field.js";
import { RAW_JSON } from "./free-json.js";
import { BOOLEAN, TIMESTAMP, U64, enumeration } from "./scalar.js";
import { struct } from "./struct.js";
import { STRING_SLICE } from "./text-slice.js";
import { NOTICE_BLOCK, NOTICE_KIND } from "./system-notice.js";
import { STRING_OR_BLOCKS } from "./text-or-blocks.js";
import { type Tagged, opaqueUnion } from "./union.js";

/** What stands in for the time of a message that has none, in every computation (section 14.10). */
export const NO_TIME = "1970-01-01T00:00:00Z";

export const USAGE = struct("token usage", {
  inputTokens: required("input_tokens", U64),
  outputTokens: required("output_tokens", U64),
  cacheCreationTokens: nullable<bigint | undefined>("cache_creation_tokens", U64),
  cacheReadTokens: nullable<bigint | undefined>("cache_read_tokens", U64),
});

const TOOL_CALL = struct("a tool call", {
  id: required("id", STRING_SLICE),
  name: required("name", STRING_SLICE),
  args: required("args", RAW_JSON),
});

const TOOL_RESULT = struct("a tool result", {
  toolUseId: required("tool_use_id", STRING_SLICE),
  content: required("content", STRING_OR_BLOCKS),
  isError: defaulted("is_error", BOOLEAN, false),
});

const createdAt = defaulted("created_at", TIMESTAMP, NO_TIME);
const stopReason = required(
  "stop_reason",
  enumeration(["end_turn", "tool_use", "max_tokens", "stop_sequence", "content_filter", "cancelled"]),
);

/** One message of a transcript (section 7.2). */
export const MESSAGE = opaqueUnion("a message", "role", {
  user: {
    content: required("content", STRING_OR_BLOCKS),
    renderMetadata: optional("render_metadata", RENDER_METADATA),
    createdAt,
  },
  block_assistant: { blocks: required("blocks", list(ASSISTANT_BLOCK)), stopReason, createdAt },
  tool_results: { results: required("results", list(TOOL_RESULT)), createdAt },
  system: { content: required("content", STRING_SLICE), createdAt },
  system_notice: {
    noticeKind: required("kind", NOTICE_KIND),
    body: optional("body", STRING_SLICE),
    blocks: omittedWhenEmpty("blocks", list(NOTICE_BLOCK)),
    createdAt,
  },
  assistant: {
    content: required("content", STRING_SLICE),
    toolCalls: defaulted("tool_calls", list(TOOL_CALL), []),
    stopReason,
    usage: required("usage", USAGE),
    createdAt,
  },
});

/** One message by itself, of which only a few kinds are ever looked into. */
export function readMessage(source: Uint8Array): Tagged {
  return readDocument(MESSAGE, source);
}
