import type { TranscriptRewriteCommit } from "@bolthole/contract";
import { isSystemContextAppend, isSystemRefresh } from "./continuation.js";
import type { History } from "./history.js";
import type { Transcript } from "./transcript.js";

/**
 * The commits that lead from the previous transcript to the incoming one, with appends before, between and after them
 * (section 8.4, step 5). Undefined: there is no such chain.
 */
export function findRewriteChain(
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

/** The first commit in the order of the list that the incoming revision descends from and that goes on from the cursor. */
function nextCommit(
  history: History,
  transcript: Transcript,
  cursor: string,
  incomingRevision: string,
): TranscriptRewriteCommit | undefined {
  const known = new Map<string, boolean>();
  const goesOn = (parent: string): boolean => {
    const answer = known.get(parent) ?? isAppendTo(history, parent, transcript, cursor);
    known.set(parent, answer);
    return answer;
  };
  return history.commits.find(
    ({ revision, parentRevision }) => history.descends(incomingRevision, revision) && goesOn(parentRevision),
  );
}

/** Whether a retained body goes on from another transcript by messages at its end, or in its leading system text. */
function isAppendTo(history: History, revision: string, ancestor: Transcript, ancestorRevision: string): boolean {
  if (revision === ancestorRevision) return true;
  const body = history.body(revision)?.transcript;
  if (!body) return false;
  return (
    body.hasPrefix(ancestor, ancestorRevision) ||
    isSystemContextAppend(body, ancestor) ||
    isSystemRefresh(body, ancestor)
  );
}
