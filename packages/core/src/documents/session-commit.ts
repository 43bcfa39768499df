import type { RuntimeId, SessionProfile } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import type { AnyMutation, Committed, Edits, Repeatable, RowEdit } from "../commit/committer.js";
import { repeatWhileStale } from "../commit/preparation.js";
import { sequenceOf, ReadSet, type RowHandle } from "../commit/row.js";
import { StaleBaseError, type StagedDocument } from "../engine.js";
import type { StoreContext } from "../store-context.js";
import type { TranscriptVerdict } from "../transcript/full-check.js";
import { invalid } from "../validate.js";
import type { Incoming } from "./incoming.js";
import { type StoredSession, encodeSnapshotFacts, snapshotKey, storedSession } from "./stored-document.js";

export interface CheckedDocument {
  readonly incoming: Incoming;
  readonly profile: SessionProfile;
  /** Absent when the profile requires no check. */
  readonly verdict?: TranscriptVerdict | undefined;
}

/** A session change that was checked over the stored document. */
export interface Prepared {
  /** The new document. Undefined when the stored document is deleted. */
  readonly document: CheckedDocument | undefined;
  /** The edits of the other rows of the change. */
  readonly otherEdits?: Edits | undefined;
}

/**
 * Prepares a session change outside the writer, and commits it bound to the snapshot that it was prepared over. When another
 * snapshot was stored in between, it is prepared again. Resolves with undefined when `prepare` does: then another snapshot is
 * stored than the caller compares with, and nothing is written. Such a request is also refused when its fence token or its
 * expected versions do not hold.
 */
export function commitOverSession<R extends AnyMutation, P extends Prepared | undefined>(
  context: StoreContext,
  runtimeId: RuntimeId,
  request: Repeatable<R>,
  prepare: (stored: StoredSession | undefined) => Promise<P>,
): Promise<Committed | Extract<P, undefined>> {
  const prepareAndCommit = async (): Promise<Committed | Extract<P, undefined>> => {
    const stored = await storedSession(context, runtimeId);
    const prepared = await prepare(stored);
    if (prepared) return commitPrepared(context, runtimeId, request, stored, prepared);
    const replayed = await missed(context, runtimeId, request, stored);
    return replayed ?? (prepared as Extract<P, undefined>);
  };
  const busy = () =>
    writeFailed("BUSY", "other writers changed the session snapshot during every attempt; try again", { runtimeId });
  return context.committer.pendingDuring(request.request, () =>
    context.sessions.run(
      runtimeId,
      async () => (await context.committer.replayed(request)) ?? repeatWhileStale(prepareAndCommit, busy),
    ),
  );
}

async function commitPrepared<R extends AnyMutation>(
  context: StoreContext,
  runtimeId: RuntimeId,
  request: Repeatable<R>,
  stored: StoredSession | undefined,
  { document, otherEdits }: Prepared,
): Promise<Committed> {
  const base = stored?.row.sequence;
  const staged = document && (await stage(context, runtimeId, base, document.incoming));
  let isCommitted = false;
  try {
    const reads = otherEdits?.reads ?? new ReadSet();
    const snapshot = reads.add(snapshotKey(runtimeId));
    const edit = snapshotEdit(snapshot, staged, document?.profile);
    const committed = await context.committer.commit({
      ...request,
      reads,
      bytes: (staged?.bytes ?? 0) + (otherEdits?.bytes ?? 0),
      rowSet: otherEdits?.rowSet,
      decide: (rows) => {
        if (rows.get(snapshot)?.sequence !== base) throw new StaleBaseError();
        return otherEdits ? [edit, ...otherEdits.decide(rows)] : [edit];
      },
    });
    isCommitted = !committed.replayed;
    if (isCommitted && document) {
      document.incoming.committed?.();
      const sequence = sequenceOf(context.engine.epoch, committed.version);
      if (document.verdict && sequence !== undefined)
        context.transcripts.keepIndex(runtimeId, sequence, document.verdict);
    }
    return committed;
  } finally {
    if (staged && !isCommitted) await context.engine.discard(staged);
  }
}

/**
 * Checks the fence token and the expected versions of a request that misses. Returns the stored response when the request was
 * applied in the meantime.
 */
function missed<R extends AnyMutation>(
  context: StoreContext,
  runtimeId: RuntimeId,
  request: Repeatable<R>,
  stored: StoredSession | undefined,
): Promise<Committed | undefined> {
  const reads = new ReadSet();
  const snapshot = reads.add(snapshotKey(runtimeId));
  return context.committer.commitIfCurrent({
    ...request,
    reads,
    bytes: 0,
    decide: (rows) => {
      if (rows.get(snapshot)?.sequence !== stored?.row.sequence) throw new StaleBaseError();
      return undefined;
    },
  });
}

/** Stages a document, and compares its checksum with the sender's. */
async function stage(
  context: StoreContext,
  runtimeId: RuntimeId,
  base: number | undefined,
  incoming: Incoming,
): Promise<StagedDocument> {
  const staged = await context.engine.stage(runtimeId, base, incoming.document);
  if (incoming.crc32 === undefined || incoming.crc32 === staged.crc32) return staged;
  await context.engine.discard(staged);
  throw invalid(
    (reason, text, subject) => writeFailed(reason, text, { runtimeId, ...subject }),
    "patch.result_crc32",
    `${String(staged.crc32)}, the checksum of the pieces`,
    String(incoming.crc32),
  );
}

const snapshotEdit = (
  handle: RowHandle,
  staged: StagedDocument | undefined,
  profile: SessionProfile = "session",
): RowEdit =>
  staged
    ? { handle, value: encodeSnapshotFacts({ ...staged, profile }), document: staged }
    : { handle, value: undefined };
