import type { Body, History } from "../history.js";
import type { SessionDocument } from "../session-document.js";
import { type Transcript, startsWith } from "../transcript.js";
import { incomingHistory, previousHistory, validateIncomingHistory } from "./graph-validation.js";
import { brokenContinuity, invalidRewrite, shrunkTranscript } from "./refusal.js";

/** Accepts a document that only adds to the previous one (contract 10.3). The ids of the two are not compared. */
export function appendGuard(incoming: SessionDocument, previous: SessionDocument | undefined): void {
  validateIncomingHistory(incoming);
  const { id, transcript } = incoming;
  const history = incomingHistory(incoming);
  if (history && history.head !== transcript.digest()) {
    throw invalidRewrite(
      id,
      `incoming transcript graph head ${history.head} does not match current message digest ${transcript.digest()}`,
    );
  }
  if (!previous) {
    if (!history) return;
    throw invalidRewrite(id, "incoming first save would seed transcript history state outside the rewrite/audit path");
  }
  if (previousHistory(incoming, previous) && !history) {
    throw invalidRewrite(id, "incoming save would erase retained transcript history state");
  }
  if (isContinuation(transcript, previous.transcript)) {
    checkHistoryPreserved(incoming, previous);
  } else if (transcript.length < previous.transcript.length) {
    throw shrunkTranscript(id, previous.transcript.length, transcript.length);
  } else {
    throw brokenContinuity(id, previous.transcript.digest(), transcript.digest());
  }
}

const isContinuation = (incoming: Transcript, previous: Transcript): boolean =>
  startsWith(incoming, previous) || isSystemContextAppend(incoming, previous) || isNoticeCleanup(incoming, previous);

/** The separator between two blocks of a system text, and the first words of a block that a runtime added. */
const CONTEXT_SEPARATOR = "\n\n---\n\n";
const CONTEXT_MARKER = "[Runtime System Context]";

/**
 * Whether runtime context was appended to the leading system text, or nothing, and messages were appended at the end
 * (contract 10.3 c).
 */
export function isSystemContextAppend(incoming: Transcript, previous: Transcript): boolean {
  const text = incoming.leadingSystemText();
  const previousText = previous.leadingSystemText();
  if (text === undefined || !isContextAppend(previousText, text)) return false;
  const skipped = previousText === undefined ? 0 : 1;
  return incoming.equals(1, previous, skipped, previous.length - skipped);
}

function isContextAppend(previous: string | undefined, incoming: string): boolean {
  if (previous === undefined) return incoming.startsWith(CONTEXT_MARKER);
  return incoming === previous || incoming.startsWith(previous + CONTEXT_SEPARATOR + CONTEXT_MARKER);
}

/** Whether transient notices were removed, and messages were appended at the end (contract 10.3 d). */
function isNoticeCleanup(incoming: Transcript, previous: Transcript): boolean {
  const notices = new Set(previous.transientNotices());
  if (notices.size === 0 || incoming.length < previous.length - notices.size) return false;
  let kept = 0;
  for (let index = 0; index < previous.length; index++) {
    if (notices.has(index)) continue;
    if (!incoming.equals(kept, previous, index, 1)) return false;
    kept += 1;
  }
  return true;
}

/** Checks that an append keeps what is retained of earlier revisions, and adds at most the revision of this append (contract 10.4). */
function checkHistoryPreserved(incoming: SessionDocument, previous: SessionDocument): void {
  const before = previousHistory(incoming, previous);
  const after = incomingHistory(incoming);
  const refusal = (reason: string): Error => invalidRewrite(incoming.id, `incoming append-only save would ${reason}`);
  if (!before) {
    if (!after) return;
    throw refusal("seed transcript history state outside the rewrite/audit path");
  }
  if (!after) throw refusal("erase retained transcript history state");
  if (before.commits.length !== after.commits.length || !after.startsWithCommitsOf(before)) {
    throw refusal("change retained transcript rewrite commits");
  }
  const added = after.bodies.length - before.bodies.length;
  const isPreserved = areBodiesPreserved(before, after);
  if (isPreserved && added === 0 && after.head === before.head) return;
  if (!isPreserved || added !== 1) throw refusal("change retained transcript revision graph");
  if (before.head !== previous.transcript.digest()) {
    throw invalidRewrite(incoming.id, "previous transcript history head does not match persisted message digest");
  }
  if (!isThisAppend(after.bodies[before.bodies.length], before, after, incoming.transcript.digest())) {
    throw refusal("add a transcript revision body that is not the current append");
  }
}

function areBodiesPreserved(before: History, after: History): boolean {
  if (after.bodies.length < before.bodies.length) return false;
  return before.bodies.every((body, index) => {
    const kept = after.bodies[index];
    return (
      kept !== undefined &&
      kept.revision === body.revision &&
      kept.parentRevision === body.parentRevision &&
      kept.createdAt.seconds === body.createdAt.seconds &&
      kept.createdAt.nanos === body.createdAt.nanos &&
      kept.transcript.length === body.transcript.length &&
      startsWith(kept.transcript, body.transcript)
    );
  });
}

function isThisAppend(added: Body | undefined, before: History, after: History, digest: string): boolean {
  return (
    added !== undefined &&
    after.head === digest &&
    added.revision === digest &&
    added.parentRevision === before.head &&
    added.transcript.digest() === digest
  );
}
