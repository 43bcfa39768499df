import type { TranscriptRewriteCommit } from "@bolthole/contract";
import { debugText } from "./debug-text.js";
import type { History } from "./history.js";
import { type Refused, invalidRewrite } from "./refusal.js";
import { replacedSpan } from "./replaced-span.js";

/** Whether a graph proves one commit: it holds it, and the two bodies that it names bear it out (section 8.6). */
export function checkCommitBodies(id: string, commit: TranscriptRewriteCommit, history: History): void {
  const refuse = (reason: string): Refused => invalidRewrite(id, reason);
  const { parentRevision, revision, selection } = commit;
  if (!history.holds(commit)) throw refuse(unknownCommit(commit, history));
  const parentBody = history.body(parentRevision);
  if (!parentBody) throw refuse(`incoming rewrite omitted parent revision body ${parentRevision}`);
  const revisionBody = history.body(revision);
  if (!revisionBody) throw refuse(`incoming rewrite omitted new revision body ${revision}`);
  const before = parentBody.transcript;
  const after = revisionBody.transcript;
  if (commit.messagesBefore !== BigInt(before.length) || commit.messagesAfter !== BigInt(after.length)) {
    throw refuse(
      `commit message counts ${commit.messagesBefore} -> ${commit.messagesAfter} do not match persisted rewrite ` +
        `${before.length} -> ${after.length}`,
    );
  }
  if (before.digest() !== parentRevision) {
    throw refuse(`parent revision body digest ${before.digest()} does not match commit parent ${parentRevision}`);
  }
  const { start, end } = selection;
  if (start > end || end > BigInt(before.length)) {
    throw refuse(`commit selection ${start}..${end} is invalid for parent revision with ${before.length} messages`);
  }
  const original = before.digest(Number(start), Number(end));
  if (original !== commit.originalSpanDigest) {
    throw refuse(`original span digest ${original} does not match commit digest ${commit.originalSpanDigest}`);
  }
  if (after.digest() !== revision) {
    throw refuse(`new revision body digest ${after.digest()} does not match commit revision ${revision}`);
  }
  const span = replacedSpan(commit, before, after);
  if (!span) throw refuse("commit message counts cannot describe a replacement span");
  if (!span.isBeforeKept()) throw refuse("rewrite revision changed messages before the selected span");
  if (!span.isAfterKept()) throw refuse("rewrite revision changed messages after the selected span");
  const replacement = span.replacementDigest();
  if (replacement !== commit.replacementDigest) {
    throw refuse(`replacement span digest ${replacement} does not match commit digest ${commit.replacementDigest}`);
  }
}

function unknownCommit({ parentRevision, revision }: TranscriptRewriteCommit, { commits }: History): string {
  const pairs = commits.map((one) => `(${debugText(one.parentRevision)}, ${debugText(one.revision)})`);
  return (
    "incoming rewrite did not persist the rewrite commit in the transcript graph " +
    `(wanted ${parentRevision} -> ${revision}, graph commits: [${pairs.join(", ")}])`
  );
}
