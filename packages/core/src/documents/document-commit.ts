import type { RuntimeId } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import type { AnyMutation, Committed, Edits, Repeatable, RowEdit } from "../commit/committer.js";
import { type KeyedQueue, repeatWhileStale } from "../commit/preparation.js";
import { describeKey, sequenceOf, ReadSet } from "../commit/row.js";
import { type DocumentRowKey, StaleBaseError, type StagedDocument } from "../engine.js";
import type { StoreContext } from "../store-context.js";
import { invalid } from "../validate.js";
import type { Incoming } from "./incoming.js";
import type { StoredDocument } from "./stored-document.js";

/** A new document that was checked. */
export interface CheckedDocument {
  readonly incoming: Incoming;
  /** Returns the value of the row for the staged document. */
  readonly valueOf: (staged: StagedDocument) => Uint8Array;
  /** The value of the row, if the value is the document itself: then nothing is staged. */
  readonly inline?: Uint8Array | undefined;
  /** Whether the document may replace any other one, also one that was stored after its preparation. */
  readonly replacesAny?: boolean | undefined;
  /** Called with the commit sequence of the document. */
  readonly committed?: ((sequence: number) => void) | undefined;
}

/** A change of a document that was checked over the stored one. */
export interface Prepared {
  /** The new document. Undefined when the stored document is deleted. */
  readonly document: CheckedDocument | undefined;
  /** The edits of the other rows of the change. */
  readonly otherEdits?: Edits | undefined;
}

/** The row whose document a request changes. */
export interface DocumentTarget<Stored extends StoredDocument> {
  readonly key: DocumentRowKey;
  /** Runs the changes of one such document one after the other. */
  readonly queue: KeyedQueue;
  /** Returns the stored document. */
  readonly load: (context: StoreContext, runtimeId: RuntimeId) => Promise<Stored | undefined>;
}

/**
 * Prepares a change of a document outside the writer, and commits it bound to the document that it was prepared over. When
 * another one was stored in between, it is prepared again. Resolves with undefined when `prepare` does: then another document is
 * stored than the caller compares with, and nothing is written. Such a request is also refused when its fence token or its
 * expected versions do not hold.
 */
export function commitOverDocument<R extends AnyMutation, S extends StoredDocument, P extends Prepared | undefined>(
  context: StoreContext,
  { key, queue, load }: DocumentTarget<S>,
  request: Repeatable<R>,
  prepare: (stored: S | undefined) => Promise<P>,
): Promise<Committed | Extract<P, undefined>> {
  const { runtimeId } = key;
  const prepareAndCommit = async (): Promise<Committed | Extract<P, undefined>> => {
    const stored = await load(context, runtimeId);
    const prepared = await prepare(stored);
    if (prepared) return commitPrepared(context, key, request, stored, prepared);
    const replayed = await missed(context, key, request, stored);
    return replayed ?? (prepared as Extract<P, undefined>);
  };
  const busy = () => {
    const text = `other writers changed the ${describeKey(key)} during every attempt; try again`;
    return writeFailed("BUSY", text, { runtimeId });
  };
  return context.committer.pendingDuring(request.request, () =>
    queue.run(
      runtimeId,
      async () => (await context.committer.replayed(request)) ?? repeatWhileStale(prepareAndCommit, busy),
    ),
  );
}

async function commitPrepared<R extends AnyMutation>(
  context: StoreContext,
  key: DocumentRowKey,
  request: Repeatable<R>,
  stored: StoredDocument | undefined,
  { document, otherEdits }: Prepared,
): Promise<Committed> {
  const base = stored?.row.sequence;
  const inline = document?.inline;
  const staged = document && !inline ? await stage(context, key, base, document.incoming) : undefined;
  let isCommitted = false;
  try {
    const reads = otherEdits?.reads ?? new ReadSet();
    const handle = reads.add(key);
    const value = staged ? document?.valueOf(staged) : inline;
    const edit: RowEdit = { handle, value, document: staged };
    const committed = await context.committer.commit({
      ...request,
      reads,
      bytes: (staged?.bytes ?? inline?.length ?? 0) + (otherEdits?.bytes ?? 0),
      rowSet: otherEdits?.rowSet,
      decide: (rows) => {
        if (!document?.replacesAny && rows.get(handle)?.sequence !== base) throw new StaleBaseError();
        return otherEdits ? [edit, ...otherEdits.decide(rows)] : [edit];
      },
    });
    isCommitted = !committed.replayed;
    if (isCommitted && document) {
      document.incoming.committed?.();
      const sequence = sequenceOf(context.engine.epoch, committed.version);
      if (sequence !== undefined) document.committed?.(sequence);
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
  key: DocumentRowKey,
  request: Repeatable<R>,
  stored: StoredDocument | undefined,
): Promise<Committed | undefined> {
  const reads = new ReadSet();
  const handle = reads.add(key);
  return context.committer.commitIfCurrent({
    ...request,
    reads,
    bytes: 0,
    decide: (rows) => {
      if (rows.get(handle)?.sequence !== stored?.row.sequence) throw new StaleBaseError();
      return undefined;
    },
  });
}

/** Stages a document, and compares its checksum with the sender's. */
async function stage(
  context: StoreContext,
  key: DocumentRowKey,
  base: number | undefined,
  incoming: Incoming,
): Promise<StagedDocument> {
  const staged = await context.engine.stage(key, base, incoming.document);
  if (incoming.crc32 === undefined || incoming.crc32 === staged.crc32) return staged;
  await context.engine.discard(staged);
  throw crc32Refusal(key.runtimeId, staged.crc32, incoming.crc32);
}

/** Returns the error of a patch whose pieces have another checksum than its sender computed. */
export const crc32Refusal = (runtimeId: RuntimeId, actual: number, expected: number): Error =>
  invalid(
    (reason, text, subject) => writeFailed(reason, text, { runtimeId, ...subject }),
    "patch.result_crc32",
    `${String(actual)}, the checksum of the pieces`,
    String(expected),
  );
