import type { Finding, RuntimeId } from "@bolthole/contract";
import {
  EMPTY_STORE_MANIFEST,
  NO_ROWS,
  type RuntimeManifest,
  STORE_MANIFEST_KEY,
  type StoreManifest,
  copyRuntimeManifest,
  decodeStoreManifest,
  encodeRuntimeManifest,
  encodeStoreManifest,
  isCountedTable,
  isEmptyRuntimeManifest,
  EMPTY_RUNTIME_MANIFEST,
  updateDigest,
} from "../commit/manifests.js";
import { ReadSet, isVerified, makeRow } from "../commit/row.js";
import { type Engine, type RowKey, type RowWrite, type View, pagesOf } from "../engine.js";
import { nextIteration } from "../yield-budget.js";
import { RuntimeAudit, difference } from "./store-audit.js";

/*
 * The repair of manifests. A manifest that is damaged, or that does not match the rows, is counted again from the rows that are
 * there. Rows are never changed. What a manifest could have shown, that a row vanished or is an old one, is lost with it: this is
 * why the store does not do it by itself, except when the manifest is unreadable and shows nothing any more.
 */

/** A repaired manifest. */
export interface Recount {
  /** Undefined for the store manifest. */
  readonly runtimeId: RuntimeId | undefined;
  /** What was wrong, and what was counted. */
  readonly differences: readonly string[];
}

export interface RepairOptions {
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  /** Whether nothing is written. */
  readonly dryRun: boolean;
  readonly onRecount: (recount: Recount) => void;
  /** Called for each record that is damaged and stays as it is. */
  readonly onFinding: (finding: Finding) => void;
}

/** Counts the manifests of a store again. No other writer may use the store. */
export async function repairManifests(engine: Engine, options: RepairOptions): Promise<void> {
  let after: Extract<RowKey, { table: "runtimeManifest" }> | undefined;
  for (;;) {
    const [entry] = await engine.view((view) => view.scan({ table: "runtimeManifest", after }, 1));
    if (!entry) break;
    after = entry.key;
    await repairRuntime(engine, entry.key.runtimeId, options);
    await nextIteration();
  }
  await repairStoreManifest(engine, options);
}

/** Counts the manifest of one runtime again if it is damaged, missing or does not match the rows. */
async function repairRuntime(engine: Engine, runtimeId: RuntimeId, options: RepairOptions): Promise<void> {
  const key = { table: "runtimeManifest", runtimeId } as const;
  const { differences, counted } = await engine.view(async (view) => {
    const audit = new RuntimeAudit(runtimeId);
    const found = copyRuntimeManifest(EMPTY_RUNTIME_MANIFEST);
    const take = (rowKey: RowKey, row: Parameters<RuntimeAudit["take"]>[1]): void => {
      const finding = audit.take(rowKey, row);
      if (finding && rowKey.table !== "runtimeManifest") options.onFinding(finding);
      if (isCountedTable(rowKey.table)) found[rowKey.table] = updateDigest(found[rowKey.table], undefined, row);
    };
    const manifest = await view.get(key);
    if (manifest) take(key, manifest);
    for (const table of ["snapshot", "lifecycle", "ops"] as const) {
      const row = await view.get({ table, runtimeId });
      if (row) take({ table, runtimeId }, row);
    }
    for (const table of ["input", "receipt"] as const) {
      for await (const page of pagesOf(view, { table, runtimeId })) {
        for (const entry of page) take(entry.key, entry.row);
      }
    }
    return { differences: audit.end().map(({ text }) => text), counted: found };
  });
  if (differences.length === 0) return;
  options.onRecount({ runtimeId, differences });
  if (options.dryRun) return;
  await writeRuntimeManifest(engine, runtimeId, counted);
}

/** Replaces a runtime manifest, and counts this in the store manifest if that one can be read. */
function writeRuntimeManifest(engine: Engine, runtimeId: RuntimeId, counted: RuntimeManifest): Promise<void> {
  const reads = new ReadSet();
  const runtime = reads.add({ table: "runtimeManifest", runtimeId });
  const store = reads.add(STORE_MANIFEST_KEY);
  return engine.commit({
    reads,
    bytes: 0,
    decide: (rows, sequence) => {
      // The sequence of this commit becomes the version of the input rows: no earlier version of them is used again.
      const manifest: RuntimeManifest = { ...counted, inputsSequence: sequence };
      const row = isEmptyRuntimeManifest(manifest)
        ? undefined
        : makeRow(runtime.key, sequence, encodeRuntimeManifest(manifest));
      const writes: RowWrite[] = [{ handle: runtime, row }];
      const before = rows.get(store);
      if (before && isVerified(STORE_MANIFEST_KEY, before)) {
        const stored = decodeStoreManifest(before.value);
        const runtimeManifest = updateDigest(stored.runtimeManifest, rows.get(runtime), row);
        const value = encodeStoreManifest({ ...stored, runtimeManifest });
        writes.push({ handle: store, row: makeRow(STORE_MANIFEST_KEY, sequence, value) });
      }
      return { writes, result: undefined, freesSpace: true };
    },
  });
}

/**
 * Counts the store manifest again if it does not match the rows. With `onlyUnreadable`, only if it is missing or damaged: then it
 * shows nothing any more. Returns whether it had to be counted.
 */
export async function repairStoreManifest(
  engine: Engine,
  { nowMs, dryRun, onRecount }: Omit<RepairOptions, "onFinding">,
  onlyUnreadable = false,
): Promise<boolean> {
  const state = await engine.view(async (view) => {
    const row = await view.get(STORE_MANIFEST_KEY);
    const isReadable = row !== undefined && isVerified(STORE_MANIFEST_KEY, row);
    const stored = isReadable ? decodeStoreManifest(row.value) : undefined;
    return onlyUnreadable && stored ? undefined : { isThere: row !== undefined, stored, found: await countStore(view) };
  });
  if (!state) return false;
  const { isThere, stored, found } = state;
  const differences = DIGESTS.flatMap((table) => {
    const text = difference(table, (stored ?? EMPTY_STORE_MANIFEST)[table], found[table]);
    return text === undefined ? [] : [text];
  });
  if (!stored && isThere) differences.unshift("the row of the store manifest is damaged");
  if (differences.length === 0) return false;
  onRecount({ runtimeId: undefined, differences });
  if (dryRun) return true;
  // Outcomes may be lost, so no request that was made before now may be executed, unless its outcome is there.
  const horizonMs = Math.max(stored?.horizonMs ?? 0, nowMs);
  const reads = new ReadSet();
  const handle = reads.add(STORE_MANIFEST_KEY);
  const value = encodeStoreManifest({ ...found, horizonMs });
  await engine.commit({
    reads,
    bytes: 0,
    decide: (_rows, sequence) => ({
      writes: [{ handle, row: makeRow(STORE_MANIFEST_KEY, sequence, value) }],
      result: undefined,
      freesSpace: true,
    }),
  });
  return true;
}

const DIGESTS = ["outcome", "oauth", "runtimeManifest"] as const;

/** Counts the rows that belong to no runtime, and the runtime manifests that are there. */
async function countStore(view: View): Promise<Pick<StoreManifest, (typeof DIGESTS)[number]>> {
  const oauth = updateDigest(NO_ROWS, undefined, await view.get({ table: "oauth" }));
  let outcome = NO_ROWS;
  for await (const page of pagesOf(view, { table: "outcome" })) {
    for (const { row } of page) outcome = updateDigest(outcome, undefined, row);
  }
  let runtimeManifest = NO_ROWS;
  for await (const page of pagesOf(view, { table: "runtimeManifest" })) {
    for (const { key, row } of page) {
      // A scan lists a runtime whose manifest is missing with a row that matches no checksum.
      const isThere = isVerified(key, row) || (await view.get(key)) !== undefined;
      if (isThere) runtimeManifest = updateDigest(runtimeManifest, undefined, row);
    }
  }
  return { outcome, oauth, runtimeManifest };
}
