import type { RuntimeId, VersionedStore } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import type { RuntimeDeletion } from "../commit/committer.js";
import type { ManifestCorrection } from "../commit/manifests.js";
import { repeatWhileStale } from "../commit/preparation.js";
import { ReadSet, isSameRow } from "../commit/row.js";
import { StaleBaseError } from "../engine.js";
import type { StoreContext } from "../store-context.js";
import { checkStoredRuntimeId } from "../validate.js";
import { type ReplacedRuntime, readReplaced } from "./stored-runtime.js";

type DeletionOperations = Pick<VersionedStore, "deleteRuntime">;

export function deletionOperations(context: StoreContext): DeletionOperations {
  return {
    async deleteRuntime(request) {
      const runtimeId = checkStoredRuntimeId(request.runtimeId, writeFailed);
      const { committer, sessions, damagedRuntimes } = context;
      const fingerprinted = { method: "DeleteRuntime", request, args: {} };
      const { engine, corrections } = damagedRuntimes;
      const deleteStored = async () => {
        const stored = await engine.view((view) => readReplaced(view, runtimeId));
        return corrections.run(stored.matchesManifest, (correction) =>
          committer.deleteRuntime(engine, fingerprinted, deletionOf(runtimeId, stored, correction)),
        );
      };
      const busy = () =>
        writeFailed("BUSY", "other writers changed the runtime during every attempt; try again", { runtimeId });
      const { version, replayed, deletedRuntime } = await committer.pendingDuring(request, () =>
        sessions.run(runtimeId, () => repeatWhileStale(deleteStored, busy)),
      );
      if (!replayed) damagedRuntimes.release(runtimeId);
      return { version, replayed, ...deletedRuntime };
    },
  };
}

/** Deletes all rows, unless the runtime was written to since they were read. This is the only place that deletes them. */
function deletionOf(
  runtimeId: RuntimeId,
  { manifest, singles, rows: rowSet }: ReplacedRuntime,
  correction: ManifestCorrection,
): RuntimeDeletion {
  const reads = new ReadSet();
  const manifestHandle = reads.add({ table: "runtimeManifest", runtimeId });
  const rows = singles.map(({ key }) => reads.add(key));
  return {
    runtimeId,
    reads,
    counts: { inputStates: rowSet.input.rows, receipts: rowSet.receipt.rows },
    decide: (current) => {
      if (!isSameRow(current.get(manifestHandle), manifest)) throw new StaleBaseError();
      return { rows, correction };
    },
  };
}
