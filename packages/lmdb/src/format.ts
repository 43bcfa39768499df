import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { DiskReservation } from "./disk-reservation";
import type { Environment } from "./environment.js";
import { IDENTITY_KEY } from "./keys.js";

/** Of the form on disk. Raised with every change that an older daemon would misread. */
export const FORMAT_VERSION = 2;
/** Format 1 never left this repository: nobody has a store to bring over. */
const OLDEST_FORMAT = 2;
const FILE = "format";
const DRAFT = "format.new";
const NAME = "bolthole";

/** Files that may lie in a folder that is still empty for us: the daemon's own. */
const HARMLESS = new Set(["bolthole.lock", "bolthole.sock", "token", "endpoint", "running", DRAFT]);

/** The data folder cannot be used; the text says why and what to do. */
export class UnusableFolderError extends Error {
  override readonly name = "UnusableFolder";
}

/** Looks at the folder before the native library does: marks an empty one as ours, refuses foreign, newer and unreleased ones. */
export function claimFormat(folder: string): void {
  const file = join(folder, FILE);
  if (!existsSync(file)) {
    const foreign = readdirSync(folder).filter((name) => !HARMLESS.has(name));
    if (foreign.length > 0) {
      throw new UnusableFolderError(
        `${folder} is not a Bolthole data folder: it holds ${foreign.slice(0, 3).join(", ")}; name an empty or a new folder`,
      );
    }
    // Renamed into place, so that a crash leaves the whole mark or none.
    const draft = join(folder, DRAFT);
    writeFileSync(draft, `${NAME} ${String(FORMAT_VERSION)}\n`, { mode: 0o600, flush: true });
    renameSync(draft, file);
    return;
  }
  const [name, version] = readFileSync(file, "utf8").trim().split(" ");
  if (name !== NAME || !/^\d+$/.test(version ?? "")) {
    throw new UnusableFolderError(`${folder} is not a Bolthole data folder: its ${FILE} file is of another make`);
  }
  if (Number(version) > FORMAT_VERSION) {
    throw new UnusableFolderError(
      `${folder} has format ${String(version)}, this Bolthole reads up to ${String(FORMAT_VERSION)}; use a newer Bolthole`,
    );
  }
  if (Number(version) < OLDEST_FORMAT) {
    throw new UnusableFolderError(
      `${folder} has format ${String(version)}, which no release has written and this Bolthole does not read; name a new folder`,
    );
  }
}

/** Which store this is. */
export interface Identity {
  readonly storeId: string;
  readonly epoch: string;
}

const IDENTITY_PAGES = 64;

/** Made once, when the store is. */
export async function loadIdentity(environment: Environment, room: DiskReservation): Promise<Identity> {
  const stored = environment.get(IDENTITY_KEY);
  const known = stored && readIdentity(stored);
  if (known) return known;
  if (environment.pages().used > 0) {
    throw new UnusableFolderError(
      "the store has lost its identity: data.mdb is damaged; keep a copy, and look at the disk",
    );
  }
  const identity = newIdentity();
  await room.prepare(() => IDENTITY_PAGES);
  const demand = { pages: IDENTITY_PAGES, bytes: 0, frees: false };
  if (!room.admits(demand)) throw room.refusal(demand);
  await environment.write([[IDENTITY_KEY, writeIdentity(identity)]]);
  return identity;
}

export const newIdentity = (): Identity => ({ storeId: randomUUID(), epoch: randomUUID().slice(0, 8) });

/** With a checksum: a store of another id or epoch would not know its own versions. */
export const writeIdentity = ({ storeId, epoch }: Identity): Buffer =>
  Buffer.from(JSON.stringify({ storeId, epoch, crc32: crc32(storeId + epoch) }), "utf8");

/** Nothing, when it is not what was written. */
export function readIdentity(value: Buffer): Identity | undefined {
  try {
    const { storeId, epoch } = JSON.parse(value.toString("utf8")) as Identity;
    return writeIdentity({ storeId, epoch }).equals(value) ? { storeId, epoch } : undefined;
  } catch {
    return undefined;
  }
}
