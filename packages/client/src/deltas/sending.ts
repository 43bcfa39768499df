import { StoreError, type VersionedStore } from "@bolthole/contract";
import type { HeldDocuments } from "./held-documents.js";
import type { KnownInputs } from "./known-inputs.js";
import type { PatchLimits } from "./pieces.js";
import type { Unanswered } from "./unanswered.js";

/**
 * What a client has at hand to send less than it was given.
 *
 * A request that was refused has changed nothing, so what was refused for what this client took for known may be sent
 * whole under a request id of its own. A request with an unknown outcome is never followed by another one.
 *
 * A caller who brings the request id will repeat the request with it, perhaps from another process, and only the same
 * request gets the first answer. So it travels as it was given, whatever is held here; or, when the id is that of a
 * request whose outcome is unknown, as that one did. All that is sent for it carries the caller's id, which applies once.
 */
export interface Sending {
  readonly store: VersionedStore;
  readonly documents: HeldDocuments;
  readonly inputs: KnownInputs;
  readonly unanswered: Unanswered;
  readonly patchLimits: PatchLimits;
  /** Rows that one request may have. */
  readonly batchRows: number;
  /** A longer document is uploaded before the request that names it, in messages of this many bytes at most. */
  readonly uploadAbove: number;
}

/** Whether nothing was changed, for this reason or for what stands in such a field. */
export const isRefused = (error: unknown, reason: StoreError["reason"], record: RegExp): boolean =>
  error instanceof StoreError &&
  error.applied === "no" &&
  (error.reason === reason || record.test(error.subject.record ?? ""));
