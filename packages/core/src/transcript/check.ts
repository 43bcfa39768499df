import type { SessionId, TranscriptRewriteCommit } from "@bolthole/contract";
import { JsonError } from "@bolthole/contract/json";
import { boundaryGuard } from "./boundary-guard.js";
import { endless } from "./guarded-history.js";
import { EndlessWalk } from "./malformed-history.js";
import { type Refusal, Refused } from "./refusal.js";
import { rewriteGuard } from "./rewrite-guard.js";
import { SessionDocument } from "./session-document.js";
import { TooMuchWork, WORK_PER_BYTE, WorkMeter, workLimit } from "./work-meter.js";

/** A document that wants to be stored, and what it must agree with. */
export interface TranscriptCheck {
  readonly incoming: Uint8Array;
  /** Absent: the document is only read. */
  readonly guard?: TranscriptGuard | undefined;
}

export interface TranscriptGuard {
  /** Undefined: nothing is stored. */
  readonly previous: Uint8Array | undefined;
  /** Present: the document must be what this rewrite makes of the previous one. */
  readonly commit: TranscriptRewriteCommit | undefined;
}

/** Why a document cannot be read as a session. */
export interface Unreadable {
  readonly path: string;
  readonly reason: string;
  /** The reason is a fixed text of the contract. */
  readonly isRule: boolean;
}

/** What a check found: plain data, which can come from another thread. */
export type Finding =
  | { readonly kind: "unreadable"; readonly why: Unreadable }
  | { readonly kind: "unreadable previous"; readonly id: SessionId; readonly why: Unreadable }
  | { readonly kind: "refused"; readonly id: SessionId; readonly refusal: Refusal }
  | { readonly kind: "accepted"; readonly id: SessionId };

/**
 * Checks a document by itself and against the stored one. Pure; it ends for every input, after work that its size bounds.
 * With a lower bound on the work it throws `TooMuchWork` where that does not do.
 */
export function checkTranscript({ incoming, guard }: TranscriptCheck, work = Infinity): Finding {
  const limit = workLimit(incoming.length + (guard?.previous?.length ?? 0));
  const meter = new WorkMeter(Math.min(work, limit));
  const read = readOrReason(incoming, meter);
  if ("reason" in read) return { kind: "unreadable", why: read };
  const { id } = read;
  if (!guard) return { kind: "accepted", id };
  const previous = guard.previous && readOrReason(guard.previous, meter);
  if (previous && "reason" in previous) return { kind: "unreadable previous", id, why: previous };
  try {
    if (guard.commit) rewriteGuard(read, previous, guard.commit);
    else boundaryGuard(read, previous);
    return { kind: "accepted", id };
  } catch (error) {
    if (error instanceof TooMuchWork && work < limit) throw error;
    return { kind: "refused", id, refusal: refusalOf(id, error) };
  }
}

function refusalOf(id: SessionId, error: unknown): Refusal {
  if (error instanceof Refused) return error.refusal;
  if (error instanceof EndlessWalk) return endless(id, error).refusal;
  if (error instanceof TooMuchWork) {
    return endless(id, new Error(`checking it takes more than ${WORK_PER_BYTE} times the work of reading it`)).refusal;
  }
  throw error;
}

function readOrReason(bytes: Uint8Array, meter: WorkMeter): SessionDocument | Unreadable {
  try {
    return SessionDocument.read(bytes, meter);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return { path: error.path, reason: error.reason, isRule: error.isRule };
  }
}
