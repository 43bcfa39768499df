import type { TranscriptRewriteCommit } from "@bolthole/contract";
import { appendGuard } from "./append-guard.js";
import { checkCommitBodies } from "./commit-bodies.js";
import type { History } from "./history.js";
import { incomingHistory, previousHistory } from "./guarded-history.js";
import { Refused, invalidRewrite } from "./refusal.js";
import { findRewriteChain } from "./rewrite-chain.js";
import type { SessionDocument } from "./session-document.js";

/** Accepts an append, or a document whose audited rewrites lead on from the previous one (section 8.4). */
export function boundaryGuard(incoming: SessionDocument, previous: SessionDocument | undefined): void {
  try {
    appendGuard(incoming, previous);
  } catch (error) {
    if (!(error instanceof Refused) || !previous) throw error;
    const history = incomingHistory(incoming);
    if (!history) throw error;
    checkCommitsRetained(incoming, previous, history);
    const revision = incoming.transcript.digest();
    const [first, ...rest] = findRewriteChain(history, previous.transcript, revision) ?? [];
    if (!first) throw error;
    checkBridge(incoming, first, history);
    for (const commit of rest) checkCommitBodies(incoming.id, commit, history);
  }
}

/** The commits of the previous document come first among those of the incoming one. */
export function checkCommitsRetained(incoming: SessionDocument, previous: SessionDocument, history: History): void {
  const before = previousHistory(incoming, previous);
  if (!before || history.startsWithCommitsOf(before)) return;
  throw invalidRewrite(incoming.id, "incoming rewrite save would drop retained transcript rewrite commits");
}

function checkBridge({ id, transcript }: SessionDocument, commit: TranscriptRewriteCommit, history: History): void {
  checkCommitBodies(id, commit, history);
  const digest = transcript.digest();
  if (history.head !== digest) {
    throw invalidRewrite(
      id,
      `incoming transcript graph head ${history.head} does not match current message digest ${digest}`,
    );
  }
  if (!history.descends(digest, commit.revision)) {
    throw invalidRewrite(id, `incoming transcript head ${digest} does not extend rewrite revision ${commit.revision}`);
  }
}
