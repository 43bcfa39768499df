import { list } from "./collection.js";
import { CONTENT_BLOCK } from "./content-block.js";
import { RAW_JSON, RAW_OBJECT, RawJson } from "./free-json.js";
import { STRING, enumeration } from "./scalar.js";
import { nullable, omittedWhenEmpty, optional, optionalUnless, required } from "./field.js";
import { struct } from "./struct.js";
import { NOTICE_BLOCK, NOTICE_KIND } from "./system-notice.js";
import { opaqueUnion } from "./union.js";

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

/** Something to append to a conversation. */
export const CONVERSATION_APPEND = struct("a conversation append", {
  role: required("role", enumeration(["user", "assistant", "system_notice", "tool"])),
  content: required("content", RENDERABLE),
});

/** Something to append to the context of a turn. */
export const CONTEXT_APPEND = struct("a context append", {
  key: required("key", STRING),
  content: required("content", RENDERABLE),
});

/** Which tools one turn may use. */
export const TOOL_OVERLAY = struct("a tool overlay", {
  allowedTools: nullable("allowed_tools", list(STRING)),
  blockedTools: nullable("blocked_tools", list(STRING)),
  dispatchContext: optionalUnless(
    "dispatch_context",
    RAW_OBJECT,
    (value) => value instanceof RawJson && value.isEmptyObject(),
  ),
});
