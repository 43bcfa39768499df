import type { TranscriptRewriteCommit } from "@bolthole/contract";
import { JsonError } from "@bolthole/json";
import { type Body, type History, HistoryCycleError, MalformedHistoryError } from "../history.js";
import type { SessionDocument } from "../session-document.js";
import { type Transcript, startsWith } from "../transcript.js";
import { type GuardRefusalError, invalidRewrite, malformedIncomingHistory } from "./refusal.js";

/**
 * Refuses an incoming document whose history contradicts itself (contract 10.2). As in the reference, the words "transcript
 * history state is malformed" occur twice in the text.
 */
export function validateIncomingHistory(incoming: SessionDocument): void {
  try {
    const history = readHistory(() => incoming.history(), MalformedHistoryError.because);
    if (history) validateGraph(history);
  } catch (error) {
    // A cycle ends the whole check and not only this guard: the reference would never return from it.
    if (!(error instanceof MalformedHistoryError) || error instanceof HistoryCycleError) throw error;
    throw malformedIncomingHistory(incoming.id, error.message);
  }
}

/** Returns the incoming document's history. A shape that cannot be read is a refusal. */
export const incomingHistory = (incoming: SessionDocument): History | undefined =>
  readHistory(
    () => incoming.history(),
    (reason) => malformedIncomingHistory(incoming.id, reason),
  );

/** Returns the previous document's history, which is not validated. The refusal names the incoming document. */
export const previousHistory = ({ id }: SessionDocument, previous: SessionDocument): History | undefined =>
  readHistory(
    () => previous.history(),
    (reason) => invalidRewrite(id, `previous transcript history state is malformed: ${reason}`),
  );

/** Calls `read`, and throws the refusal of the reason when the history has a shape that cannot be read. */
export function readHistory<T>(
  read: () => T,
  refusal: (reason: string) => GuardRefusalError | MalformedHistoryError,
): T {
  try {
    return read();
  } catch (error) {
    // The error's path counts from the history in the metadata. Its message has the path in the document, so it is not used.
    if (error instanceof JsonError) throw refusal(error.path === "" ? error.reason : `${error.path}: ${error.reason}`);
    throw error;
  }
}

/** Checks a history by itself. Throws a `MalformedHistoryError` that names the first fault, in the order of contract 10.2. */
function validateGraph(history: History): void {
  if (!history.body(history.head)) throw MalformedHistoryError.because(`missing transcript head body ${history.head}`);
  for (const { revision, transcript } of history.bodies) {
    const digest = transcript.digest();
    if (digest !== revision) {
      throw MalformedHistoryError.because(`transcript revision body ${revision} has digest ${digest}`);
    }
  }
  for (const commit of history.commits) {
    const parent = history.body(commit.parentRevision);
    if (!parent) throw MalformedHistoryError.because(`missing parent transcript body ${commit.parentRevision}`);
    const revision = history.body(commit.revision);
    if (!revision) throw MalformedHistoryError.because(`missing transcript revision body ${commit.revision}`);
    validateCommit(commit, parent, revision);
  }
  validateChain(history);
}

/** Checks a commit against its two bodies, whose digests are already known to be their names. */
function validateCommit(commit: TranscriptRewriteCommit, parent: Body, revision: Body): void {
  if (commit.parentRevision === commit.revision) {
    throw new MalformedHistoryError(`transcript rewrite does not change transcript revision ${commit.revision}`);
  }
  const { start, end } = commit.selection;
  const before = parent.transcript;
  const after = revision.transcript;
  if (start > end || end > BigInt(before.length)) {
    throw new MalformedHistoryError(`invalid transcript rewrite range ${start}..${end} for ${before.length} messages`);
  }
  if (commit.messagesBefore !== BigInt(before.length) || commit.messagesAfter !== BigInt(after.length)) {
    throw MalformedHistoryError.because(
      `commit message counts ${commit.messagesBefore} -> ${commit.messagesAfter} do not match revision bodies ` +
        `${before.length} -> ${after.length}`,
    );
  }
  const original = before.digest(Number(start), Number(end));
  if (original !== commit.originalSpanDigest) {
    throw MalformedHistoryError.because(
      `original span digest ${original} does not match commit digest ${commit.originalSpanDigest}`,
    );
  }
  const fault = replacementFault(commit, before, after);
  if (fault !== undefined) throw MalformedHistoryError.because(fault);
}

/**
 * Compares the messages of a rewritten transcript with a commit: those before and after the selection must be unchanged,
 * and the replacement must have the commit's digest. The commit's counts must be those of the transcripts, and its
 * selection must be inside the first one. Returns the reference's text for the first fault.
 */
export function replacementFault(
  { selection, replacementDigest }: TranscriptRewriteCommit,
  before: Transcript,
  after: Transcript,
): string | undefined {
  const start = Number(selection.start);
  const end = Number(selection.end);
  const replacementEnd = after.length - (before.length - end);
  if (replacementEnd < start) return "commit message counts cannot describe a replacement span";
  if (!after.equals(0, before, 0, start)) return "rewrite revision changed messages before the selected span";
  if (!after.equals(replacementEnd, before, end, before.length - end)) {
    return "rewrite revision changed messages after the selected span";
  }
  const digest = after.digest(start, replacementEnd);
  if (digest === replacementDigest) return undefined;
  return `replacement span digest ${digest} does not match commit digest ${replacementDigest}`;
}

/**
 * Checks that each commit continues the result of the commit before it, or an append to that result, and that the head
 * descends from the last commit.
 */
function validateChain(history: History): void {
  let head = history.commits[0]?.parentRevision;
  if (head === undefined) return;
  for (const { parentRevision, revision } of history.commits) {
    if (parentRevision !== head && !extendsHead(history, parentRevision, head)) {
      throw MalformedHistoryError.because(
        `rewrite commit parent ${parentRevision} does not extend transcript head ${head}`,
      );
    }
    head = revision;
  }
  if (!history.descends(history.head, head)) {
    throw MalformedHistoryError.because(`transcript head ${history.head} does not extend the rewrite chain`);
  }
}

function extendsHead(history: History, revision: string, head: string): boolean {
  const candidate = history.body(revision);
  const headBody = history.body(head);
  if (candidate?.parentRevision === head) return true;
  return candidate !== undefined && headBody !== undefined && startsWith(candidate.transcript, headBody.transcript);
}
