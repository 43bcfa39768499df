import type { SessionId, TranscriptRewriteCommit } from "@bolthole/contract";
import { JsonError } from "@bolthole/json";
import { boundaryGuard } from "./boundary-guard.js";
import { EqualSpans } from "./equal-spans.js";
import { endless } from "./guarded-history.js";
import { EndlessWalk } from "./malformed-history.js";
import { type Refusal, Refused } from "./refusal.js";
import { makeResumable, remember } from "./remember.js";
import type { SessionIndex } from "./remembered-session.js";
import type { ResumableSha256 } from "./resumable-sha256.js";
import { rewriteGuard } from "./rewrite-guard.js";
import { SessionDocument } from "./session-document.js";
import { type SessionText, wholeText } from "./session-text.js";
import type { CheckTools } from "./transcript.js";
import { TooMuchWork, WORK_PER_BYTE, WorkMeter, workLimit } from "./work-meter.js";

/** A document that wants to be stored, and what it must agree with. */
export interface TranscriptCheck {
  readonly incoming: Uint8Array;
  /** Absent: the document is only read. */
  readonly guard?: TranscriptGuard | undefined;
  /** True: what the check of the next document can use is kept. */
  readonly remembers?: boolean | undefined;
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
export type TranscriptVerdict =
  | { readonly kind: "unreadable"; readonly why: Unreadable }
  | { readonly kind: "unreadable previous"; readonly id: SessionId; readonly why: Unreadable }
  | { readonly kind: "refused"; readonly id: SessionId; readonly refusal: Refusal }
  | {
      readonly kind: "accepted";
      readonly id: SessionId;
      /** Only when that was asked for, and the document has a form that can be followed. */
      readonly remembered?: SessionIndex | undefined;
    };

/**
 * Checks a document by itself and against the stored one. Pure; it ends for every input, after work that its size bounds.
 * With a lower bound on the work it throws `TooMuchWork` where that does not do. `sha256` is for what is remembered.
 */
export function checkTranscript(
  { incoming, guard, remembers }: TranscriptCheck,
  { work = Infinity, sha256 }: { readonly work?: number; readonly sha256?: ResumableSha256 | undefined } = {},
): TranscriptVerdict {
  const limit = workLimit(incoming.length + (guard?.previous?.length ?? 0));
  const tools = { meter: new WorkMeter(Math.min(work, limit)), equalSpans: new EqualSpans() };
  const text = wholeText(incoming);
  const read = readOrReason(text, tools);
  if ("reason" in read) return { kind: "unreadable", why: read };
  const { id } = read;
  if (guard) {
    const previous = guard.previous && readOrReason(wholeText(guard.previous), tools);
    if (previous && "reason" in previous) return { kind: "unreadable previous", id, why: previous };
    try {
      runGuard(read, previous, guard.commit);
    } catch (error) {
      if (error instanceof TooMuchWork && work < limit) throw error;
      return { kind: "refused", id, refusal: refusalOf(id, error) };
    }
  }
  const remembered = remembers ? rememberOrNot(read, text, tools, guard ? sha256 : undefined) : undefined;
  return { kind: "accepted", id, remembered };
}

export function runGuard(
  incoming: SessionDocument,
  previous: SessionDocument | undefined,
  commit: TranscriptRewriteCommit | undefined,
): void {
  if (commit) rewriteGuard(incoming, previous, commit);
  else boundaryGuard(incoming, previous);
}

function rememberOrNot(
  document: SessionDocument,
  text: SessionText,
  tools: CheckTools,
  sha256: ResumableSha256 | undefined,
): SessionIndex | undefined {
  try {
    const { id, transcript } = document;
    const history = document.history();
    if (history && sha256) makeResumable(transcript, history, sha256);
    return remember({ id, transcript, history, text }, tools.equalSpans, undefined);
  } catch (error) {
    // A document that is only read may have a history that no guard would accept.
    if (error instanceof JsonError) return undefined;
    throw error;
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

function readOrReason(text: SessionText, tools: CheckTools): SessionDocument | Unreadable {
  try {
    return SessionDocument.read(text, tools);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return { path: error.path, reason: error.reason, isRule: error.isRule };
  }
}
