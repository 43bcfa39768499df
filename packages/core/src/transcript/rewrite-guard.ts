import type { TranscriptRewriteCommit } from "@bolthole/contract";
import { checkCommitsRetained } from "./boundary-guard.js";
import { checkCommitBodies } from "./commit-bodies.js";
import { incomingHistory, reading, validateIncoming } from "./guarded-history.js";
import { type Refused, invalidRewrite, revisionConflict } from "./refusal.js";
import type { SessionDocument } from "./session-document.js";

/** Accepts the document that one rewrite makes of the previous one, and nothing on top of it (section 8.5). */
export function rewriteGuard(
  incoming: SessionDocument,
  previous: SessionDocument | undefined,
  commit: TranscriptRewriteCommit,
): void {
  const { id } = incoming;
  const refuse = (reason: string): Refused => invalidRewrite(id, reason);
  validateIncoming(incoming);
  if (!previous) throw refuse("rewrite target has no previously persisted session");
  if (id !== previous.id) {
    throw refuse(`incoming session id ${id} differs from previous session id ${previous.id}`);
  }
  const previousRevision = reading(
    () => previous.revision(),
    (reason) => refuse(`previous transcript revision is malformed: ${reason}`),
  );
  if (previousRevision !== commit.parentRevision) throw revisionConflict(id, commit.parentRevision, previousRevision);
  const previousDigest = previous.transcript.digest();
  if (previousDigest !== commit.parentRevision) {
    throw refuse(
      `previous current transcript digest ${previousDigest} does not match commit parent ${commit.parentRevision}`,
    );
  }
  const revision = incoming.revision();
  if (revision !== commit.revision) {
    throw refuse(`incoming transcript revision ${revision} does not match commit revision ${commit.revision}`);
  }
  const digest = incoming.transcript.digest();
  if (digest !== commit.revision) {
    throw refuse(`incoming current transcript digest ${digest} does not match commit revision ${commit.revision}`);
  }
  const history = incomingHistory(incoming);
  if (!history) throw refuse("incoming rewrite did not persist a transcript revision graph");
  checkCommitsRetained(incoming, previous, history);
  checkCommitBodies(id, commit, history);
}
