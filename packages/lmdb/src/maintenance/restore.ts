import { rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Finding, isDamageFinding, isFatalFinding } from "@bolthole/contract";
import {
  NO_ROWS,
  STORE_MANIFEST_KEY,
  SYSTEM_CLOCK,
  type TableDigest,
  describeKey,
  repairStoreManifest,
  restoredHorizon,
  restoredStoreManifest,
  updateDigest,
} from "@bolthole/core";
import { diskErrno, openFailure } from "../disk-errors.js";
import { Environment, type Put } from "../environment.js";
import { claimFormat, newIdentity, writeIdentity } from "../format.js";
import { type Bounds, IDENTITY_KEY, encodeKey, outcomeBounds } from "../keys.js";
import { LmdbEngine } from "../lmdb-engine.js";
import { decodeRecord, encodeRecord } from "../record.js";
import { type BackupManifest, BackupReader, UnusableBackupError } from "./backup.js";
import { flushPath } from "./check.js";
import { compactCopy } from "./compaction.js";
import { checkInProcess } from "./check-process.js";
import { RestoreDraft } from "./restore-draft.js";

export interface RestoreOptions {
  /** Whether the OAuth flows of the backup stay. Flows that were used after the backup would become usable again. */
  readonly keepsOauth: boolean;
  /**
   * The horizon of the new store, in milliseconds since the epoch. Unless set, it is above every request id that the old store
   * can have accepted. With a lower one, requests that were applied, sealed or refused after the backup may be applied again.
   */
  readonly horizonMs?: number | undefined;
  /** The wall clock unless set. */
  readonly nowMs?: number | undefined;
  /**
   * Called with the finished folder before it gets its name, so that files can be added to it: from then on, a daemon may serve it.
   */
  readonly complete?: ((draft: string, storeId: string, findings: readonly Finding[]) => void) | undefined;
  /** Called with the function that removes everything that was made, for the end of the process by a signal. */
  readonly onDraft?: ((discard: () => void) => void) | undefined;
  /** Called with the number of bytes of the backup that were read since the last call. */
  readonly onRead?: ((bytes: number) => void) | undefined;
}

export interface RestoreResult {
  readonly manifest: BackupManifest;
  /** The id of the new store. */
  readonly storeId: string;
  /** The horizon of the new store, in milliseconds since the epoch. Request ids below it are refused. */
  readonly horizonMs: number;
  /** The latest time of any commit in the backup, in milliseconds since the epoch. 0 when it has none. */
  readonly lastCommitMs: number;
  /** The number of request outcomes of the backup that were kept, because their ids are not below the horizon. */
  readonly keptOutcomes: number;
  /** The records that were damaged when the backup was made, and still are. */
  readonly findings: readonly Finding[];
}

/** The number of outcomes that one transaction deletes. */
const BATCH = 4096;
const READ_BYTES = 1 << 20;

/** Thrown when the operating system cannot read a backup. The text says why. */
export class UnreadableBackupError extends Error {
  override readonly name = "UnreadableBackupError";
}

/**
 * Makes a data folder from a backup, completely or not at all. The folder must be absent or empty, and its parent must exist.
 * The result is a new store: request outcomes below its horizon are deleted, and versions of the old store never match. Throws an
 * UnusableBackupError, an UnreadableBackupError, an UnusableFolderError, an UnusableHorizonError, or an error of the operating system.
 */
export async function restoreBackup(path: string, folder: string, options: RestoreOptions): Promise<RestoreResult> {
  const target = resolve(folder);
  const draft = RestoreDraft.for(target);
  const { folder: made } = draft;
  options.onDraft?.(() => {
    draft.discard();
  });
  try {
    claimFormat(made);
    const manifest = await unpack(path, join(made, "data.mdb"), options);
    const findings = await checked(made);
    const nowMs = options.nowMs ?? SYSTEM_CLOCK.now();
    if (findings.some(({ record }) => record === describeKey(STORE_MANIFEST_KEY))) {
      await recountStoreManifest(made, nowMs);
    }
    const store = await makeNew(made, { ...options, nowMs });
    // What was dropped is still in free pages.
    await compactCopy(made);
    options.complete?.(made, store.storeId, findings);
    await flushPath(join(made, "data.mdb"));
    await draft.publish();
    return { manifest, ...store, findings };
  } catch (error) {
    draft.discard();
    throw diskErrno(error) === undefined ? error : openFailure(target, error);
  }
}

/** Writes the data file of a backup to a new file. */
async function unpack(path: string, data: string, { onRead }: RestoreOptions): Promise<BackupManifest> {
  const from = await open(path, "r").catch(throwUnreadable);
  try {
    const to = await open(data, "wx", 0o600);
    try {
      const reader = new BackupReader();
      const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
      for (;;) {
        const { bytesRead } = await from.read(buffer, 0, READ_BYTES).catch(throwUnreadable);
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

function throwUnreadable(cause: unknown): never {
  throw new UnreadableBackupError((cause as Error).message, { cause });
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
async function recountStoreManifest(folder: string, nowMs: number): Promise<void> {
  const engine = await LmdbEngine.open(folder, { check: { level: "quick", maxBytes: Infinity } });
  try {
    await repairStoreManifest(engine, { nowMs, dryRun: false, onRecount: () => undefined }, true);
  } finally {
    await engine.close();
  }
}

/** Makes the unpacked store a new one. */
async function makeNew(
  folder: string,
  { keepsOauth, horizonMs, nowMs }: RestoreOptions & { readonly nowMs: number },
): Promise<Pick<RestoreResult, "storeId" | "horizonMs" | "lastCommitMs" | "keptOutcomes">> {
  const environment = new Environment(folder);
  try {
    const manifestKey = encodeKey({ table: "storeManifest" });
    const stored = environment.get(manifestKey);
    const row = stored && decodeRecord(stored);
    const decisions = { keepsOauth, horizonMs, nowMs };
    const horizon = restoredHorizon(row, decisions);
    const { start, end } = outcomeBounds(undefined);
    const firstKept = encodeKey({ table: "outcome", requestId: horizon.firstRequestId });
    const kept = digestOf(environment, { start: firstKept, end });
    const manifest = restoredStoreManifest(row, decisions, horizon, kept);
    const identity = newIdentity();
    const puts: Put[] = [
      [IDENTITY_KEY, writeIdentity(identity)],
      [manifestKey, encodeRecord({ ...manifest, root: undefined, runtimeId: undefined })],
    ];
    if (!keepsOauth) puts.push([encodeKey({ table: "oauth" }), undefined]);
    await environment.write(puts);
    for (let deleted = BATCH; deleted === BATCH;) {
      deleted = await deleteOutcomes(environment, { start, end: firstKept });
    }
    const { horizonMs: chosenMs, lastCommitMs } = horizon;
    return { storeId: identity.storeId, horizonMs: chosenMs, lastCommitMs, keptOutcomes: kept.rows };
  } finally {
    await environment.close();
    rmSync(join(folder, "lock.mdb"), { force: true });
  }
}

/** Returns the digest of the outcomes in a range. */
function digestOf(environment: Environment, { start, end }: Bounds): TableDigest {
  const transaction = environment.read();
  let digest = NO_ROWS;
  for (const { value } of transaction.range(start, end)) digest = updateDigest(digest, undefined, decodeRecord(value));
  transaction.done();
  return digest;
}

/** Deletes up to BATCH outcomes of a range and returns how many. */
async function deleteOutcomes(environment: Environment, { start, end }: Bounds): Promise<number> {
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
