import { existsSync, rmSync, statSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { type Finding, isDamageFinding, isFatalFinding } from "@bolthole/contract";
import type { CheckListener, CheckResult } from "@bolthole/core";
import { diskErrno, openFailure } from "../disk-errors.js";
import { UnusableFolderError, claimFormat } from "../format.js";
import { checkInProcess } from "./check-process.js";
import { DamagedPagesError, checkMetaPages } from "./page-walk.js";

/** The policy for reading a store completely before it is opened: `auto` after an unclean end, `full` always, `quick` never. */
export type CheckLevel = "auto" | "full" | "quick";

export interface OpenCheckOptions {
  readonly level: CheckLevel;
  /** The largest data file that is read completely, in bytes. In a larger one only the pages are checked. */
  readonly maxBytes: number;
  /** Ends a running check with an AbortError. */
  readonly signal?: AbortSignal | undefined;
}

/** Thrown when a store is damaged so that it cannot be used. The text says why, and what to do. */
export class DamagedStoreError extends Error {
  override readonly name = "DamagedStoreError";

  constructor(folder: string, why: string) {
    super(
      `the store in ${folder} is damaged: ${why}; keep a copy of the folder, check the disk, and restore a backup. ` +
        "Without a backup, `bolthole repair` accepts the rows that are there, if the pages are whole",
    );
  }
}

/** A file that exists while a process has the store open. After an unclean end it is still there. */
const RUNNING_FILE = "running";

/**
 * Checks a data file before LMDB opens it, because LMDB would crash on some damage that a failing disk leaves. Then marks
 * the folder as open. Returns the findings that damage single records. Throws a DamagedStoreError when the store cannot be
 * used, and the operating system's error when the file cannot be read.
 */
export async function checkBeforeOpen(
  folder: string,
  { level, maxBytes, signal }: OpenCheckOptions,
): Promise<Finding[]> {
  const mark = join(folder, RUNNING_FILE);
  const data = join(folder, "data.mdb");
  const bytes = statSync(data, { throwIfNoEntry: false })?.size ?? 0;
  const findings: Finding[] = [];
  if (bytes > 0) {
    const isFull = level === "full" || (level === "auto" && existsSync(mark));
    if (isFull) {
      const listener = { onFinding: (finding: Finding) => findings.push(finding), signal };
      await checkInProcess({ folder, pages: true, rows: bytes <= maxBytes }, listener);
    } else {
      findings.push(...metaPageFindings(data));
    }
  }
  const fatal = findings.find(isFatalFinding);
  if (fatal) throw new DamagedStoreError(folder, `${fatal.text} (${fatal.code})`);
  writeFileSync(mark, "", { mode: 0o600, flush: true });
  await flushPath(folder);
  return findings.filter(isDamageFinding);
}

/** Marks the folder as closed after a clean end. */
export function markClosed(folder: string): void {
  rmSync(join(folder, RUNNING_FILE), { force: true });
}

/** Flushes a file, or the entries of a folder so that files that were created or renamed in it survive a power cut. */
export async function flushPath(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Checks everything in a data folder that no process has open, and reports findings to the listener. Throws an
 * UnusableFolderError when the folder holds no store of this format.
 */
export async function checkFolder(folder: string, listener: CheckListener): Promise<CheckResult> {
  if (!existsSync(join(folder, "format"))) {
    throw new UnusableFolderError(`${folder} is not a Bolthole data folder: its file "format" is missing`);
  }
  claimFormat(folder);
  if (!existsSync(join(folder, "data.mdb"))) {
    throw new UnusableFolderError(`${folder} holds no store: its file "data.mdb" is missing`);
  }
  try {
    return await checkInProcess({ folder, pages: true, rows: true }, listener);
  } catch (error) {
    throw diskErrno(error) === undefined ? error : openFailure(folder, error);
  }
}

function metaPageFindings(data: string): Finding[] {
  try {
    checkMetaPages(data);
    return [];
  } catch (error) {
    if (!(error instanceof DamagedPagesError)) throw error;
    return [{ code: "pages-damaged", text: error.message }];
  }
}
