import type { TranscriptRewriteCommit } from "@bolthole/contract";
import type { History } from "../history.js";
import type { SessionDocument } from "../session-document.js";
import { type Transcript, startsWith } from "../transcript.js";
import { appendGuard, isSystemContextAppend } from "./append-guard.js";
import { incomingHistory } from "./graph-validation.js";
import { GuardRefusalError, invalidRewrite } from "./refusal.js";
import { checkCommitBodies, checkCommitsRetained } from "./rewrite-guard.js";

/** Accepts an append, or a document whose audited rewrites lead to it from the previous document (contract 10.5). */
export function boundaryGuard(incoming: SessionDocument, previous: SessionDocument | undefined): void {
  try {
    appendGuard(incoming, previous);
  } catch (error) {
    if (!(error instanceof GuardRefusalError) || !previous) throw error;
    const history = incomingHistory(incoming);
    if (!history) throw error;
    checkCommitsRetained(incoming, previous, history);
    const revision = incoming.transcript.digest();
    const [first, ...rest] = findRewriteChain(history, previous.transcript, revision) ?? [];
    if (!first) throw error;
    checkFirstCommit(incoming, first, history);
    for (const commit of rest) checkCommitBodies(incoming.id, commit, history);
  }
}

function checkFirstCommit(
  { id, transcript }: SessionDocument,
  commit: TranscriptRewriteCommit,
  history: History,
): void {
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

/**
 * Returns the commits that lead from the previous transcript to the incoming one, with appends before, between and after
 * them (contract 10.5, the rewrite chain), or undefined if there is no such chain.
 */
function findRewriteChain(
  history: History,
  previous: Transcript,
  incomingRevision: string,
): readonly TranscriptRewriteCommit[] | undefined {
  const chain: TranscriptRewriteCommit[] = [];
  const visited = new Set<string>();
  for (let cursor = previous.digest(); cursor !== incomingRevision;) {
    if (visited.has(cursor)) return undefined;
    visited.add(cursor);
    const transcript = cursor === previous.digest() ? previous : history.body(cursor)?.transcript;
    if (!transcript) return undefined;
    const commit = nextCommit(history, transcript, cursor, incomingRevision);
    if (!commit) return isAppendTo(history, incomingRevision, transcript, cursor) ? chain : undefined;
    chain.push(commit);
    cursor = commit.revision;
  }
  return chain;
}

/** Returns the first commit of the list that the incoming revision descends from and whose parent is an append to the cursor. */
function nextCommit(
  history: History,
  transcript: Transcript,
  cursor: string,
  incomingRevision: string,
): TranscriptRewriteCommit | undefined {
  const checked = new Map<string, boolean>();
  const extendsCursor = (parent: string): boolean => {
    const isAppend = checked.get(parent) ?? isAppendTo(history, parent, transcript, cursor);
    checked.set(parent, isAppend);
    return isAppend;
  };
  return history.commits.find(
    ({ revision, parentRevision }) => history.descends(incomingRevision, revision) && extendsCursor(parentRevision),
  );
}

/** Whether a retained body is another transcript with messages appended at the end, or with another leading system text. */
function isAppendTo(history: History, revision: string, ancestor: Transcript, ancestorRevision: string): boolean {
  if (revision === ancestorRevision) return true;
  const body = history.body(revision)?.transcript;
  if (!body) return false;
  return (
    hasPrefixOfRevision(body, ancestor, ancestorRevision) ||
    isSystemContextAppend(body, ancestor) ||
    isSystemRefresh(body, ancestor)
  );
}

/**
 * Whether a body begins with the messages of a revision. `prefix` is the body of that name; if its digest is another one,
 * the name decides, as in the reference, which compares digests.
 */
function hasPrefixOfRevision(body: Transcript, prefix: Transcript, revision: string): boolean {
  if (prefix.length > body.length) return false;
  return prefix.digest() === revision ? startsWith(body, prefix) : body.digest(0, prefix.length) === revision;
}

/**
 * Whether both transcripts begin with a system message, of any text, and messages were appended at the end (contract 10.5,
 * step 5).
 */
function isSystemRefresh(incoming: Transcript, previous: Transcript): boolean {
  if (incoming.leadingSystemText() === undefined || previous.leadingSystemText() === undefined) return false;
  return incoming.equals(1, previous, 1, previous.length - 1);
}
