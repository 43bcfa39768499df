import type { Engine, KeyOf, Row, RowKey, View, WriteBatch } from "../engine.js";
import { pagesOf } from "../engine.js";
import { STORE_MANIFEST_KEY, type TableDigest, runtimeManifestOf, storeManifestOf } from "./manifests.js";
import { checksumOf, compareKeys, damaged, isSameRow, isVerified, keyText } from "./row.js";

/*
 * Replacing or deleting a damaged row. A manifest holds the sum of the checksums with which its rows were written. The checksum
 * of a damaged row may itself be what was damaged, so it must not be subtracted unseen: the manifest would then differ from
 * valid rows, for ever. The checksum with which the row was counted is therefore found by comparing the manifest with all rows.
 */

/** The rows of a table that a manifest counts together. */
export type SharedKey = KeyOf<"input" | "receipt" | "outcome">;
export interface SharedRow {
  readonly key: SharedKey;
  readonly row: Row;
}

/** Thrown by a decision that replaces or deletes damaged rows whose counted checksums are not known yet. */
export class DamagedRowsError extends Error {
  override readonly name = "DamagedRowsError";

  constructor(readonly rows: readonly SharedRow[]) {
    super("damaged rows are replaced or deleted");
  }
}

/** The checksums with which the rows of one batch were counted, as far as they are known. */
export class CountedChecksums {
  private readonly known = new Map<string, { readonly row: Row; readonly checksum: number }>();

  /** Returns the checksum with which the stored row was counted, or undefined when it is damaged and was not examined. */
  of(key: RowKey, row: Row): number | undefined {
    if (isVerified(key, row)) return row.checksum;
    const found = this.known.get(keyText(key));
    return found && isSameRow(found.row, row) ? found.checksum : undefined;
  }

  add({ key, row }: SharedRow, checksum: number): void {
    this.known.set(keyText(key), { row, checksum });
  }
}

/** How often a batch is decided again because other damaged rows were found. Each time, all that are known are examined. */
const ATTEMPTS = 8;

/**
 * Commits a batch, and finds the counted checksums of the damaged rows that it replaces or deletes. Throws DAMAGED_RECORD when
 * one of them cannot be found, because other rows of the table are damaged or missing too.
 */
export async function commitOverDamage<T>(
  engine: Engine,
  counted: CountedChecksums,
  batch: WriteBatch<T>,
  unknown: (row: SharedRow) => number = refuseUnknown,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await engine.commit(batch);
    } catch (error) {
      if (!(error instanceof DamagedRowsError) || attempt === ATTEMPTS) throw error;
      for (const one of error.rows) {
        counted.add(one, (await engine.view((view) => countedChecksum(view, one))) ?? unknown(one));
      }
    }
  }
}

function refuseUnknown({ key }: SharedRow): never {
  throw damaged(
    key,
    "does not match its checksum, and cannot be replaced because other rows of its table are damaged or missing too: " +
      "delete or replace the runtime, or repair the store",
  );
}

/**
 * Returns the checksum with which a damaged row was counted: the stored one when its content was damaged, or the one of its
 * content when the checksum was damaged. When neither can be read, it is the rest of the sum, provided that every other row is
 * valid. Returns undefined when the manifest does not agree.
 */
async function countedChecksum(view: View, { key, row }: SharedRow): Promise<number | undefined> {
  const digest = await digestOf(view, key);
  let rows = 0;
  let others = 0;
  let areOthersValid = true;
  for await (const page of pagesOf(view, rangeOf(key))) {
    for (const entry of page) {
      rows += 1;
      if (compareKeys(entry.key, key) === 0) continue;
      others = (others + entry.row.checksum) >>> 0;
      areOthersValid &&= isVerified(entry.key, entry.row);
    }
  }
  if (rows !== digest.rows) return undefined;
  const rest = (digest.sum - others) >>> 0;
  const isKnown = rest === row.checksum || rest === checksumOf(key, row.sequence, row.value);
  return isKnown || (isUnreadable(row) && areOthersValid) ? rest : undefined;
}

/** Whether an engine could not read the record of a row, and returned a row that matches no checksum. */
const isUnreadable = ({ checksum }: Row): boolean => checksum < 0;

const rangeOf = (key: SharedKey) =>
  key.table === "outcome" ? ({ table: "outcome" } as const) : { table: key.table, runtimeId: key.runtimeId };

/** Returns the digest of the table of a row in the manifest that counts it. */
async function digestOf(view: View, key: SharedKey): Promise<TableDigest> {
  if (key.table === "outcome") {
    return storeManifestOf(await view.get(STORE_MANIFEST_KEY)).outcome;
  }
  const manifestKey = { table: "runtimeManifest", runtimeId: key.runtimeId } as const;
  return runtimeManifestOf(manifestKey, await view.get(manifestKey))[key.table];
}
