import { adjacentUnion } from "./adjacent-union.js";
import { defaulted, optional, required } from "./field.js";
import { FREE_JSON } from "./free-json.js";
import { GENERATED_IMAGE } from "./generated-image.js";
import { STRING, enumeration } from "./scalar.js";
import { opaqueUnion } from "./union.js";

const PROVIDER_META = opaqueUnion("metadata of a provider", "provider", {
  anthropic: { signature: required("signature", STRING) },
  anthropic_redacted: { data: required("data", STRING) },
  anthropic_compaction: { content: required("content", STRING) },
  gemini: { thoughtSignature: required("thoughtSignature", STRING) },
  open_ai: {
    id: required("id", STRING),
    encryptedContent: optional("encrypted_content", STRING),
    phase: optional("phase", STRING),
  },
});

const text = required("text", STRING);
const name = required("name", STRING);
const meta = optional("meta", PROVIDER_META);

/** A block of what an assistant said or asked for (section 7.2). */
export const ASSISTANT_BLOCK = adjacentUnion("an assistant block", "block_type", "data", {
  text: { text, meta },
  tool_use: { id: required("id", STRING), name, args: required("args", FREE_JSON), meta },
  reasoning: { text: defaulted("text", STRING, ""), meta },
  transcript: { text, source: required("source", enumeration(["spoken"])), meta },
  server_tool_content: { id: optional("id", STRING), name, content: required("content", FREE_JSON), meta },
  image: GENERATED_IMAGE,
});
