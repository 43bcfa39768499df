import { QUOTE } from "./ascii.js";
import { list } from "./collection.js";
import { CONTENT_BLOCK } from "./content-block.js";
import { RAW_JSON, type RawJson } from "./free-json.js";
import { BOOLEAN, STRING, enumeration } from "./scalar.js";
import { defaulted, omittedWhenEmpty, optional, required } from "./field.js";
import type { Shape } from "./shape.js";
import { struct } from "./struct.js";
import { skipValue } from "./skip.js";
import { TOOL_CONFIG, TOOL_DELTA_PHASE, TOOL_OPERATION } from "./tool-config.js";
import { type Tagged, opaqueUnion } from "./union.js";

export const NOTICE_KIND = enumeration([
  "generic",
  "comms",
  "external_event",
  "mcp_pending",
  "mcp",
  "background_job",
  "tool_scope",
  "tool_scope_warning",
  "auth_reauth_required",
]);
const DIRECTIONS = ["incoming", "outgoing", "internal"] as const;
const JOB_STATUSES = ["completed", "failed", "aborted", "cancelled", "retired", "terminated"] as const;

const PEER = struct("a peer", { id: required("id", STRING), displayName: optional("display_name", STRING) });

const KNOWN_BLOCK = opaqueUnion("a system notice block", "type", {
  comms: {
    commsKind: required("kind", STRING),
    direction: required("direction", enumeration(DIRECTIONS)),
    peer: optional("peer", PEER),
    requestId: optional("request_id", STRING),
    intent: optional("intent", STRING),
    status: optional("status", STRING),
    summary: optional("summary", STRING),
    payload: optional("payload", RAW_JSON),
    content: omittedWhenEmpty("content", list(CONTENT_BLOCK)),
  },
  external_event: {
    source: required("source", STRING),
    eventType: required("event_type", STRING),
    summary: optional("summary", STRING),
    body: optional("body", STRING),
    payload: optional("payload", RAW_JSON),
    content: omittedWhenEmpty("content", list(CONTENT_BLOCK)),
  },
  tool_config: { payload: required("payload", TOOL_CONFIG) },
  mcp: {
    serverId: optional("server_id", STRING),
    operation: optional("operation", TOOL_OPERATION),
    phase: optional("phase", TOOL_DELTA_PHASE),
    persisted: defaulted("persisted", BOOLEAN, false),
    detail: optional("detail", STRING),
    pendingSources: omittedWhenEmpty("pending_sources", list(STRING)),
  },
  background_job: {
    jobId: required("job_id", STRING),
    displayName: optional("display_name", STRING),
    status: required("status", enumeration(JOB_STATUSES)),
    detail: optional("detail", STRING),
  },
  auth: {
    state: required("state", STRING),
    binding: optional("binding", STRING),
    detail: optional("detail", STRING),
  },
  runtime_notice: {
    category: required("category", STRING),
    detail: optional("detail", STRING),
    payload: optional("payload", RAW_JSON),
  },
  unknown: { summary: optional("summary", STRING), payload: optional("payload", RAW_JSON) },
});

const BLOCK_TYPES: ReadonlySet<string> = new Set([
  "comms",
  "external_event",
  "tool_config",
  "mcp",
  "background_job",
  "auth",
  "runtime_notice",
  "unknown",
]);

/**
 * A block of a system notice (section 7.2). It is read from its normal form, so that of repeated members the last wins, and
 * one of an unheard-of type is kept whole inside an `unknown` block.
 */
export const NOTICE_BLOCK: Shape<Tagged> = {
  label: KNOWN_BLOCK.label,
  read(reader) {
    const whole = RAW_JSON.read(reader);
    const texts = textMembers(whole);
    const type = texts.get("type");
    if (type === undefined) throw reader.error("a system notice block without a type");
    if (BLOCK_TYPES.has(type)) return KNOWN_BLOCK.read(whole.toReader());
    const named = ["summary", "body", "detail"].find((name) => texts.has(name));
    const summary = named === undefined ? undefined : texts.get(named);
    return { kind: "unknown", summary, payload: whole } as Tagged;
  },
  write: (value, out) => {
    KNOWN_BLOCK.write(value, out);
  },
  // What stands as it would be written has every member once and in its place, so that the detour changes nothing.
  skipCanonical: (reader) => KNOWN_BLOCK.skipCanonical?.(reader) === true,
};

/** The members of an object that are texts; the others stand with undefined. */
function textMembers(value: RawJson): Map<string, string | undefined> {
  const members = new Map<string, string | undefined>();
  const reader = value.toReader();
  if (!value.isObject()) return members;
  reader.openObject();
  while (reader.nextMember(members.size === 0)) {
    const name = reader.tokenText();
    members.set(name, reader.peek() === QUOTE ? reader.readString() : undefined);
    if (members.get(name) === undefined) skipValue(reader);
  }
  return members;
}
