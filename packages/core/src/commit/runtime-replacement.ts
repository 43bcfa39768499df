import { type RuntimeId, StoreError } from "@bolthole/contract";
import { type Engine, type Row, type RowSetReplacement, StaleBaseError, type View, pagesOf } from "../engine.js";
import type { RowEdit } from "./committer.js";
import {
  EMPTY_STORE_MANIFEST,
  type ManifestCorrection,
  NO_CORRECTION,
  STORE_MANIFEST_KEY,
  manifestCorrection,
  storeManifestOf,
  updateDigest,
} from "./manifests.js";
import { KeyedQueue } from "./preparation.js";
import { type ReadSet, isSameRow, isVerified } from "./row.js";
import type { StoreTime } from "./store-time.js";
import { WriteSet } from "./write-set.js";

/*
 * Commits that write or delete every row of a runtime. They do not decode the old rows and the old manifest, so they succeed
 * even when these are damaged.
 */

/** A change of all rows of a runtime. */
export interface RuntimeReplacement {
  readonly runtimeId: RuntimeId;
  /** The manifest that was read with the rows. */
  readonly manifest: Row | undefined;
  readonly correction: ManifestCorrection;
  /** Every row that the edits name. */
  readonly reads: ReadSet;
  /** A write or a deletion of every row of the runtime, except those of a row set that is replaced as a whole. */
  readonly edits: readonly RowEdit[];
  readonly replaceRows: RowSetReplacement | undefined;
  /** About how many bytes of values the edits write. */
  readonly bytes: number;
}

/**
 * Replaces all rows of a runtime in one commit. Afterwards the runtime manifest counts the new rows. Throws `StaleBaseError` when
 * another manifest is stored than the one that was read.
 */
export function commitReplacement(
  engine: Engine,
  time: StoreTime,
  { runtimeId, manifest, correction, reads, edits, replaceRows, bytes }: RuntimeReplacement,
): Promise<void> {
  const runtime = reads.add({ table: "runtimeManifest", runtimeId });
  const store = reads.add(STORE_MANIFEST_KEY);
  return engine.commit({
    reads,
    bytes,
    decide: (rows, sequence) => {
      if (!isSameRow(rows.get(runtime), manifest)) throw new StaleBaseError();
      const writes = new WriteSet(rows, { store, runtime }, sequence);
      writes.replaceRuntime(correction);
      for (const { handle, value, document } of edits) {
        if (value) writes.put(handle, value, document);
        else writes.delete(handle);
      }
      if (replaceRows) writes.replaceRows(replaceRows);
      const freesSpace = !replaceRows?.rows && edits.every(({ value }) => value === undefined);
      return { writes: writes.close(time), replaceRows, result: undefined, freesSpace };
    },
  });
}

/**
 * Corrects the store manifest when a damaged runtime is deleted or replaced. There is one object for each store, because two
 * corrections at the same time would correct the same difference twice.
 */
export class ManifestCorrections {
  private readonly queue = new KeyedQueue();

  constructor(private readonly engine: Engine) {}

  /** Calls `commit` with the correction that a runtime needs: none when its manifest matches its rows. */
  async run<T>(manifestMatches: boolean, commit: (correction: ManifestCorrection) => Promise<T>): Promise<T> {
    if (manifestMatches) return commit(NO_CORRECTION);
    return this.queue.run("store manifest", async () => commit(await this.engine.view(findCorrection)));
  }
}

/**
 * Compares the store manifest with all runtime manifests that are there. Returns no correction when damage elsewhere prevents
 * this: then the store manifest stays wrong, which `verify` reports, and the runtime is deleted or replaced.
 */
async function findCorrection(view: View): Promise<ManifestCorrection> {
  try {
    const manifest = storeManifestOf(await view.get(STORE_MANIFEST_KEY));
    let found = EMPTY_STORE_MANIFEST.runtimeManifest;
    for await (const page of pagesOf(view, { table: "runtimeManifest" })) {
      for (const { key, row: stored } of page) {
        // A scan lists a runtime whose manifest is missing with an invalid row.
        const isThere = isVerified(key, stored) || (await view.get(key)) !== undefined;
        if (isThere) found = updateDigest(found, undefined, stored);
      }
    }
    return manifestCorrection(manifest, found);
  } catch (error) {
    if (error instanceof StoreError && error.reason === "DAMAGED_RECORD") return NO_CORRECTION;
    throw error;
  }
}
