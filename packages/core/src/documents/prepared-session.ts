import type { RuntimeId, SessionProfile } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import type { AnyMutation, Change, Committed, RowEdit } from "../commit/committer.js";
import type { Fingerprinted } from "../commit/fingerprint.js";
import { repeatWhileStale } from "../commit/preparation.js";
import { ReadSet, type RowHandle } from "../commit/read-set.js";
import { sequenceOf } from "../commit/version.js";
import { StaleBaseError, type StagedDocument } from "../engine.js";
import type { Incoming } from "./incoming.js";
import { encodeSnapshotFacts } from "./snapshot-facts.js";
import type { StoreContext } from "../store-context.js";
import type { TranscriptVerdict } from "../transcript/check.js";
import { type StoredSession, snapshotKey, storedSession } from "./stored-document.js";
import { invalid } from "../validate.js";

export interface CheckedDocument {
  readonly incoming: Incoming;
  readonly profile: SessionProfile;
  /** Absent: the profile asks for no check. */
  readonly finding?: TranscriptVerdict | undefined;
}

/** A document that was checked, and what goes with it. */
export interface Prepared {
  /** Undefined: the stored document is deleted. */
  readonly document: CheckedDocument | undefined;
  /** What the change does beside the document. */
  readonly beside?: Pick<Change<AnyMutation>, "reads" | "bytes" | "decide"> | undefined;
}

/**
 * Prepares a session-writing change outside the writer and commits it bound to the snapshot that it was prepared over.
 * If another one is stored meanwhile, it is prepared again. Undefined: the caller's expectation was missed.
 */
export function commitOverSession<R extends AnyMutation>(
  context: StoreContext,
  runtimeId: RuntimeId,
  request: Fingerprinted<R>,
  prepare: (stored: StoredSession | undefined) => Promise<Prepared | undefined>,
): Promise<Committed | undefined> {
  const inTurn = async (): Promise<Committed | undefined> => {
    const replayed = await context.committer.replayed(request);
    if (replayed) return replayed;
    return repeatWhileStale(
      async () => {
        const stored = await storedSession(context, runtimeId);
        const prepared = await prepare(stored);
        return prepared && commitPrepared(context, runtimeId, request, stored, prepared);
      },
      () =>
        writeFailed("BUSY", "other writers changed the session snapshot during every attempt; try again", {
          runtimeId,
        }),
    );
  };
  return context.committer.pendingDuring(request.request, () => context.sessions.run(runtimeId, inTurn));
}

async function commitPrepared<R extends AnyMutation>(
  context: StoreContext,
  runtimeId: RuntimeId,
  request: Fingerprinted<R>,
  stored: StoredSession | undefined,
  { document, beside }: Prepared,
): Promise<Committed | undefined> {
  const base = stored?.row.sequence;
  const staged = document && (await stage(context, runtimeId, base, document.incoming));
  let isTaken = false;
  try {
    const reads = beside?.reads ?? new ReadSet();
    const snapshot = reads.add(snapshotKey(runtimeId));
    const edit = snapshotEdit(snapshot, staged, document?.profile);
    const committed = await context.committer.commit({
      ...request,
      reads,
      bytes: (staged?.bytes ?? 0) + (beside?.bytes ?? 0),
      decide: (rows) => {
        if (rows.get(snapshot)?.sequence !== base) throw new StaleBaseError();
        const edits = beside ? beside.decide(rows) : [];
        return edits && [edit, ...edits];
      },
    });
    isTaken = committed !== undefined && !committed.replayed;
    if (committed && isTaken && document) {
      document.incoming.committed?.();
      const sequence = sequenceOf(context.engine.epoch, committed.version);
      if (document.finding && sequence !== undefined)
        context.transcripts.remember(runtimeId, sequence, document.finding);
    }
    return committed;
  } finally {
    if (staged && !isTaken) await context.engine.discard(staged);
  }
}

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
    `${String(staged.crc32)}, as the pieces have`,
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
