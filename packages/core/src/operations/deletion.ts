import type { RuntimeId, VersionedStore } from "@bolthole/contract";
import { StoreError, writeFailed } from "@bolthole/contract";
import type { RuntimeDeletion } from "../commit/committer.js";
import {
  EMPTY_STORE_MANIFEST,
  type ManifestCorrection,
  NO_CORRECTION,
  STORE_MANIFEST_KEY,
  type TableDigest,
  decodeStoreManifest,
  manifestCorrection,
  updateDigest,
} from "../commit/manifests.js";
import { KeyedQueue, repeatWhileStale } from "../commit/preparation.js";
import { ReadSet, decodeRow, verifiedValue } from "../commit/row.js";
import { isSingle } from "../commit/row-set.js";
import {
  ROW_SPACE_RECORD,
  type Row,
  type RowEntry,
  StaleBaseError,
  type Table,
  type View,
  pagesOf,
} from "../engine.js";
import type { StoreContext } from "../store-context.js";
import { checkRuntimeId } from "../validate.js";
import { type StoredRuntime, countsExactly, rowsOf } from "./transfer.js";

type DeletionOperations = Pick<VersionedStore, "deleteRuntime">;

export function deletionOperations(context: StoreContext): DeletionOperations {
  /** Two deletions that correct the store manifest by the same difference would correct it twice. */
  const corrections = new KeyedQueue();
  return {
    async deleteRuntime(request) {
      const runtimeId = checkRuntimeId(request.runtimeId, context.limits);
      const { committer, sessions, damagedRuntimes } = context;
      const fingerprinted = { method: "DeleteRuntime", request, args: {} };
      const { engine } = damagedRuntimes;
      const deleteStored = async () => {
        const stored = await engine.view((view) => readRuntime(view, runtimeId));
        const commit = (correction: ManifestCorrection) =>
          committer.deleteRuntime(engine, fingerprinted, deletionOf(runtimeId, stored, correction));
        if (await isIntact(runtimeId, stored)) return commit(NO_CORRECTION);
        return corrections.run("store manifest", async () => commit(await engine.view(findCorrection)));
      };
      const busy = () =>
        writeFailed("BUSY", "other writers changed the runtime during every attempt; try again", { runtimeId });
      const { version, replayed, deleted } = await committer.pendingDuring(request, () =>
        sessions.run(runtimeId, () => repeatWhileStale(deleteStored, busy)),
      );
      if (!replayed) damagedRuntimes.release(runtimeId);
      return { version, replayed, ...deleted };
    },
  };
}

/** Reads all rows of a runtime and decodes none. When the engine cannot say where its row set is, there is nothing to read. */
async function readRuntime(view: View, runtimeId: RuntimeId): Promise<StoredRuntime> {
  const entries: RowEntry[] = [];
  try {
    for await (const page of rowsOf(view, runtimeId)) entries.push(...page);
  } catch (error) {
    if (!(error instanceof StoreError) || error.subject.record !== ROW_SPACE_RECORD) throw error;
  }
  return { manifest: await view.get({ table: "runtimeManifest", runtimeId }), entries };
}

/** Whether the manifest counts exactly the rows that are there. Then the store manifest is right about this runtime. */
async function isIntact(runtimeId: RuntimeId, { manifest, entries }: StoredRuntime): Promise<boolean> {
  if (!manifest) return entries.length === 0;
  const isManifestValid = isValid({ key: { table: "runtimeManifest", runtimeId }, row: manifest });
  return isManifestValid && countsExactly(manifest, entries);
}

function isValid({ key, row }: RowEntry): boolean {
  try {
    verifiedValue(key, row);
    return true;
  } catch {
    return false;
  }
}

/**
 * Compares the store manifest with all runtime manifests that are there. Returns no correction when damage elsewhere prevents
 * this: then the store manifest stays wrong, which `verify` reports, and the runtime is deleted.
 */
async function findCorrection(view: View): Promise<ManifestCorrection> {
  try {
    const row = await view.get(STORE_MANIFEST_KEY);
    const manifest = row ? decodeRow(STORE_MANIFEST_KEY, row, decodeStoreManifest) : EMPTY_STORE_MANIFEST;
    let found: TableDigest = { rows: 0, sum: 0 };
    for await (const page of pagesOf(view, { table: "runtimeManifest" })) {
      for (const entry of page) {
        // A scan lists a runtime whose manifest is missing with an invalid row.
        const isThere = isValid(entry) || (await view.get(entry.key)) !== undefined;
        if (isThere) found = updateDigest(found, undefined, entry.row);
      }
    }
    return manifestCorrection(manifest, found);
  } catch (error) {
    if (error instanceof StoreError && error.reason === "DAMAGED_RECORD") return NO_CORRECTION;
    throw error;
  }
}

/** Deletes all rows, unless the runtime was written to since. This is the only place that deletes them. */
function deletionOf(
  runtimeId: RuntimeId,
  { manifest, entries }: StoredRuntime,
  correction: ManifestCorrection,
): RuntimeDeletion {
  const reads = new ReadSet();
  const manifestHandle = reads.add({ table: "runtimeManifest", runtimeId });
  const rows = entries.flatMap(({ key }) => (isSingle(key) ? [reads.add(key)] : []));
  const count = (table: Table): number => entries.filter(({ key }) => key.table === table).length;
  return {
    runtimeId,
    reads,
    counts: { inputStates: count("input"), receipts: count("receipt") },
    decide: (current) => {
      // Every commit to a runtime writes its manifest, and none is possible while the manifest is damaged.
      if (!isSameRow(current.get(manifestHandle), manifest)) throw new StaleBaseError();
      return { rows, correction };
    },
  };
}

const isSameRow = (one: Row | undefined, other: Row | undefined): boolean =>
  one?.sequence === other?.sequence && one?.checksum === other?.checksum;
