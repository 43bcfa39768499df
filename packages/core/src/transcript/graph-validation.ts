import type { TranscriptRewriteCommit } from "@bolthole/contract";
import type { Body, History } from "./history.js";
import { MalformedHistory } from "./malformed-history.js";
import { replacedSpan } from "./replaced-span.js";

/** Whether a history is sound in itself (section 8.1); a `MalformedHistory` names the first fault. */
export function validateGraph(history: History): void {
  if (!history.body(history.head)) throw MalformedHistory.because(`missing transcript head body ${history.head}`);
  for (const { revision, transcript } of history.bodies) {
    const digest = transcript.digest();
    if (digest !== revision) {
      throw MalformedHistory.because(`transcript revision body ${revision} has digest ${digest}`);
    }
  }
  for (const commit of history.commits) {
    const parent = history.body(commit.parentRevision);
    if (!parent) throw MalformedHistory.because(`missing parent transcript body ${commit.parentRevision}`);
    const revision = history.body(commit.revision);
    if (!revision) throw MalformedHistory.because(`missing transcript revision body ${commit.revision}`);
    validateCommit(commit, parent, revision);
  }
  validateChain(history);
}

/** The bodies are known to have the digests that their names say. */
function validateCommit(commit: TranscriptRewriteCommit, parent: Body, revision: Body): void {
  if (commit.parentRevision === commit.revision) {
    throw new MalformedHistory(`transcript rewrite does not change transcript revision ${commit.revision}`);
  }
  const { start, end } = commit.selection;
  const before = parent.transcript;
  const after = revision.transcript;
  if (start > end || end > BigInt(before.length)) {
    throw new MalformedHistory(`invalid transcript rewrite range ${start}..${end} for ${before.length} messages`);
  }
  if (commit.messagesBefore !== BigInt(before.length) || commit.messagesAfter !== BigInt(after.length)) {
    throw MalformedHistory.because(
      `commit message counts ${commit.messagesBefore} -> ${commit.messagesAfter} do not match revision bodies ` +
        `${before.length} -> ${after.length}`,
    );
  }
  const original = before.digest(Number(start), Number(end));
  if (original !== commit.originalSpanDigest) {
    throw MalformedHistory.because(
      `original span digest ${original} does not match commit digest ${commit.originalSpanDigest}`,
    );
  }
  const span = replacedSpan(commit, before, after);
  if (!span) throw MalformedHistory.because("commit message counts cannot describe a replacement span");
  if (!span.isBeforeKept()) {
    throw MalformedHistory.because("rewrite revision changed messages before the selected span");
  }
  if (!span.isAfterKept()) throw MalformedHistory.because("rewrite revision changed messages after the selected span");
  const replacement = span.replacementDigest();
  if (replacement !== commit.replacementDigest) {
    throw MalformedHistory.because(
      `replacement span digest ${replacement} does not match commit digest ${commit.replacementDigest}`,
    );
  }
}

/** Each commit goes on from where the one before it led, or from an append to that; the head descends from the last one. */
function validateChain(history: History): void {
  let head = history.commits[0]?.parentRevision;
  if (head === undefined) return;
  for (const { parentRevision, revision } of history.commits) {
    if (parentRevision !== head && !extendsHead(history, parentRevision, head)) {
      throw MalformedHistory.because(`rewrite commit parent ${parentRevision} does not extend transcript head ${head}`);
    }
    head = revision;
  }
  if (!history.descends(history.head, head)) {
    throw MalformedHistory.because(`transcript head ${history.head} does not extend the rewrite chain`);
  }
}

function extendsHead(history: History, revision: string, head: string): boolean {
  const candidate = history.body(revision);
  const headBody = history.body(head);
  if (candidate?.parentRevision === head) return true;
  return candidate !== undefined && headBody !== undefined && candidate.transcript.startsWith(headBody.transcript);
}
