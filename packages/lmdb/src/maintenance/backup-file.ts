import { createHash, hash } from "node:crypto";
import type { StoreCounts } from "@bolthole/contract";
import { FORMAT_VERSION } from "../format";

/*
 * A backup file: two lines of text, then the data file as it was at one moment.
 *
 *   bolthole backup 1 <SHA-256 of the next line>
 *   <the manifest, as JSON>
 *   <the data file>
 */
const MARK = "bolthole backup";
const VERSION = 1;
/** Far more than the two lines take. */
const MAX_HEADER_BYTES = 16 * 1024;

/** What a backup holds. */
export interface BackupManifest {
  /** Of the form on disk. */
  readonly formatVersion: number;
  readonly storeId: string;
  /** The number of the last commit in it. */
  readonly commitSequence: number;
  /** RFC 3339. */
  readonly createdAt: string;
  /** Absent when the store was damaged so that it could not be read to its end. */
  readonly counts?: StoreCounts | undefined;
  /** What a check of the copy found that hurts; it was damaged before. */
  readonly findings: number;
  /** Of the data file that follows. */
  readonly bytes: number;
  /** Of the data file that follows; in hexadecimal digits. */
  readonly sha256: string;
}

/** The file is no whole backup; the text says why. */
export class UnusableBackupError extends Error {
  override readonly name = "UnusableBackup";
}

export function encodeManifest(manifest: BackupManifest): Buffer {
  const line = `${JSON.stringify(manifest)}\n`;
  return Buffer.from(`${MARK} ${String(VERSION)} ${hash("sha256", line)}\n${line}`, "utf8");
}

/**
 * Takes the bytes of a backup file as they come, and gives on those of the data file. What was given on is worth something
 * only after `end`, which throws an UnusableBackup when a byte is not what was written.
 */
export class BackupReader {
  private header = Buffer.alloc(0);
  private known: BackupManifest | undefined;
  private readonly digest = createHash("sha256");
  private bytes = 0;

  /** As soon as it has come. */
  get manifest(): BackupManifest | undefined {
    return this.known;
  }

  take(chunk: Uint8Array): Uint8Array {
    if (this.known) return this.data(chunk);
    this.header = Buffer.concat([this.header, chunk]);
    const firstEnd = this.header.indexOf("\n") + 1;
    const end = firstEnd === 0 ? 0 : this.header.indexOf("\n", firstEnd) + 1;
    if (end === 0) {
      if (this.header.length > MAX_HEADER_BYTES) throw new UnusableBackupError("it is not a backup of Bolthole's");
      return Buffer.alloc(0);
    }
    this.known = decodeManifest(this.header.toString("utf8", 0, end));
    return this.data(this.header.subarray(end));
  }

  end(): BackupManifest {
    if (!this.known) throw new UnusableBackupError("it is not a backup of Bolthole's");
    if (this.bytes !== this.known.bytes) {
      throw new UnusableBackupError(
        `it is damaged: ${String(this.known.bytes)} bytes of data belong to it, ${String(this.bytes)} are there`,
      );
    }
    if (this.digest.digest("hex") !== this.known.sha256) {
      throw new UnusableBackupError("it is damaged: its bytes are not those that were written");
    }
    return this.known;
  }

  private data(chunk: Uint8Array): Uint8Array {
    this.bytes += chunk.length;
    this.digest.update(chunk);
    return chunk;
  }
}

function decodeManifest(text: string): BackupManifest {
  const [mark = "", line = ""] = text.split("\n");
  const [, version, digest] = new RegExp(`^${MARK} (\\d+) ([0-9a-f]{64})$`).exec(mark) ?? [];
  if (version === undefined) throw new UnusableBackupError("it is not a backup of Bolthole's");
  if (Number(version) > VERSION) {
    throw new UnusableBackupError(`it is a backup of form ${version}, this Bolthole reads up to ${String(VERSION)}`);
  }
  if (hash("sha256", `${line}\n`) !== digest)
    throw new UnusableBackupError("it is damaged: its manifest is not what was written");
  const manifest = JSON.parse(line) as BackupManifest;
  if (manifest.formatVersion !== FORMAT_VERSION) {
    throw new UnusableBackupError(
      `it has format ${String(manifest.formatVersion)}, this Bolthole restores ${String(FORMAT_VERSION)} only`,
    );
  }
  return manifest;
}
