import { type RuntimeId, StoreError } from "@bolthole/contract";
import { type Engine, type Row, StaleBaseError, type View, pagesOf } from "../engine.js";
import type { RowEdit } from "./committer.js";
import {
  EMPTY_STORE_MANIFEST,
  type ManifestCorrection,
  NO_CORRECTION,
  STORE_MANIFEST_KEY,
  decodeStoreManifest,
  manifestCorrection,
  updateDigest,
} from "./manifests.js";
import { KeyedQueue } from "./preparation.js";
import type { ReadSet } from "./read-set.js";
import { decodeRow } from "./row.js";
import { WriteSet } from "./write-set.js";

/** A change of all rows of a runtime. */
export interface RuntimeReplacement {
  readonly runtimeId: RuntimeId;
  /** The manifest that was read with the rows. Throws `StaleBaseError` when another one is stored at the commit. */
  readonly manifest: Row | undefined;
  /** Whether the manifest is missing, is damaged, or does not match the rows. */
  readonly hasDamagedManifest: boolean;
  /** Every row that the edits name. */
  readonly reads: ReadSet;
  /** A write or a deletion of every row of the runtime. */
  readonly edits: readonly RowEdit[];
  /** About how many bytes of values the edits write. */
  readonly bytes: number;
}

/**
 * Replaces all rows of a runtime in one commit. Neither the old rows nor the old manifest are decoded, so that they may be
 * damaged. Afterwards the manifest counts the new rows, and the store manifest counts the new manifest.
 */
export class RuntimeReplacer {
  /** Two corrections of the store manifest at the same time would both correct the same difference. */
  private readonly corrections = new KeyedQueue();

  constructor(private readonly engine: Engine) {}

  async replace(replacement: RuntimeReplacement): Promise<void> {
    if (!replacement.hasDamagedManifest) return this.commit(replacement, NO_CORRECTION);
    return this.corrections.run("store manifest", async () =>
      this.commit(replacement, await this.engine.view(findCorrection)),
    );
  }

  private commit(
    { runtimeId, manifest, reads, edits, bytes }: RuntimeReplacement,
    correction: ManifestCorrection,
  ): Promise<void> {
    const runtime = reads.add({ table: "runtimeManifest", runtimeId });
    const store = reads.add(STORE_MANIFEST_KEY);
    return this.engine.commit({
      reads,
      bytes,
      decide: (rows, sequence) => {
        // A damaged sequence may be any number, also NaN.
        if (!Object.is(rows.get(runtime)?.sequence, manifest?.sequence)) throw new StaleBaseError();
        const writes = new WriteSet(rows, { store, runtime }, sequence, correction);
        for (const { handle, value, document } of edits) {
          if (value) writes.put(handle, value, document);
          else writes.delete(handle);
        }
        const freesSpace = edits.every(({ value }) => value === undefined);
        return { writes: writes.close(), result: undefined, freesSpace };
      },
    });
  }
}

/** The checksum of a row that cannot be read, or that an engine reports in the place of a missing manifest. */
const NO_CHECKSUM = -1;

/**
 * Compares the store manifest with all runtime manifests that are there. Returns no correction when damage elsewhere prevents
 * this: then the store manifest stays wrong, which `verify` reports.
 */
async function findCorrection(view: View): Promise<ManifestCorrection> {
  try {
    const row = await view.get(STORE_MANIFEST_KEY);
    const manifest = row ? decodeRow(STORE_MANIFEST_KEY, row, decodeStoreManifest) : EMPTY_STORE_MANIFEST;
    let found = EMPTY_STORE_MANIFEST.runtimeManifest;
    for await (const page of pagesOf(view, { table: "runtimeManifest" })) {
      for (const { key, row } of page) {
        const isMissing = row.checksum === NO_CHECKSUM && (await view.get(key)) === undefined;
        if (!isMissing) found = updateDigest(found, undefined, row);
      }
    }
    return manifestCorrection(manifest, found);
  } catch (error) {
    if (error instanceof StoreError && error.reason === "DAMAGED_RECORD") return NO_CORRECTION;
    throw error;
  }
}
