import { list } from "./collection.js";
import { BOOLEAN, STRING, U32, U64, enumeration } from "./scalar.js";
import { canonicalByWriting } from "./respelled.js";
import { hidden, omittedWhenEmpty, optional, required } from "./field.js";
import type { Shape } from "./shape.js";
import { struct } from "./struct.js";
import { type Tagged, opaqueUnion } from "./union.js";

export const TOOL_OPERATION = enumeration(["add", "remove", "reload"]);
export const TOOL_DELTA_PHASE = enumeration(["pending", "applied", "draining", "forced", "failed"]);

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

/** The `status` text follows from `status_info`; what stands in the document is not looked at (section 7.2). */
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

/** A change of the tool configuration, as a system notice carries it. */
export const TOOL_CONFIG = canonicalByWriting(
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
