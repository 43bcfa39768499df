import { adjacentlyTagged } from "./adjacent-union.js";
import { defaulted, optional, required } from "./field.js";
import { RAW_JSON } from "./free-json.js";
import { GENERATED_IMAGE } from "./generated-image.js";
import { enumeration } from "./scalar.js";
import { STRING_SLICE, type StringSlice } from "./text-slice.js";
import { opaqueUnion } from "./union.js";

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

/** A block of what an assistant said or asked for (section 7.2). */
export const ASSISTANT_BLOCK = adjacentlyTagged("an assistant block", "block_type", "data", {
  text: { text, meta },
  tool_use: { id: required("id", STRING_SLICE), name, args: required("args", RAW_JSON), meta },
  reasoning: { text: defaulted<string | StringSlice>("text", STRING_SLICE, ""), meta },
  transcript: { text, source: required("source", enumeration(["spoken"])), meta },
  server_tool_content: { id: optional("id", STRING_SLICE), name, content: required("content", RAW_JSON), meta },
  image: GENERATED_IMAGE,
});
