import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { FINDING_CODES, type FindingCode } from "@bolthole/contract";
import type { ScrubMemory, ScrubNote } from "@bolthole/core";
import { EXIT, StartupError } from "../exit-code.js";
import { flushFolder, isFile } from "./data-folder.js";

const ENDPOINT_FILE = "endpoint";
const TOKEN_FILE = "token";
const SCRUB_FILE = "scrub";
const MIN_TOKEN_LENGTH = 32;

/**
 * A file that is written under a temporary name and then takes the place of `path`. Readers see the old file or the complete new
 * one. The caller writes `temporaryPath`, and then calls `commit` or `discard`.
 */
export class FileReplacement {
  readonly temporaryPath: string;

  /** `suffix` is the end of the temporary name. It must be unique when several processes can write the same file. */
  constructor(
    private readonly path: string,
    suffix: string,
  ) {
    this.temporaryPath = `${path}.${suffix}`;
  }

  /** Renames the temporary file to `path`. Does not flush: for a file that must survive a crash, flush it before and its folder after. */
  commit(): void {
    renameSync(this.temporaryPath, this.path);
  }

  discard(): void {
    rmSync(this.temporaryPath, { force: true });
  }
}

/** Replaces a small file of the control folder. The folder's lock makes this process the only writer. */
function replaceFile(path: string, text: string): void {
  const replacement = new FileReplacement(path, "new");
  writeFileSync(replacement.temporaryPath, text, { mode: 0o600 });
  replacement.commit();
}

/** Replaces a small file of the control folder so that it survives a power cut. On an error, the old file is unchanged. */
export function replaceFileDurably(path: string, text: string, folder: string): void {
  const replacement = new FileReplacement(path, "new");
  try {
    writeFileSync(replacement.temporaryPath, text, { mode: 0o600, flush: true });
    replacement.commit();
    flushFolder(folder);
  } catch (error) {
    replacement.discard();
    throw error;
  }
}

/** Writes the gRPC targets of the daemon for scripts: one target a line, the socket first. */
export function writeEndpoint(folder: string, targets: readonly string[]): void {
  replaceFile(join(folder, ENDPOINT_FILE), targets.map((target) => `${target}\n`).join(""));
}

/** Returns the gRPC targets of the daemon that serves this folder, or an empty list when no endpoint file can be read. */
export function readEndpoint(folder: string): string[] {
  const path = join(folder, ENDPOINT_FILE);
  try {
    // The open of a pipe would wait for its writer.
    if (!isFile(path)) return [];
    return readFileSync(path, "utf8").split("\n").filter(Boolean);
  } catch {
    return [];
  }
}

/** Returns the path of the socket of a gRPC target. */
export const socketOf = (target: string): string => target.replace(/^unix:/, "");

export function removeEndpoint(folder: string): void {
  rmSync(join(folder, ENDPOINT_FILE), { force: true });
}

/** Returns the bearer token of the TCP endpoint. Creates it when the file is missing. */
export function loadToken(folder: string): string {
  const path = join(folder, TOKEN_FILE);
  if (!existsSync(path)) writeFileSync(path, `${randomBytes(32).toString("hex")}\n`, { mode: 0o600, flag: "wx" });
  const token = readFileSync(path, "utf8").trim();
  if (token.length < MIN_TOKEN_LENGTH) {
    throw new StartupError(
      EXIT.DATA_FOLDER,
      `expected a token of at least ${String(MIN_TOKEN_LENGTH)} characters in ${path}, found ${String(token.length)}; ` +
        "delete the file, so that the next start creates a new token",
    );
  }
  return token;
}

const count = z.number().nonnegative();
/** A finding in a file. */
export const finding = z.object({
  code: z.enum(Object.keys(FINDING_CODES) as [FindingCode, ...FindingCode[]]),
  runtimeId: z.string().optional(),
  record: z.string().optional(),
  text: z.string(),
});
const pass = z.object({
  startedAt: count,
  runtimes: count,
  bytes: count,
  findingCount: count,
  findings: z.array(finding),
});
const scrubNote = z.object({
  storeId: z.string(),
  passes: count,
  current: pass.extend({ after: z.string().optional() }).optional(),
  last: pass.extend({ endedAt: count }).optional(),
});

/**
 * Returns the file that keeps the progress of the scrub of one store. The progress is not a row of the store, because each update
 * would then be a commit and a flush. A missing or torn file, or one of another store, costs one pass from the beginning.
 */
export function scrubFile(folder: string, storeId: string): ScrubMemory {
  const path = join(folder, SCRUB_FILE);
  return {
    load() {
      try {
        const { storeId: writtenFor, ...note } = scrubNote.parse(JSON.parse(readFileSync(path, "utf8")));
        return writtenFor === storeId ? note : undefined;
      } catch {
        return undefined;
      }
    },
    save(note: ScrubNote) {
      try {
        replaceFile(path, JSON.stringify({ storeId, ...note }));
      } catch {
        // A full disk is reported by the store's own writes; the scrub does not need the file.
      }
    },
  };
}
