import { createHash } from "node:crypto";
import { createReadStream, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { type FileHandle, open, statfs } from "node:fs/promises";
import { join } from "node:path";
import { isDamageFinding, readFailed } from "@bolthole/contract";
import type { Environment } from "../environment";
import { FORMAT_VERSION } from "../format";
import { encodeManifest } from "./backup-file";
import { checkInProcess } from "./check-process";

const SCRATCH = "backup.";
const CHUNK_BYTES = 1 << 20;
/** Left free on the disk for the store itself. */
const SPARE_BYTES = 64 << 20;

/** Backups that a crash left half made. */
export function removeOldScratch(folder: string): void {
  for (const name of readdirSync(folder)) {
    if (name.startsWith(SCRATCH)) rmSync(join(folder, name), { recursive: true, force: true });
  }
}

/**
 * One consistent copy of the store, as the bytes of a backup file. The copy is made, read through and checked before the
 * first byte is given: then it is a file without a name, and a slow reader holds nothing else.
 */
export async function backUp(
  folder: string,
  environment: Environment,
  storeId: string,
): Promise<AsyncGenerator<Uint8Array, void>> {
  await refuseFullDisk(folder, environment);
  const scratch = mkdtempSync(join(folder, SCRATCH));
  try {
    const path = join(scratch, "data.mdb");
    await environment.copyTo(scratch);
    let findings = 0;
    const { counts, commitSequence = 0 } = await checkInProcess(
      { folder: scratch, pages: true, rows: true },
      { onFinding: (finding) => (findings += isDamageFinding(finding) ? 1 : 0) },
    );
    const file = await open(path, "r");
    try {
      const { bytes, sha256 } = await digestOf(path);
      const createdAt = new Date().toISOString();
      const facts = { formatVersion: FORMAT_VERSION, storeId, commitSequence, createdAt, counts, findings };
      return stream(encodeManifest({ ...facts, bytes, sha256 }), file);
    } catch (error) {
      await file.close();
      throw error;
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function refuseFullDisk(folder: string, environment: Environment): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const { end, pageBytes } = environment.pages();
  const wanted = end * pageBytes + SPARE_BYTES;
  if (bavail * bsize >= wanted) return;
  throw readFailed("DISK_FULL", "the disk has no room for the copy that a backup is made from; make room on the disk", {
    expected: `room for ${String(wanted)} bytes`,
    actual: `${String(bavail * bsize)} bytes`,
  });
}

async function digestOf(path: string): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const digest = createHash("sha256");
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>) {
    digest.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: digest.digest("hex") };
}

async function* stream(header: Uint8Array, file: FileHandle): AsyncGenerator<Uint8Array, void> {
  try {
    yield header;
    for (let at = 0; ;) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(CHUNK_BYTES), 0, CHUNK_BYTES, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}
