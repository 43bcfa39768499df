import { list } from "../shapes/collection.js";
import { valueForm } from "../shapes/form.js";
import { RAW_JSON } from "../shapes/raw-json.js";
import { BOOLEAN, STRING, STRING_SLICE, type StringSlice, U32, U64, enumeration, UUID } from "../shapes/scalar.js";
import { type Shape, readDocument } from "../shapes/shape.js";
import { defaulted, nullable, omittedWhenEmpty, optional, required, struct } from "../shapes/struct.js";
import { TIMESTAMP } from "../shapes/time.js";
import { type Tagged, adjacentlyTagged, opaqueUnion } from "../shapes/union.js";
import { JsonError } from "../text/json-error.js";
import { RENDER_METADATA, STRING_OR_BLOCKS } from "./content.js";
import { NOTICE_BLOCK, NOTICE_KIND } from "./system-notice.js";

/** The time that a message without a time has in every computation (contract 7.8). */
const NO_TIME = "1970-01-01T00:00:00Z";

export const USAGE = struct("token usage", {
  inputTokens: required("input_tokens", U64),
  outputTokens: required("output_tokens", U64),
  cacheCreationTokens: nullable<bigint | undefined>("cache_creation_tokens", U64),
  cacheReadTokens: nullable<bigint | undefined>("cache_read_tokens", U64),
});

/** A string that is not empty. */
const PROMPT: Shape<string> = {
  ...STRING,
  label: "a string that is not empty",
  read(reader) {
    const text = STRING.read(reader);
    if (text === "") throw reader.error("prompt_text must not be empty", reader.tokenStart);
    return text;
  },
  write(value, out) {
    if (value === "") throw JsonError.at("prompt_text must not be empty");
    STRING.write(value, out);
  },
  skipCanonical: (reader) => reader.skipCanonicalString() && reader.tokenEnd > reader.tokenStart,
  form: () => valueForm({ type: "string", minLength: 1 }, "example"),
};

const REVISED_PROMPT = opaqueUnion("a revised prompt", "disposition", {
  not_requested: {},
  unsupported_by_backend: {},
  unchanged: {},
  revised: {
    text: required("text", struct("a prompt text", { content: required("content", PROMPT) })),
    source: required("source", enumeration(["provider", "meerkat_projection"])),
  },
});

const PROVIDER_IMAGE_META = opaqueUnion("image metadata of a provider", "provider", {
  not_emitted: {},
  open_ai: {
    targetModel: required("target_model", STRING_SLICE),
    responseId: optional("response_id", STRING_SLICE),
    imageGenerationCallId: optional("image_generation_call_id", STRING_SLICE),
  },
  gemini: {
    targetModel: required("target_model", STRING_SLICE),
    responseId: optional("response_id", STRING_SLICE),
    continuityRef: optional("continuity_ref", STRING_SLICE),
  },
});

/** The members of an image that an assistant generated (contract 7.5). */
const GENERATED_IMAGE = {
  imageId: required("image_id", UUID),
  blobRef: required(
    "blob_ref",
    struct("a blob reference", {
      blobId: required("blob_id", STRING_SLICE),
      mediaType: required("media_type", STRING_SLICE),
    }),
  ),
  mediaType: required("media_type", STRING_SLICE),
  width: required("width", U32),
  height: required("height", U32),
  revisedPrompt: required("revised_prompt", REVISED_PROMPT),
  meta: required("meta", PROVIDER_IMAGE_META),
} as const;

const PROVIDER_META = opaqueUnion("metadata of a provider", "provider", {
  anthropic: { signature: required("signature", STRING_SLICE) },
  anthropic_redacted: { data: required("data", STRING_SLICE) },
  anthropic_compaction: { content: required("content", STRING_SLICE) },
  gemini: { thoughtSignature: required("thoughtSignature", STRING_SLICE) },
  open_ai: {
    id: required("id", STRING_SLICE),
    encryptedContent: optional("encrypted_content", STRING_SLICE),
    phase: optional("phase", STRING_SLICE),
  },
});

const text = required("text", STRING_SLICE);
const name = required("name", STRING_SLICE);
const meta = optional("meta", PROVIDER_META);

/** A block of an assistant's message (contract 7.5). */
const ASSISTANT_BLOCK = adjacentlyTagged("an assistant block", "block_type", "data", {
  text: { text, meta },
  tool_use: { id: required("id", STRING_SLICE), name, args: required("args", RAW_JSON), meta },
  reasoning: { text: defaulted<string | StringSlice>("text", STRING_SLICE, ""), meta },
  transcript: { text, source: required("source", enumeration(["spoken"])), meta },
  server_tool_content: { id: optional("id", STRING_SLICE), name, content: required("content", RAW_JSON), meta },
  image: GENERATED_IMAGE,
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

/** One message of a transcript (contract 7.3). */
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

/** Reads one message (contract 7.3). Throws a `JsonError` when the text is not one. */
export function readMessage(source: Uint8Array): Tagged {
  return readDocument(MESSAGE, source);
}
