import type { TranscriptRewriteCommit } from "@bolthole/contract";
import type { History } from "../history.js";
import type { SessionDocument } from "../session-document.js";
import {
  incomingHistory,
  previousHistory,
  readHistory,
  replacementFault,
  validateIncomingHistory,
} from "./graph-validation.js";
import { type GuardRefusalError, invalidRewrite, revisionConflict } from "./refusal.js";

/** Accepts a document that is the result of one rewrite of the previous one, with nothing appended to it (contract 10.6). */
export function rewriteGuard(
  incoming: SessionDocument,
  previous: SessionDocument | undefined,
  commit: TranscriptRewriteCommit,
): void {
  const { id } = incoming;
  const refusal = (reason: string): GuardRefusalError => invalidRewrite(id, reason);
  validateIncomingHistory(incoming);
  if (!previous) throw refusal("rewrite target has no previously persisted session");
  if (id !== previous.id) {
    throw refusal(`incoming session id ${id} differs from previous session id ${previous.id}`);
  }
  const previousRevision = readHistory(
    () => previous.revision(),
    (reason) => refusal(`previous transcript revision is malformed: ${reason}`),
  );
  if (previousRevision !== commit.parentRevision) throw revisionConflict(id, commit.parentRevision, previousRevision);
  const previousDigest = previous.transcript.digest();
  if (previousDigest !== commit.parentRevision) {
    throw refusal(
      `previous current transcript digest ${previousDigest} does not match commit parent ${commit.parentRevision}`,
    );
  }
  const revision = incoming.revision();
  if (revision !== commit.revision) {
    throw refusal(`incoming transcript revision ${revision} does not match commit revision ${commit.revision}`);
  }
  const digest = incoming.transcript.digest();
  if (digest !== commit.revision) {
    throw refusal(`incoming current transcript digest ${digest} does not match commit revision ${commit.revision}`);
  }
  const history = incomingHistory(incoming);
  if (!history) throw refusal("incoming rewrite did not persist a transcript revision graph");
  checkCommitsRetained(incoming, previous, history);
  checkCommitBodies(id, commit, history);
}

/** Checks that the commits of the previous document come first among those of the incoming one. */
export function checkCommitsRetained(incoming: SessionDocument, previous: SessionDocument, history: History): void {
  const before = previousHistory(incoming, previous);
  if (!before || history.startsWithCommitsOf(before)) return;
  throw invalidRewrite(incoming.id, "incoming rewrite save would drop retained transcript rewrite commits");
}

/** Checks that a history proves one commit: it contains the commit, and both bodies agree with it (contract 10.7). */
export function checkCommitBodies(id: string, commit: TranscriptRewriteCommit, history: History): void {
  const refusal = (reason: string): GuardRefusalError => invalidRewrite(id, reason);
  const { parentRevision, revision, selection } = commit;
  if (!history.hasCommit(commit)) throw refusal(missingCommit(commit, history));
  const parentBody = history.body(parentRevision);
  if (!parentBody) throw refusal(`incoming rewrite omitted parent revision body ${parentRevision}`);
  const revisionBody = history.body(revision);
  if (!revisionBody) throw refusal(`incoming rewrite omitted new revision body ${revision}`);
  const before = parentBody.transcript;
  const after = revisionBody.transcript;
  if (commit.messagesBefore !== BigInt(before.length) || commit.messagesAfter !== BigInt(after.length)) {
    throw refusal(
      `commit message counts ${commit.messagesBefore} -> ${commit.messagesAfter} do not match persisted rewrite ` +
        `${before.length} -> ${after.length}`,
    );
  }
  if (before.digest() !== parentRevision) {
    throw refusal(`parent revision body digest ${before.digest()} does not match commit parent ${parentRevision}`);
  }
  const { start, end } = selection;
  if (start > end || end > BigInt(before.length)) {
    throw refusal(`commit selection ${start}..${end} is invalid for parent revision with ${before.length} messages`);
  }
  const original = before.digest(Number(start), Number(end));
  if (original !== commit.originalSpanDigest) {
    throw refusal(`original span digest ${original} does not match commit digest ${commit.originalSpanDigest}`);
  }
  if (after.digest() !== revision) {
    throw refusal(`new revision body digest ${after.digest()} does not match commit revision ${revision}`);
  }
  const fault = replacementFault(commit, before, after);
  if (fault !== undefined) throw refusal(fault);
}

function missingCommit({ parentRevision, revision }: TranscriptRewriteCommit, { commits }: History): string {
  const pairs = commits.map((one) => `(${rustDebugText(one.parentRevision)}, ${rustDebugText(one.revision)})`);
  return (
    "incoming rewrite did not persist the rewrite commit in the transcript graph " +
    `(wanted ${parentRevision} -> ${revision}, graph commits: [${pairs.join(", ")}])`
  );
}

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\0": "\\0",
};

/** Characters that Rust escapes: quotes, backslashes, controls, separators other than the space, combining and unassigned ones. */
const ESCAPED = /["\\]|(?! )[\p{C}\p{Z}\p{Grapheme_Extend}]/gu;

/** Returns a text as Rust's `{:?}` formats it, which a refusal text of the reference uses. */
function rustDebugText(text: string): string {
  const escaped = text.replace(
    ESCAPED,
    (character) => SHORT_ESCAPES[character] ?? `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
  return `"${escaped}"`;
}
