import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { EXIT, StartupError } from "../exit-code.js";
import { replaceFileDurably } from "./state-files.js";

const STORE_ID_FILE = "store-id";
const NO_SPACE: readonly (string | undefined)[] = ["ENOSPC", "EDQUOT", "EROFS"];

/** The names of a store: where it is, and the file that holds its data. */
export interface StoreFiles {
  readonly controlFolder: string;
  /** Undefined for a store in memory. */
  readonly dataFile: string | undefined;
}

/**
 * Whether there is a store, or was one. Without the file `store-id`, a folder whose data file was lost looks like one that never
 * had a store.
 */
export const holdsStore = ({ controlFolder, dataFile }: StoreFiles): boolean =>
  dataFile !== undefined && (existsSync(dataFile) || existsSync(join(controlFolder, STORE_ID_FILE)));

/** Throws a StartupError when the store's data file is missing or empty: opening it would create another, empty store. */
export function refuseLostData({ controlFolder, dataFile }: StoreFiles): void {
  const expected = readStoreId(controlFolder);
  if (expected === undefined || dataFile === undefined) return;
  const isMissing = !existsSync(dataFile);
  if (!isMissing && statSync(dataFile).size > 0) return;
  throw new StartupError(
    EXIT.DAMAGED,
    `the data of store ${expected} is lost: its file ${dataFile} is ${isMissing ? "missing" : "empty"}. No new store was created. ` +
      `Put the file back, or restore a backup to a new folder`,
  );
}

/**
 * Compares the id of the opened store with the id of the store that was opened here before. The first time, notes the id durably.
 * Throws a StartupError when they differ.
 */
export function keepStoreId({ controlFolder, dataFile }: StoreFiles, storeId: string): void {
  if (dataFile === undefined) return;
  const path = join(controlFolder, STORE_ID_FILE);
  const expected = readStoreId(controlFolder);
  if (expected === storeId) return;
  if (expected !== undefined) {
    throw new StartupError(
      EXIT.DATA_FOLDER,
      `expected the data of store ${expected} in ${dataFile}, found store ${storeId}. ` +
        `Put the right file back. If you replaced it on purpose, delete ${path} and start again`,
    );
  }
  try {
    replaceFileDurably(path, `${storeId}\n`, controlFolder);
  } catch (error) {
    // Without space, the next start tries again.
    if (!NO_SPACE.includes((error as NodeJS.ErrnoException).code)) throw error;
  }
}

/** Returns the noted id of the store, or undefined when none is noted. */
function readStoreId(controlFolder: string): string | undefined {
  const path = join(controlFolder, STORE_ID_FILE);
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path, "utf8").trim();
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) return text;
  throw new StartupError(
    EXIT.DATA_FOLDER,
    `expected the id of the store in ${path}, found ${JSON.stringify(text.slice(0, 40))}. ` +
      `If the data file beside it is the right one, delete ${path} and start again`,
  );
}
