import { STRING, U64, enumeration } from "./scalar.js";
import { defaulted, flattened, required } from "./field.js";
import { struct } from "./struct.js";
import { opaqueUnion } from "./union.js";

const INLINE = { data: required("data", STRING) };

/** A block of text or media (section 7.2). */
export const CONTENT_BLOCK = opaqueUnion("a content block", "type", {
  text: { text: required("text", STRING) },
  image: {
    mediaType: required("media_type", STRING),
    data: flattened(
      opaqueUnion("image data", "source", { inline: INLINE, blob: { blobId: required("blob_id", STRING) } }),
    ),
  },
  video: {
    mediaType: required("media_type", STRING),
    durationMs: required("duration_ms", U64),
    data: flattened(opaqueUnion("video data", "source", { inline: INLINE })),
  },
});

const RENDER_CLASSES = [
  "user_prompt",
  "peer_message",
  "peer_request",
  "peer_response",
  "external_event",
  "flow_step",
  "continuation",
  "system_notice",
  "tool_scope_notice",
  "ops_progress",
] as const;

const RENDER_SALIENCES = ["background", "normal", "important", "urgent"] as const;

export const RENDER_METADATA = struct("render metadata", {
  class: required("class", enumeration(RENDER_CLASSES)),
  salience: defaulted("salience", enumeration(RENDER_SALIENCES), "normal"),
});
