import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { type Finding, isDamageFinding, isFatalFinding } from "@bolthole/contract";
import { STORE_MANIFEST_KEY, describeKey, repairStoreManifest, restoredStoreManifest } from "@bolthole/core";
import { diskErrno, openFailure } from "../disk-errors.js";
import { Environment, type Put } from "../environment.js";
import { UnusableFolderError, claimFormat, newIdentity, writeIdentity } from "../format.js";
import { IDENTITY_KEY, encodeKey, outcomeBounds } from "../keys.js";
import { LmdbEngine } from "../lmdb-engine.js";
import { decodeRecord, encodeRecord } from "../record.js";
import { type BackupManifest, BackupReader, UnusableBackupError } from "./backup.js";
import { flushPath } from "./check.js";
import { checkInProcess } from "./check-process.js";

export interface RestoreOptions {
  /** Whether the OAuth flows of the backup stay. Flows that were used after the backup would become usable again. */
  readonly keepsOauth: boolean;
  /** Called with the number of bytes of the backup that were read since the last call. */
  readonly onRead?: ((bytes: number) => void) | undefined;
}

export interface RestoreResult {
  readonly manifest: BackupManifest;
  /** The id of the new store. */
  readonly storeId: string;
  /** The records that were damaged when the backup was made, and still are. */
  readonly findings: readonly Finding[];
}

/** The number of outcomes that one transaction deletes. */
const BATCH = 4096;
const READ_BYTES = 1 << 20;

/**
 * Makes a data folder from a backup, completely or not at all. The folder must be absent or empty, and its parent must exist.
 * The result is a new store: request outcomes are deleted, and versions of the old store never match. Throws an
 * UnusableBackupError, an UnusableFolderError, or an error of the operating system.
 */
export async function restoreBackup(path: string, folder: string, options: RestoreOptions): Promise<RestoreResult> {
  const target = resolve(folder);
  if (existsSync(target) && readdirSync(target).length > 0) {
    throw new UnusableFolderError(`${target} is not empty; restore a backup to a new or an empty folder`);
  }
  const draft = mkdtempSync(`${target}.restoring-`);
  try {
    claimFormat(draft);
    const manifest = await unpack(path, join(draft, "data.mdb"), options);
    const findings = await checked(draft);
    if (findings.some(({ record }) => record === describeKey(STORE_MANIFEST_KEY))) await recountStoreManifest(draft);
    const storeId = await makeNew(draft, options);
    await flushPath(join(draft, "data.mdb"));
    await flushPath(draft);
    // The rename also replaces an empty folder, and fails for every other one.
    renameSync(draft, target);
    await flushPath(dirname(target));
    return { manifest, storeId, findings };
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    throw diskErrno(error) === undefined ? error : openFailure(target, error);
  }
}

/** Writes the data file of a backup to a new file. */
async function unpack(path: string, data: string, { onRead }: RestoreOptions): Promise<BackupManifest> {
  const from = await open(path, "r");
  try {
    const to = await open(data, "wx", 0o600);
    try {
      const reader = new BackupReader();
      const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
      for (;;) {
        const { bytesRead } = await from.read(buffer, 0, READ_BYTES);
        if (bytesRead === 0) break;
        await to.writeFile(reader.take(buffer.subarray(0, bytesRead)));
        onRead?.(bytesRead);
      }
      return reader.end();
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
}

/** Checks the unpacked store. Returns damaged records, and throws when nothing of the store can be used. */
async function checked(folder: string): Promise<Finding[]> {
  const findings: Finding[] = [];
  await checkInProcess({ folder, pages: true, rows: true }, { onFinding: (finding) => findings.push(finding) });
  const fatal = findings.find(isFatalFinding);
  if (fatal) throw new UnusableBackupError(`the store in it was damaged when the backup was made: ${fatal.text}`);
  return findings.filter(isDamageFinding);
}

/** Counts an unreadable store manifest again, so that the store can be used. */
async function recountStoreManifest(folder: string): Promise<void> {
  const engine = await LmdbEngine.open(folder, { check: { level: "quick", maxBytes: Infinity } });
  try {
    await repairStoreManifest(engine, { nowMs: Date.now(), dryRun: false, onRecount: () => undefined }, true);
  } finally {
    await engine.close();
  }
}

/** Makes the unpacked store a new one, and returns its id. */
async function makeNew(folder: string, { keepsOauth }: RestoreOptions): Promise<string> {
  const environment = new Environment(folder);
  try {
    const manifestKey = encodeKey({ table: "storeManifest" });
    const stored = environment.get(manifestKey);
    const row = stored && decodeRecord(stored);
    const manifest = restoredStoreManifest(row, { keepsOauth, nowMs: Date.now() });
    const identity = newIdentity();
    const puts: Put[] = [
      [IDENTITY_KEY, writeIdentity(identity)],
      [manifestKey, encodeRecord({ ...manifest, root: undefined, runtimeId: undefined })],
    ];
    if (!keepsOauth) puts.push([encodeKey({ table: "oauth" }), undefined]);
    await environment.write(puts);
    for (let deleted = BATCH; deleted === BATCH;) deleted = await deleteOutcomes(environment);
    return identity.storeId;
  } finally {
    await environment.close();
    rmSync(join(folder, "lock.mdb"), { force: true });
  }
}

/** Deletes up to BATCH outcomes and returns how many. */
async function deleteOutcomes(environment: Environment): Promise<number> {
  const { start, end } = outcomeBounds(undefined);
  const transaction = environment.read();
  const puts: Put[] = [];
  for (const key of transaction.keys(start, end)) {
    puts.push([key, undefined]);
    if (puts.length === BATCH) break;
  }
  transaction.done();
  if (puts.length > 0) await environment.write(puts);
  return puts.length;
}
