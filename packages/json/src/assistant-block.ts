import { adjacentUnion } from "./adjacent-union.js";
import { defaulted, optional, required } from "./field.js";
import { FREE_JSON } from "./free-json.js";
import { GENERATED_IMAGE } from "./generated-image.js";
import { enumeration } from "./scalar.js";
import { TEXT, type TextSlice } from "./text-slice.js";
import { opaqueUnion } from "./union.js";

const PROVIDER_META = opaqueUnion("metadata of a provider", "provider", {
  anthropic: { signature: required("signature", TEXT) },
  anthropic_redacted: { data: required("data", TEXT) },
  anthropic_compaction: { content: required("content", TEXT) },
  gemini: { thoughtSignature: required("thoughtSignature", TEXT) },
  open_ai: {
    id: required("id", TEXT),
    encryptedContent: optional("encrypted_content", TEXT),
    phase: optional("phase", TEXT),
  },
});

const text = required("text", TEXT);
const name = required("name", TEXT);
const meta = optional("meta", PROVIDER_META);

/** A block of what an assistant said or asked for (section 7.2). */
export const ASSISTANT_BLOCK = adjacentUnion("an assistant block", "block_type", "data", {
  text: { text, meta },
  tool_use: { id: required("id", TEXT), name, args: required("args", FREE_JSON), meta },
  reasoning: { text: defaulted<string | TextSlice>("text", TEXT, ""), meta },
  transcript: { text, source: required("source", enumeration(["spoken"])), meta },
  server_tool_content: { id: optional("id", TEXT), name, content: required("content", FREE_JSON), meta },
  image: GENERATED_IMAGE,
});
