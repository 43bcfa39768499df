import type { RuntimeId, SessionProfile } from "@bolthole/contract";
import type { AnyMutation, Committed, Edits, Repeatable } from "../commit/committer.js";
import type { StoreContext } from "../store-context.js";
import type { TranscriptVerdict } from "../transcript/full-check.js";
import { type CheckedDocument, commitOverDocument } from "./document-commit.js";
import type { Incoming } from "./incoming.js";
import { type StoredSession, encodeSnapshotFacts, snapshotKey, storedSession } from "./snapshot-facts.js";

export interface CheckedSession {
  readonly incoming: Incoming;
  readonly profile: SessionProfile;
  /** Absent when the profile requires no check. */
  readonly verdict?: TranscriptVerdict | undefined;
}

/** A session change that was checked over the stored document. */
export interface Prepared {
  /** The new document. Undefined when the stored document is deleted. */
  readonly document: CheckedSession | undefined;
  /** The edits of the other rows of the change. */
  readonly otherEdits?: Edits | undefined;
}

/** Commits a session change by the rules of `commitOverDocument`, and keeps the index of its document. */
export function commitOverSession<R extends AnyMutation, P extends Prepared | undefined>(
  context: StoreContext,
  runtimeId: RuntimeId,
  request: Repeatable<R>,
  prepare: (stored: StoredSession | undefined) => Promise<P>,
): Promise<Committed | Extract<P, undefined>> {
  const target = { key: snapshotKey(runtimeId), queue: context.sessions, load: storedSession };
  return commitOverDocument(context, target, request, async (stored) => {
    const prepared = await prepare(stored);
    if (!prepared) return undefined;
    const { document, otherEdits } = prepared;
    return { document: document && checkedDocument(context, runtimeId, document), otherEdits };
  }) as Promise<Committed | Extract<P, undefined>>;
}

function checkedDocument(
  context: StoreContext,
  runtimeId: RuntimeId,
  { incoming, profile, verdict }: CheckedSession,
): CheckedDocument {
  return {
    incoming,
    valueOf: (staged) => encodeSnapshotFacts({ ...staged, profile }),
    committed: (sequence) => {
      if (verdict) context.transcripts.keepIndex(runtimeId, sequence, verdict);
    },
  };
}
