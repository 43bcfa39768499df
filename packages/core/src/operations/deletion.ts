import type { RuntimeId, VersionedStore } from "@bolthole/contract";
import { StoreError, writeFailed } from "@bolthole/contract";
import type { RuntimeDeletion } from "../commit/committer.js";
import { deriveRuntimeManifest } from "../commit/external-rows.js";
import {
  EMPTY_STORE_MANIFEST,
  type ManifestCorrection,
  NO_CORRECTION,
  STORE_MANIFEST_KEY,
  type TableDigest,
  decodeStoreManifest,
  isCountedTable,
  manifestCorrection,
  updateDigest,
} from "../commit/manifests.js";
import { KeyedQueue, repeatWhileStale } from "../commit/preparation.js";
import { ReadSet } from "../commit/row.js";
import { decodeRow, verifiedValue } from "../commit/row.js";
import { type Row, type RowEntry, StaleBaseError, type View, pagesOf } from "../engine.js";
import type { StoreContext } from "../store-context.js";
import { checkRuntimeId } from "../validate.js";
import { type StoredRuntime, readRuntime } from "./transfer.js";

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
        if (isIntact(runtimeId, stored)) return commit(NO_CORRECTION);
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

/** Whether the manifest counts exactly the rows that are there. Then the store manifest is right about this runtime. */
function isIntact(runtimeId: RuntimeId, { manifest, entries }: StoredRuntime): boolean {
  if (!manifest) return entries.length === 0;
  if (!isValid({ key: { table: "runtimeManifest", runtimeId }, row: manifest })) return false;
  const counted = entries.flatMap(({ key: { table }, row }) => (isCountedTable(table) ? [{ table, row }] : []));
  return Buffer.compare(deriveRuntimeManifest(counted, manifest.value) ?? Buffer.of(), manifest.value) === 0;
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

/** Deletes all rows that were read, unless the runtime was written to since. This is the only place that deletes them. */
function deletionOf(
  runtimeId: RuntimeId,
  { manifest, entries }: StoredRuntime,
  correction: ManifestCorrection,
): RuntimeDeletion {
  const reads = new ReadSet();
  const manifestHandle = reads.add({ table: "runtimeManifest", runtimeId });
  const rows = entries.map(({ key }) => reads.add(key));
  return {
    reads,
    decide: (current) => {
      // Every commit to a runtime writes its manifest, and none is possible while the manifest is damaged.
      if (!isSameRow(current.get(manifestHandle), manifest)) throw new StaleBaseError();
      return { rows, correction };
    },
  };
}

const isSameRow = (one: Row | undefined, other: Row | undefined): boolean =>
  one?.sequence === other?.sequence && one?.checksum === other?.checksum;
