import { isNoticeCleanup, isSystemContextAppend } from "./continuation.js";
import { incomingHistory, previousHistory, validateIncoming } from "./guarded-history.js";
import { checkPreserved } from "./preservation.js";
import { discontinuous, invalidRewrite, shrunk } from "./refusal.js";
import type { SessionDocument } from "./session-document.js";

/** Accepts a document that only adds to the previous one (section 8.2). The ids of the two are not compared. */
export function appendGuard(incoming: SessionDocument, previous: SessionDocument | undefined): void {
  validateIncoming(incoming);
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
  if (isContinuation(incoming, previous)) {
    checkPreserved(incoming, previous);
  } else if (transcript.length < previous.transcript.length) {
    throw shrunk(id, previous.transcript.length, transcript.length);
  } else {
    throw discontinuous(id, previous.transcript.digest(), transcript.digest());
  }
}

function isContinuation({ transcript: incoming }: SessionDocument, { transcript: previous }: SessionDocument): boolean {
  return (
    incoming.startsWith(previous) || isSystemContextAppend(incoming, previous) || isNoticeCleanup(incoming, previous)
  );
}
