import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { type Finding, isDamageFinding, isFatalFinding } from "@bolthole/contract";
import { restoredStoreManifest } from "@bolthole/core";
import { Environment, type Put } from "../environment";
import { UnusableFolderError, claimFormat, newIdentity, writeIdentity } from "../format";
import { IDENTITY_KEY, encodeKey, outcomeBounds } from "../keys";
import { decodeRecord, encodeRecord } from "../record";
import { type BackupManifest, BackupReader, UnusableBackupError } from "./backup-file";
import { checkInProcess } from "./check-process";

export interface RestoreOptions {
  readonly keepsOauth: boolean;
  /** So many bytes of the backup were read. */
  readonly onRead?: ((bytes: number) => void) | undefined;
}

export interface Restored {
  readonly manifest: BackupManifest;
  /** Of the new store. */
  readonly storeId: string;
  /** What was damaged already when the backup was made, and is still. */
  readonly findings: readonly Finding[];
}

/** Outcomes that are dropped in one transaction. */
const BATCH = 4096;
const READ_BYTES = 1 << 20;

/**
 * Makes a data folder out of a backup, whole or not at all. The folder must be absent or empty. It is a new store: request
 * outcomes are dropped, versions of before never match. Throws an UnusableBackup or an UnusableFolder.
 */
export async function restoreBackup(path: string, folder: string, options: RestoreOptions): Promise<Restored> {
  const target = resolve(folder);
  if (existsSync(target) && readdirSync(target).length > 0) {
    throw new UnusableFolderError(`${target} is not empty; a backup is restored to a new or an empty folder only`);
  }
  mkdirSync(dirname(target), { recursive: true });
  const draft = mkdtempSync(`${target}.restoring-`);
  try {
    claimFormat(draft);
    const manifest = await unpack(path, join(draft, "data.mdb"), options);
    const findings = await checked(draft);
    const storeId = await makeNew(draft, options);
    await flush(join(draft, "data.mdb"));
    await flush(draft);
    // Takes the place of an empty folder, too, and of nothing else.
    renameSync(draft, target);
    await flush(dirname(target));
    return { manifest, storeId, findings };
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    throw error;
  }
}

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

async function checked(folder: string): Promise<Finding[]> {
  const findings: Finding[] = [];
  await checkInProcess({ folder, pages: true, rows: true }, { onFinding: (finding) => findings.push(finding) });
  const fatal = findings.find(isFatalFinding);
  if (fatal) throw new UnusableBackupError(`the store in it was damaged when the backup was made: ${fatal.text}`);
  return findings.filter(isDamageFinding);
}

async function makeNew(folder: string, { keepsOauth }: RestoreOptions): Promise<string> {
  const environment = new Environment(folder);
  try {
    const tallyKey = encodeKey({ table: "storeManifest" });
    const stored = environment.get(tallyKey);
    const row = stored && decodeRecord(stored);
    const tally = restoredStoreManifest(row, { keepsOauth, nowMs: Date.now() });
    const identity = newIdentity();
    const puts: Put[] = [
      [IDENTITY_KEY, writeIdentity(identity)],
      [tallyKey, encodeRecord({ ...tally, root: undefined, runtimeId: undefined })],
    ];
    if (!keepsOauth) puts.push([encodeKey({ table: "oauth" }), undefined]);
    await environment.write(puts);
    for (let dropped = BATCH; dropped === BATCH;) dropped = await dropOutcomes(environment);
    return identity.storeId;
  } finally {
    await environment.close();
    rmSync(join(folder, "lock.mdb"), { force: true });
  }
}

async function dropOutcomes(environment: Environment): Promise<number> {
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

async function flush(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
