import type { Body, History } from "./history.js";
import { incomingHistory, previousHistory } from "./guarded-history.js";
import { invalidRewrite } from "./refusal.js";
import type { SessionDocument } from "./session-document.js";

/** After a plain append: what is retained of earlier revisions stays, and at most this append is added to it (section 8.3). */
export function checkPreserved(incoming: SessionDocument, previous: SessionDocument): void {
  const before = previousHistory(incoming, previous);
  const after = incomingHistory(incoming);
  const refuse = (what: string) => invalidRewrite(incoming.id, `incoming append-only save would ${what}`);
  if (!before) {
    if (!after) return;
    throw refuse("seed transcript history state outside the rewrite/audit path");
  }
  if (!after) throw refuse("erase retained transcript history state");
  if (before.commits.length !== after.commits.length || !after.startsWithCommitsOf(before)) {
    throw refuse("change retained transcript rewrite commits");
  }
  const added = after.bodies.length - before.bodies.length;
  const isPreserved = areBodiesPreserved(before, after);
  if (isPreserved && added === 0 && after.head === before.head) return;
  if (!isPreserved || added !== 1) throw refuse("change retained transcript revision graph");
  if (before.head !== previous.transcript.digest()) {
    throw invalidRewrite(incoming.id, "previous transcript history head does not match persisted message digest");
  }
  if (!isThisAppend(after.bodies[before.bodies.length], before, after, incoming.transcript.digest())) {
    throw refuse("add a transcript revision body that is not the current append");
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
      kept.transcript.startsWith(body.transcript)
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
