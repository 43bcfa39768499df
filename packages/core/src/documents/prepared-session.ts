import type { RuntimeId, SessionProfile } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import type { Change, Committed, RowEdit } from "../commit/committer";
import { sequenceOf } from "../commit/version";
import { StaleBaseError, type StagedDocument } from "../engine";
import type { Incoming } from "./incoming";
import { encodeSnapshotFacts } from "./snapshot-facts";
import type { StoreContext } from "../store-context";
import type { TranscriptVerdict } from "../transcript/full-check";
import { type StoredSession, snapshotKey, storedSession } from "./stored-document";
import { invalid } from "../validate";

/** The snapshot row is the first one of every change of a session. */
const SNAPSHOT_ROW = 0;
const ATTEMPTS = 8;

type Request = Pick<Change, "method" | "mutation" | "args" | "unchangedInputs">;

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
  /** What else the change does, in rows that follow the snapshot's. */
  readonly beside?: Pick<Change, "rows" | "bytes" | "decide"> | undefined;
}

/**
 * Prepares a session-writing change outside the writer and commits it bound to the snapshot that it was prepared over.
 * If another one is stored meanwhile, it is prepared again. Undefined: the caller's expectation was missed.
 */
export function commitOverSession(
  context: StoreContext,
  runtimeId: RuntimeId,
  request: Request,
  prepare: (stored: StoredSession | undefined) => Promise<Prepared | undefined>,
): Promise<Committed | undefined> {
  const inTurn = async (): Promise<Committed | undefined> => {
    const replayed = await context.committer.replayed(request);
    if (replayed) return replayed;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const stored = await storedSession(context, runtimeId);
      try {
        const prepared = await prepare(stored);
        return prepared && (await commitPrepared(context, runtimeId, request, stored, prepared));
      } catch (error) {
        if (!(error instanceof StaleBaseError)) throw error;
      }
    }
    throw writeFailed("BUSY", "the session snapshot changed each time a commit over it was prepared", { runtimeId });
  };
  return context.committer.pendingDuring(request.mutation, () => context.sessions.run(runtimeId, inTurn));
}

async function commitPrepared(
  context: StoreContext,
  runtimeId: RuntimeId,
  request: Request,
  stored: StoredSession | undefined,
  { document, beside }: Prepared,
): Promise<Committed | undefined> {
  const base = stored?.row.sequence;
  const staged = document && (await stage(context, runtimeId, base, document.incoming));
  let isTaken = false;
  try {
    const edit = snapshotEdit(staged, document?.profile);
    const committed = await context.committer.commit({
      ...request,
      rows: [snapshotKey(runtimeId), ...(beside?.rows ?? [])],
      bytes: (staged?.bytes ?? 0) + (beside?.bytes ?? 0),
      decide: ([snapshot, ...rows]) => {
        if (snapshot?.sequence !== base) throw new StaleBaseError();
        const edits = beside ? beside.decide(rows) : [];
        return edits && [edit, ...edits.map((one) => ({ ...one, row: one.row + 1 }))];
      },
    });
    isTaken = committed !== undefined && !committed.replayed;
    if (committed && isTaken && document) {
      document.incoming.committed?.();
      const sequence = sequenceOf(context.engine.epoch, committed.version);
      if (document.finding && sequence !== undefined)
        context.transcripts.keepIndex(runtimeId, sequence, document.finding);
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

const snapshotEdit = (staged: StagedDocument | undefined, profile: SessionProfile = "session"): RowEdit =>
  staged
    ? { row: SNAPSHOT_ROW, value: encodeSnapshotFacts({ ...staged, profile }), document: staged }
    : { row: SNAPSHOT_ROW, value: undefined };
