import { closeSync, existsSync, fsyncSync, openSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Finding, isDamageFinding, isFatalFinding } from "@bolthole/contract";
import { checkInProcess } from "./check-process";
import { DamagedPages, lookAtBeginning } from "./page-walk";

/** `auto` reads everything after an unclean end, `full` at every start, `quick` never. */
export type CheckLevel = "auto" | "full" | "quick";

export interface CheckBeforeOpen {
  readonly level: CheckLevel;
  /** Of a larger data file the pages are checked, and what lies in them is not read. */
  readonly maxBytes: number;
  /** Ends a look under way with an AbortError. */
  readonly signal?: AbortSignal | undefined;
}

/** The store cannot be used; the text says why and what to do. */
export class DamagedStoreError extends Error {
  override readonly name = "DamagedStore";

  constructor(folder: string, why: string) {
    super(
      `the store in ${folder} is damaged: ${why}; keep a copy of the folder, look at the disk, and restore a backup`,
    );
  }
}

/** Lies in the folder while a process has the store open: an unclean end leaves it. */
const MARK = "running";

/**
 * Looks at a data file before the native library does, which would crash over some of what a failing disk leaves. Throws a
 * DamagedStore, or what the disk refused; answers what is damaged of single records. Then the folder is marked as open.
 */
export async function checkBeforeOpen(
  folder: string,
  { level, maxBytes, signal }: CheckBeforeOpen,
): Promise<Finding[]> {
  const mark = join(folder, MARK);
  const data = join(folder, "data.mdb");
  const bytes = statSync(data, { throwIfNoEntry: false })?.size ?? 0;
  const findings: Finding[] = [];
  if (bytes > 0) {
    const isFull = level === "full" || (level === "auto" && existsSync(mark));
    if (isFull) {
      const listener = { onFinding: (finding: Finding) => findings.push(finding), signal };
      const { refusal } = await checkInProcess({ folder, pages: true, rows: bytes <= maxBytes }, listener);
      if (refusal) throw refusal;
    } else {
      findings.push(...beginningOf(data));
    }
  }
  const fatal = findings.find(isFatalFinding);
  if (fatal) throw new DamagedStoreError(folder, `${fatal.text} (${fatal.code})`);
  writeFileSync(mark, "", { mode: 0o600, flush: true });
  flushFolder(folder);
  return findings.filter(isDamageFinding);
}

/** The store was closed as it should be. */
export function unmark(folder: string): void {
  rmSync(join(folder, MARK), { force: true });
}

function beginningOf(data: string): Finding[] {
  try {
    lookAtBeginning(data);
    return [];
  } catch (error) {
    if (!(error instanceof DamagedPages)) throw error;
    return [{ code: "pages-damaged", text: error.message }];
  }
}

function flushFolder(folder: string): void {
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
