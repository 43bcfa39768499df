import { randomUUID } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { DiskReservation } from "./disk-reservation.js";
import type { Environment } from "./environment.js";
import { IDENTITY_KEY } from "./keys.js";

/**
 * The version of the on-disk format. It is raised with every change that an older daemon would misread. Format 3 adds row
 * spaces, in which an older daemon would find none of the input rows and receipts, and seals the counters (see `counter.ts`).
 * Format 4 adds documents of operation snapshots, whose nodes an older daemon would neither count nor delete.
 */
export const FORMAT_VERSION = 4;
/** The oldest format that this version reads. No release has written format 1. A store of an older format is also one of every later one. */
const OLDEST_FORMAT = 2;
const FILE = "format";
const NEW_FILE = "format.new";
const PRODUCT = "bolthole";

/** Files of the daemon that may exist in a data folder that holds no store yet. */
const DAEMON_FILES = new Set([
  "bolthole.lock",
  "bolthole.sock",
  "token",
  "endpoint",
  "bolthole.bind",
  "running",
  NEW_FILE,
]);

/**
 * Files that file systems, file managers and version control put into an empty folder. A folder with only these is empty, and keeps
 * them.
 */
export const OTHER_FILES: ReadonlySet<string> = new Set([
  "lost+found",
  ".DS_Store",
  ".localized",
  ".Trashes",
  ".fseventsd",
  ".Spotlight-V100",
  ".TemporaryItems",
  ".snapshot",
  ".gitkeep",
  ".gitignore",
  ".keep",
]);

/** The beginning of the names of folders in which restores make the store. */
export const DRAFT_BEGINNING = "restoring-";

/** Thrown when a data folder cannot be used. The text says why, and what to do. */
export class UnusableFolderError extends Error {
  override readonly name = "UnusableFolderError";
}

/** Returns the names in a folder. A folder that this user may enter and not read has none that could be used. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Returns what to say of a folder into which a restore is running or was killed, or undefined for any other folder. */
export function unfinishedRestoreText(folder: string): string | undefined {
  if (existsSync(join(folder, FILE))) return undefined;
  if (!namesIn(folder).some((name) => name.startsWith(DRAFT_BEGINNING))) return undefined;
  return (
    `${folder} has no complete store: a restore into it is running, or was ended early; ` +
    "let it end, or repeat the same restore, which removes what the first one left"
  );
}

/** Throws an UnusableFolderError for a folder that has files and is not a data folder. Writes nothing into it. */
export function refuseOtherContents(folder: string): void {
  if (existsSync(join(folder, FILE))) return;
  const others = readdirSync(folder).filter((name) => !DAEMON_FILES.has(name) && !OTHER_FILES.has(name));
  if (others.length === 0) return;
  const unfinished = unfinishedRestoreText(folder);
  if (unfinished !== undefined) throw new UnusableFolderError(unfinished);
  throw new UnusableFolderError(
    `${folder} is not a Bolthole data folder: expected a file "${FILE}" or an empty folder, ` +
      `found ${others.slice(0, 3).join(", ")}; name an empty or a new folder`,
  );
}

/**
 * Checks the format file of a data folder before LMDB opens it. An empty folder gets the file. Throws an
 * UnusableFolderError for a folder with other files, and for a format that this version does not read.
 */
export function claimFormat(folder: string): void {
  refuseOtherContents(folder);
  const file = join(folder, FILE);
  if (!existsSync(file)) {
    // A rename is atomic, so a crash leaves the complete file or none.
    const draft = join(folder, NEW_FILE);
    writeFileSync(draft, formatText(FORMAT_VERSION), { mode: 0o600, flush: true });
    renameSync(draft, file);
    return;
  }
  const text = readFileSync(file, "utf8").trim();
  const version = new RegExp(`^${PRODUCT} (\\d+)$`).exec(text)?.[1];
  if (version === undefined) {
    throw new UnusableFolderError(
      `${folder} is not a Bolthole data folder: expected "${PRODUCT} ${String(FORMAT_VERSION)}" in its file "${FILE}", ` +
        `found ${JSON.stringify(text.slice(0, 40))}; name another folder`,
    );
  }
  if (Number(version) > FORMAT_VERSION) {
    throw new UnusableFolderError(
      `${folder} has format ${version}, but this version of Bolthole reads formats up to ${String(FORMAT_VERSION)}; ` +
        `use a newer version of Bolthole`,
    );
  }
  if (Number(version) < OLDEST_FORMAT) {
    throw new UnusableFolderError(
      `${folder} has format ${version}, but this version of Bolthole reads formats from ${String(OLDEST_FORMAT)}, ` +
        `and no release has written an older one; name a new folder`,
    );
  }
}

const formatText = (version: number): string => `${PRODUCT} ${String(version)}\n`;

/** Whether this version reads data files of this format. */
export const isReadableFormat = (version: number): boolean => version >= OLDEST_FORMAT && version <= FORMAT_VERSION;

/**
 * Raises the format of a folder that `claimFormat` has accepted to the present one, durably. The data file stays as it is, so
 * there is nothing to copy before. The text is written in place: that needs no space on a full disk, and changes one byte.
 */
export function raiseFormat(folder: string): void {
  const path = join(folder, FILE);
  if (readFileSync(path, "utf8") === formatText(FORMAT_VERSION)) return;
  const file = openSync(path, "r+");
  try {
    writeSync(file, formatText(FORMAT_VERSION), 0);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** The identity of a store. */
export interface Identity {
  /** A UUID. A restored store gets a new one. */
  readonly storeId: string;
  /** The first part of every version of this store. A restored store gets a new one, so old versions never match. */
  readonly epoch: string;
}

/** The most pages that the first transaction of a store needs. */
const IDENTITY_PAGES = 64;

/** Returns the identity of the store, and creates it in a new store. Throws an UnusableFolderError when it is damaged. */
export async function loadIdentity(environment: Environment, reservation: DiskReservation): Promise<Identity> {
  const stored = environment.get(IDENTITY_KEY);
  const known = stored && readIdentity(stored);
  if (known) return known;
  if (environment.pages().used > 0) {
    throw new UnusableFolderError(
      `the identity of the store is ${stored ? "damaged" : "missing"}, so data.mdb is damaged; ` +
        "keep a copy of the folder, check the disk, and restore a backup",
    );
  }
  const identity = newIdentity();
  await reservation.prepare(() => IDENTITY_PAGES);
  const request = { pages: IDENTITY_PAGES, bytes: 0, growth: 0, frees: false };
  if (!reservation.admits(request)) throw reservation.refusal(request);
  await environment.write([[IDENTITY_KEY, writeIdentity(identity)]]);
  return identity;
}

export const newIdentity = (): Identity => ({ storeId: randomUUID(), epoch: randomUUID().slice(0, 8) });

/** Returns the stored form: JSON with a checksum, because a store with another id or epoch would refuse all its own versions. */
export const writeIdentity = ({ storeId, epoch }: Identity): Buffer =>
  Buffer.from(JSON.stringify({ storeId, epoch, crc32: crc32(storeId + epoch) }), "utf8");

/** Returns the identity, or undefined when the value is not exactly what `writeIdentity` returns. */
export function readIdentity(value: Buffer): Identity | undefined {
  try {
    const { storeId, epoch } = JSON.parse(value.toString("utf8")) as Identity;
    return writeIdentity({ storeId, epoch }).equals(value) ? { storeId, epoch } : undefined;
  } catch {
    return undefined;
  }
}
