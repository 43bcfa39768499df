import { required, optional } from "./field.js";
import { JsonError } from "./json-error.js";
import { STRING, U32, UUID, enumeration } from "./scalar.js";
import type { Shape } from "./shape.js";
import { struct } from "./struct.js";
import { STRING_SLICE } from "./text-slice.js";
import { opaqueUnion } from "./union.js";

/** A text that says something. */
const PROMPT: Shape<string> = {
  ...STRING,
  label: "a text that is not empty",
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
};

const REVISED_PROMPT = opaqueUnion("what became of a prompt", "disposition", {
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

/** The members of an image that an assistant made (sections 7.2 and 15.10). */
export const GENERATED_IMAGE = {
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
