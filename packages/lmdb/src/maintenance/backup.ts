import { createHash, hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, statfs } from "node:fs/promises";
import { join } from "node:path";
import { type Finding, type StoreCounts, isDamageFinding, readFailed } from "@bolthole/contract";
import type { BackupCopy, EngineLifecycle } from "@bolthole/core";
import { diskRefusal } from "../disk-errors.js";
import type { Environment } from "../environment.js";
import { FORMAT_VERSION, isReadableFormat } from "../format.js";
import { checkInProcess } from "./check-process.js";
import { compactCopy } from "./compaction.js";
import { newScratchFolder, removeFolderInUse } from "./scratch-folder.js";

/*
 * A backup file is two lines of text and then the data file as it was at one moment:
 *
 *   bolthole backup 1 <SHA-256 of the next line>
 *   <the manifest, as JSON>
 *   <the data file>
 */
const MAGIC = "bolthole backup";
const VERSION = 1;
/** A limit for the two lines. They are much shorter. */
const MAX_HEADER_BYTES = 16 * 1024;

/** The description of a backup, stored at its beginning. */
export interface BackupManifest {
  /** The version of the on-disk format of the data file. */
  readonly formatVersion: number;
  readonly storeId: string;
  /** The number of the last commit in the backup. */
  readonly commitSequence: number;
  /** The time of the backup, as RFC 3339 text. */
  readonly createdAt: string;
  /** The number of stored items. Absent when the store was damaged so that it could not be read to its end. */
  readonly counts?: StoreCounts | undefined;
  /** The number of damaged records in the copy. They were damaged in the store, too. */
  readonly findings: number;
  /** The size of the data file that follows. */
  readonly bytes: number;
  /** The SHA-256 of the data file that follows, in hexadecimal digits. */
  readonly sha256: string;
}

/** Thrown when a file is not a complete and undamaged backup. The text says why. */
export class UnusableBackupError extends Error {
  override readonly name = "UnusableBackupError";
}

/** Returns the two lines of text at the beginning of a backup file. */
export function encodeManifest(manifest: BackupManifest): Buffer {
  const line = `${JSON.stringify(manifest)}\n`;
  return Buffer.from(`${MAGIC} ${String(VERSION)} ${hash("sha256", line)}\n${line}`, "utf8");
}

function decodeManifest(text: string): BackupManifest {
  const [first = "", line = ""] = text.split("\n");
  const [, version, digest] = new RegExp(`^${MAGIC} (\\d+) ([0-9a-f]{64})$`).exec(first) ?? [];
  if (version === undefined) throw notABackup();
  if (Number(version) !== VERSION) {
    throw new UnusableBackupError(
      `it has backup form ${version}, but this version of Bolthole reads form ${String(VERSION)}`,
    );
  }
  if (hash("sha256", `${line}\n`) !== digest) {
    throw new UnusableBackupError("it is damaged: its manifest does not match its checksum");
  }
  const manifest = JSON.parse(line) as BackupManifest;
  if (!isReadableFormat(manifest.formatVersion)) {
    throw new UnusableBackupError(
      `its data file has format ${String(manifest.formatVersion)}, but this version of Bolthole restores formats up to ` +
        String(FORMAT_VERSION),
    );
  }
  return manifest;
}

// What the file begins with is not quoted: it may be a secret of its owner.
const notABackup = (): UnusableBackupError =>
  new UnusableBackupError(`it is not a Bolthole backup: it does not begin with "${MAGIC}"`);

/**
 * Checks a backup file while it is read. `take` accepts the bytes of the file in order and returns those of the data file.
 * The returned bytes may be trusted only after `end` has returned.
 */
export class BackupReader {
  private header = Buffer.alloc(0);
  private decoded: BackupManifest | undefined;
  private readonly digest = createHash("sha256");
  private bytes = 0;

  /** The manifest. Undefined until its bytes have arrived. */
  get manifest(): BackupManifest | undefined {
    return this.decoded;
  }

  /** Throws an UnusableBackupError when the header is not that of a backup which this version can restore. */
  take(chunk: Uint8Array): Uint8Array {
    if (this.decoded) return this.data(chunk);
    this.header = Buffer.concat([this.header, chunk]);
    const firstEnd = this.header.indexOf("\n") + 1;
    const end = firstEnd === 0 ? 0 : this.header.indexOf("\n", firstEnd) + 1;
    if (end === 0) {
      if (this.header.length > MAX_HEADER_BYTES) throw notABackup();
      return Buffer.alloc(0);
    }
    this.decoded = decodeManifest(this.header.toString("utf8", 0, end));
    return this.data(this.header.subarray(end));
  }

  /** Ends the file. Throws an UnusableBackupError when it is cut short or any byte of it has changed. */
  end(): BackupManifest {
    if (!this.decoded) throw notABackup();
    if (this.bytes !== this.decoded.bytes) {
      throw new UnusableBackupError(
        `it is damaged: expected ${String(this.decoded.bytes)} bytes of data, found ${String(this.bytes)}`,
      );
    }
    const sha256 = this.digest.digest("hex");
    if (sha256 !== this.decoded.sha256) {
      throw new UnusableBackupError(
        `it is damaged: expected data with SHA-256 ${this.decoded.sha256}, found SHA-256 ${sha256}`,
      );
    }
    return this.decoded;
  }

  private data(chunk: Uint8Array): Uint8Array {
    this.bytes += chunk.length;
    this.digest.update(chunk);
    return chunk;
  }
}

const CHUNK_BYTES = 1 << 20;
/** Disk space that a backup leaves free for the store. */
const SPARE_BYTES = 64 << 20;

/**
 * Makes one consistent copy of the store, which is read as the bytes of a backup file. The copy is complete and checked before it can be
 * read. Its file is already deleted by then and only kept open, so a slow consumer costs disk space but keeps no read transaction, and a
 * crash leaves no file.
 *
 * When the engine begins to close, LMDB still completes its copy of the data file, because it cannot be interrupted. All other
 * steps end with SHUTTING_DOWN. The engine waits for the end of the call, and closes the file of a backup that is being read.
 */
export async function backUp(
  folder: string,
  environment: Environment,
  storeId: string,
  lifecycle: EngineLifecycle,
): Promise<BackupCopy> {
  await refuseFullDisk(folder, environment, "a backup");
  const scratch = newScratchFolder(folder);
  try {
    const path = join(scratch, "data.mdb");
    await environment.copyTo(scratch, "whole");
    lifecycle.refuseAfterClosing();
    await compactUndamaged(scratch, lifecycle);
    let findings = 0;
    const { counts, commitSequence = 0 } = await checkInProcess(
      { folder: scratch, pages: true, rows: true },
      { onFinding: (finding) => (findings += isDamageFinding(finding) ? 1 : 0), signal: lifecycle.signal },
    );
    const file = await open(path, "r");
    try {
      const { bytes, sha256 } = await digestOf(path, lifecycle.signal);
      const createdAt = new Date().toISOString();
      const facts = { formatVersion: FORMAT_VERSION, storeId, commitSequence, createdAt, counts, findings };
      lifecycle.refuseAfterClosing();
      return new CopyFile(encodeManifest({ ...facts, bytes, sha256 }), file, commitSequence, lifecycle);
    } catch (error) {
      await file.close();
      throw error;
    }
  } catch (error) {
    lifecycle.refuseAfterClosing();
    throw diskRefusal(folder, "the copy of a backup", error);
  } finally {
    removeFolderInUse(scratch);
  }
}

/** Removes free pages, and with them the bytes of deleted records, from a copy whose pages are undamaged. */
async function compactUndamaged(folder: string, lifecycle: EngineLifecycle): Promise<void> {
  const findings: Finding[] = [];
  const onFinding = (finding: Finding): void => void findings.push(finding);
  await checkInProcess({ folder, pages: true, rows: false }, { onFinding, signal: lifecycle.signal });
  lifecycle.refuseAfterClosing();
  if (!findings.some(isDamageFinding)) await compactCopy(folder);
  lifecycle.refuseAfterClosing();
}

/** Throws DISK_FULL unless the disk has space for two copies of the store: a whole one, and a compacted one. */
export async function refuseFullDisk(folder: string, environment: Environment, work: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const { end, pageBytes } = environment.pages();
  const wanted = 2 * end * pageBytes + SPARE_BYTES;
  if (bavail * bsize >= wanted) return;
  throw readFailed("DISK_FULL", `the disk has no space for the copy of ${work}; free some space on the disk`, {
    expected: `${String(wanted)} bytes of free space`,
    actual: `${String(bavail * bsize)} bytes`,
  });
}

async function digestOf(
  path: string,
  signal: AbortSignal,
): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const digest = createHash("sha256");
  let bytes = 0;
  const options = { highWaterMark: CHUNK_BYTES, signal };
  for await (const chunk of createReadStream(path, options) as AsyncIterable<Buffer>) {
    digest.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: digest.digest("hex") };
}

/** The open file of a copy. The engine closes it when nobody has done so before. */
class CopyFile implements BackupCopy {
  readonly close: () => Promise<void>;

  constructor(
    private readonly header: Uint8Array,
    private readonly file: FileHandle,
    readonly commitSequence: number,
    private readonly lifecycle: EngineLifecycle,
  ) {
    this.close = lifecycle.hold(() => file.close());
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    yield this.header;
    for (let at = 0; ;) {
      this.lifecycle.refuseAfterClosing();
      const { bytesRead, buffer } = await this.file.read(Buffer.allocUnsafeSlow(CHUNK_BYTES), 0, CHUNK_BYTES, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }
}
