import type { SessionId, TranscriptRewriteCommit } from "@bolthole/contract";
import { JsonError } from "@bolthole/json";
import { boundaryGuard } from "./guards/boundary-guard.js";
import { GuardRefusalError, type Refusal, malformedIncomingHistory } from "./guards/refusal.js";
import { rewriteGuard } from "./guards/rewrite-guard.js";
import { HistoryCycleError } from "./history.js";
import { type AcceptedDocument, EqualRanges, buildSessionIndex } from "./incremental/build-session-index.js";
import { completeText } from "./incremental/elided-text.js";
import type { ResumableSha256 } from "./incremental/resumable-sha256.js";
import type { SessionIndex } from "./incremental/session-index.js";
import { type SessionDocument, parseSession } from "./session-document.js";
import { type CheckContext, ParsedTranscript } from "./transcript.js";
import { WORK_PER_BYTE, WorkLimitError, WorkMeter, workLimit } from "./work-meter.js";

/** A document that is to be stored, and the document that it must agree with. */
export interface FullCheck {
  readonly incoming: Uint8Array;
  /** The document to compare with. Without it, the document must only be a session. */
  readonly guard?: TranscriptGuard | undefined;
  /** Whether to build the index that an incremental check of the next document needs. */
  readonly buildsIndex?: boolean | undefined;
}

export interface TranscriptGuard {
  /** The stored document. Undefined when nothing is stored. */
  readonly previous: Uint8Array | undefined;
  /** The rewrite of the previous document whose result the document must be, if it is one. */
  readonly commit: TranscriptRewriteCommit | undefined;
}

/** The reason why a document is not a session. */
export interface Unreadable {
  readonly path: string;
  readonly reason: string;
  /** The byte at which reading stopped. */
  readonly offset: number | undefined;
  /** Whether the reason is a fixed text of the contract. */
  readonly isRule: boolean;
}

/** The result of a check. Plain data, so that a worker thread can send it. */
export type TranscriptVerdict =
  | { readonly kind: "unreadable"; readonly why: Unreadable }
  | { readonly kind: "unreadable previous"; readonly id: SessionId; readonly why: Unreadable }
  | { readonly kind: "refused"; readonly id: SessionId; readonly refusal: Refusal }
  | {
      readonly kind: "accepted";
      readonly id: SessionId;
      /** The index of the document, if it was asked for and the document has a form that an index can describe. */
      readonly index?: SessionIndex | undefined;
    };

export interface FullCheckOptions {
  /** A limit on the work, in bytes, below the limit that follows from the sizes of the documents. */
  readonly work?: number | undefined;
  /** Makes the states for an index from which digests can be continued. */
  readonly sha256?: ResumableSha256 | undefined;
}

/**
 * Checks a document by itself and against the stored one. It ends for every input: the work is limited by the sizes of the
 * documents. Throws `WorkLimitError` when the check needs more than `work`.
 */
export function checkFully(
  { incoming, guard, buildsIndex }: FullCheck,
  { work = Infinity, sha256 }: FullCheckOptions = {},
): TranscriptVerdict {
  const limit = workLimit(incoming.length + (guard?.previous?.length ?? 0));
  const equalRanges = buildsIndex ? new EqualRanges() : undefined;
  const context = { meter: new WorkMeter(Math.min(work, limit)), equalRanges };
  const document = parse(incoming, context);
  if ("reason" in document) return { kind: "unreadable", why: document };
  const { id } = document;
  if (guard) {
    const previous = guard.previous && parse(guard.previous, context);
    if (previous && "reason" in previous) return { kind: "unreadable previous", id, why: previous };
    try {
      runGuard(document, previous, guard.commit);
    } catch (error) {
      if (error instanceof WorkLimitError && work < limit) throw error;
      return { kind: "refused", id, refusal: refusalOf(id, error) };
    }
  }
  if (!equalRanges) return { kind: "accepted", id };
  const text = completeText(incoming);
  return { kind: "accepted", id, index: indexOf({ document, text, equalRanges, sha256: guard && sha256 }) };
}

/** Throws the guard's refusal of a document: the rewrite guard's if there is a commit, else the boundary guard's. */
export function runGuard(
  incoming: SessionDocument,
  previous: SessionDocument | undefined,
  commit: TranscriptRewriteCommit | undefined,
): void {
  if (commit) rewriteGuard(incoming, previous, commit);
  else boundaryGuard(incoming, previous);
}

function indexOf(accepted: AcceptedDocument): SessionIndex | undefined {
  try {
    return buildSessionIndex(accepted);
  } catch (error) {
    // Without a guard, the document may have a history that no guard would accept.
    if (error instanceof JsonError) return undefined;
    throw error;
  }
}

function refusalOf(id: SessionId, error: unknown): Refusal {
  if (error instanceof GuardRefusalError) return error.refusal;
  if (error instanceof HistoryCycleError) return malformedIncomingHistory(id, error.message).refusal;
  if (error instanceof WorkLimitError) {
    const reason = `checking it takes more than ${WORK_PER_BYTE} times the work of reading it`;
    return malformedIncomingHistory(id, reason).refusal;
  }
  throw error;
}

function parse(bytes: Uint8Array, context: CheckContext): SessionDocument | Unreadable {
  try {
    return parseSession(bytes, undefined, {
      meter: context.meter,
      transcriptOf: (messages) => new ParsedTranscript(messages, context),
    });
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    const { path, reason, offset, isRule } = error;
    return { path, reason, offset, isRule };
  }
}
