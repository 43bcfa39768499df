import type { RuntimeId, VersionedStore } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import type { RuntimeDeletion } from "../commit/committer.js";
import type { ManifestCorrection } from "../commit/manifests.js";
import { repeatWhileStale } from "../commit/preparation.js";
import { ReadSet } from "../commit/row.js";
import { isSameRow } from "../commit/runtime-replacement.js";
import { StaleBaseError } from "../engine.js";
import type { StoreContext } from "../store-context.js";
import { checkRuntimeId } from "../validate.js";
import { type StoredRuntime, matchesManifest, readRuntime } from "./stored-runtime.js";

type DeletionOperations = Pick<VersionedStore, "deleteRuntime">;

export function deletionOperations(context: StoreContext): DeletionOperations {
  return {
    async deleteRuntime(request) {
      const runtimeId = checkRuntimeId(request.runtimeId, context.limits);
      const { committer, sessions, damagedRuntimes } = context;
      const fingerprinted = { method: "DeleteRuntime", request, args: {} };
      const { engine, corrections } = damagedRuntimes;
      const deleteStored = async () => {
        const stored = await engine.view((view) => readRuntime(view, runtimeId));
        return corrections.run(matchesManifest(runtimeId, stored), (correction) =>
          committer.deleteRuntime(engine, fingerprinted, deletionOf(runtimeId, stored, correction)),
        );
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
      if (!isSameRow(current.get(manifestHandle), manifest)) throw new StaleBaseError();
      return { rows, correction };
    },
  };
}
