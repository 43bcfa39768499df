import { list } from "../shapes/collection.js";
import { valueForm } from "../shapes/form.js";
import { RAW_JSON, type RawJson, canonicalByWriting } from "../shapes/raw-json.js";
import { BOOLEAN, STRING, U32, U64, enumeration } from "../shapes/scalar.js";
import type { Shape } from "../shapes/shape.js";
import { defaulted, hidden, omittedWhenEmpty, optional, required, struct } from "../shapes/struct.js";
import { type Tagged, opaqueUnion } from "../shapes/union.js";
import { QUOTE } from "../text/characters.js";
import { skipValue } from "../text/reader.js";
import { CONTENT_BLOCK } from "./content.js";

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

const TOOL_OPERATION = enumeration(["add", "remove", "reload"]);
const TOOL_DELTA_PHASE = enumeration(["pending", "applied", "draining", "forced", "failed"]);

interface ToolConfigStatus extends Tagged {
  readonly baseChanged?: boolean;
  readonly visibleChanged?: boolean;
  readonly revision?: bigint;
  readonly addedHiddenCount?: bigint;
  readonly removedHiddenCount?: bigint;
  readonly pendingSourceCount?: bigint;
  readonly error?: string;
  readonly phase?: string;
  readonly detail?: string;
}

const STATUS_INFO: Shape<ToolConfigStatus> = opaqueUnion("a tool configuration status", "kind", {
  boundary_applied: {
    baseChanged: required("base_changed", BOOLEAN),
    visibleChanged: required("visible_changed", BOOLEAN),
    revision: required("revision", U64),
  },
  deferred_catalog_delta: {
    addedHiddenCount: required("added_hidden_count", U64),
    removedHiddenCount: required("removed_hidden_count", U64),
    pendingSourceCount: required("pending_source_count", U64),
  },
  warning_failed_closed: { error: required("error", STRING) },
  external_tool_delta: {
    phase: required("phase", TOOL_DELTA_PHASE),
    detail: optional("detail", STRING),
  },
});

/** Computes the `status` text from `status_info`. The text in the document is ignored (contract 7.6). */
function statusText(status: ToolConfigStatus): string {
  switch (status.kind) {
    case "boundary_applied":
      return (
        `boundary_applied(base_changed=${status.baseChanged},visible_changed=${status.visibleChanged},` +
        `revision=${status.revision})`
      );
    case "deferred_catalog_delta":
      return (
        `deferred_catalog_delta(added_hidden=${status.addedHiddenCount},removed_hidden=${status.removedHiddenCount},` +
        `pending_sources=${status.pendingSourceCount})`
      );
    case "warning_failed_closed":
      return `warning_failed_closed(${status.error})`;
    default:
      return status.phase === "failed" && status.detail !== undefined
        ? `${status.phase}: ${status.detail}`
        : `${status.phase}`;
  }
}

/** A change of the tool configuration. */
const TOOL_CONFIG = canonicalByWriting(
  struct("a tool configuration change", {
    operation: required("operation", TOOL_OPERATION),
    target: required("target", STRING),
    _status: hidden(optional("status", STRING), {
      compute: (owner) => statusText((owner as { readonly statusInfo: ToolConfigStatus }).statusInfo),
    }),
    statusInfo: required("status_info", STATUS_INFO),
    persisted: required("persisted", BOOLEAN),
    appliedAtTurn: optional("applied_at_turn", U32),
    domain: optional("domain", enumeration(["tool_scope", "deferred_catalog"])),
    deferredCatalogDelta: optional(
      "deferred_catalog_delta",
      struct("a deferred catalog delta", {
        addedHiddenNames: omittedWhenEmpty("added_hidden_names", list(STRING)),
        removedHiddenNames: omittedWhenEmpty("removed_hidden_names", list(STRING)),
        pendingSources: omittedWhenEmpty("pending_sources", list(STRING)),
      }),
    ),
  }),
);

const DIRECTIONS = ["incoming", "outgoing", "internal"] as const;
const JOB_STATUSES = ["completed", "failed", "aborted", "cancelled", "retired", "terminated"] as const;

const PEER = struct("a peer", { id: required("id", STRING), displayName: optional("display_name", STRING) });

const KNOWN_BLOCKS = {
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
};

const KNOWN_BLOCK = opaqueUnion("a system notice block", "type", KNOWN_BLOCKS);
const KNOWN_TYPES: ReadonlySet<string> = new Set(Object.keys(KNOWN_BLOCKS));

/** A block of a type that is not known. */
const OTHER_BLOCK = valueForm(
  {
    title: "system notice block of another type",
    description: "Kept as a whole in the payload of an unknown block.",
    type: "object",
    properties: { type: { type: "string", not: { enum: Object.keys(KNOWN_BLOCKS) } } },
    required: ["type"],
  },
  { type: "another_type" },
);

/**
 * A block of a system notice (contract 7.6). The reference reads it from its canonical raw JSON: of repeated members the last
 * wins, and a block of an unknown type is kept as a whole inside an `unknown` block.
 */
export const NOTICE_BLOCK: Shape<Tagged> = {
  label: KNOWN_BLOCK.label,
  read(reader) {
    const whole = RAW_JSON.read(reader);
    const texts = stringMembers(whole);
    const type = texts.get("type");
    if (type === undefined) throw reader.error("expected a system notice block with a type");
    if (KNOWN_TYPES.has(type)) return KNOWN_BLOCK.read(whole.toReader());
    const named = ["summary", "body", "detail"].find((name) => texts.has(name));
    const summary = named === undefined ? undefined : texts.get(named);
    return { kind: "unknown", summary, payload: whole } as Tagged;
  },
  write: (value, out) => {
    KNOWN_BLOCK.write(value, out);
  },
  // A canonical block has no repeated members and a known type, so the way through raw JSON would not change it.
  skipCanonical: (reader) => KNOWN_BLOCK.skipCanonical?.(reader) === true,
  form: () => ({ kind: "choice", name: "SystemNoticeBlockOrOther", options: [KNOWN_BLOCK.form(), OTHER_BLOCK] }),
};

/** Returns the members of an object: the text of those that are strings, undefined for the others. */
function stringMembers(value: RawJson): Map<string, string | undefined> {
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
