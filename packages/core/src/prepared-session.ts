import type { RuntimeId } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import type { Change, Committed, Edit } from "./commit/committer.js";
import type { Row } from "./engine.js";
import { type SnapshotFacts, decodeSnapshotFacts, encodeSnapshotFacts } from "./snapshot.js";
import { type StoreContext, decodeRow } from "./store-context.js";
import { crc32InTurns } from "./transcript/in-turns.js";

/** What is stored of a runtime's session while the next one is prepared. */
export interface StoredSession {
  readonly row: Row;
  readonly facts: SnapshotFacts;
}

/** The snapshot row is the first one of every change of a session. */
const SNAPSHOT_ROW = 0;
const ATTEMPTS = 8;

/** Another snapshot was stored meanwhile. */
export class Moved extends Error {}

/** A change of a session without what the request said beforehand. */
export type Prepared = Pick<Change, "rows" | "bytes" | "decide">;

/**
 * Prepares a session-writing change outside the writer and commits it bound to the snapshot that it was prepared over.
 * If another one is stored meanwhile, it is prepared again. Undefined: the caller's expectation was missed.
 */
export function commitOverSession(
  context: StoreContext,
  runtimeId: RuntimeId,
  request: Pick<Change, "method" | "mutation" | "args">,
  prepare: (stored: StoredSession | undefined) => Promise<Prepared | undefined>,
): Promise<Committed | undefined> {
  const inTurn = async (): Promise<Committed | undefined> => {
    const replayed = await context.committer.replayed(request);
    if (replayed) return replayed;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const stored = await storedSession(context, runtimeId);
      try {
        const prepared = await prepare(stored);
        if (!prepared) return undefined;
        const decide: Change["decide"] = (rows) => {
          if (rows[SNAPSHOT_ROW]?.sequence !== stored?.row.sequence) throw new Moved();
          return prepared.decide(rows);
        };
        return await context.committer.commit({ ...prepared, ...request, decide });
      } catch (error) {
        if (!(error instanceof Moved)) throw error;
      }
    }
    throw writeFailed("BUSY", "the session snapshot changed each time a commit over it was prepared", { runtimeId });
  };
  return context.committer.pendingDuring(request.mutation, () => context.sessions.run(runtimeId, inTurn));
}

export async function storedSession(context: StoreContext, runtimeId: RuntimeId): Promise<StoredSession | undefined> {
  const key = { table: "snapshot", runtimeId } as const;
  const row = await context.engine.view((view) => view.get(key));
  return row && { row, facts: decodeRow(key, row, decodeSnapshotFacts) };
}

/** Puts a document in the place of whatever is stored. */
export const snapshotEdit = async (document: Uint8Array, profile: SnapshotFacts["profile"]): Promise<Edit> => ({
  row: SNAPSHOT_ROW,
  value: encodeSnapshotFacts({ profile, length: document.length, crc32: await crc32InTurns(document) }),
  document: [document],
});
