import { type FileHandle, open, statfs } from "node:fs/promises";
import { join } from "node:path";
import { type StoreError, writeFailed } from "@bolthole/contract";
import type { Environment, PageCounts } from "./environment.js";

/** Kept in the data file for transactions that only delete. */
const RESERVE_BYTES = 4 << 20;
/** Room beyond what is asked for, so that a whole group of small commits finds it, and few of them have to wait for more. */
const AHEAD_BYTES = 8 << 20;
/**
 * Linux keeps what is written at once in as large a piece of its cache, and every commit pays for the size of the pieces that
 * its few pages lie in: it looks at all blocks of each, and counts them all as the process's `write_bytes`.
 */
const WRITE_BYTES = 16 << 10;
/** After the disk was found full it is let alone for so long. */
const RETRY_MS = 250;
/** Where the file cannot grow, so many times the pages of a transaction must be free inside it. */
const SPARE = 4;

const FULL: readonly (string | undefined)[] = ["ENOSPC", "EDQUOT", "EFBIG"];
const ZEROS = Buffer.alloc(WRITE_BYTES);

/** What a transaction asks for. */
export interface ReservationRequest {
  /** The most that it may take. */
  readonly pages: number;
  /** Of new values. */
  readonly bytes: number;
  /** It only deletes. */
  readonly frees: boolean;
}

/**
 * The room in the data file, and the one place that looks at the file system. LMDB reports a full disk as an I/O error in
 * the middle of a commit, and cannot go on after one. So it never gets there: the file is filled with zeros ahead of its
 * last page, and a transaction is let through only when it fits there even if no free page inside the file can be used
 * again. Nobody else can take that room away. Its end belongs to deletions: on a full disk a clear still has what it needs.
 */
export class DiskReservation {
  private counts: PageCounts;
  /** In pages: up to here this process has written the file, so that every page has its place on the disk. */
  private prepared: number;
  /** The most that has been used since the pages were counted. */
  private spent = { pages: 0, bytes: 0 };
  private retryAt = 0;

  private constructor(
    private readonly file: FileHandle,
    private readonly folder: string,
    private readonly environment: Pick<Environment, "pages">,
    private readonly quotaBytes: number,
  ) {
    this.counts = environment.pages();
    this.prepared = this.counts.end;
  }

  /** `quotaBytes`: how many bytes the store may hold. */
  static async open(folder: string, environment: Environment, quotaBytes: number): Promise<DiskReservation> {
    const file = await open(join(folder, "data.mdb"), "r+");
    // A commit that a killed process did not see through to the disk may be there all the same: nobody reads it before it is.
    await file.datasync();
    return new DiskReservation(file, folder, environment, quotaBytes);
  }

  get pages(): PageCounts {
    return this.counts;
  }

  /** Makes room for a transaction if the disk has any. `need` tells its pages from how they are counted now. */
  async prepare(need: () => number): Promise<void> {
    this.count();
    const pages = need();
    if (this.fits(pages, this.reserve) || performance.now() < this.retryAt) return;
    await this.grow(this.counts.end + pages + this.reserve);
  }

  /** Whether a transaction may be written. */
  admits(demand: ReservationRequest): boolean {
    if (this.shortageFor(demand) === undefined) return true;
    if (this.spent.pages === 0) return false;
    this.count();
    return this.shortageFor(demand) === undefined;
  }

  /** Why one that is not admitted may not be written. */
  refusal({ pages, bytes, frees }: ReservationRequest): StoreError {
    if (this.shortageFor({ pages, bytes, frees }) === "quota") {
      return writeFailed("QUOTA", "the store holds as much as it may; clear something, or raise the quota", {
        expected: `at most ${String(this.quotaBytes)} bytes`,
        actual: `${String(this.heldBytes + bytes)} bytes`,
      });
    }
    return writeFailed("DISK_FULL", "the disk has no room for the change; clear something, or make room on the disk", {
      expected: `room for ${String(pages * this.counts.pageBytes)} bytes`,
    });
  }

  /** A transaction is about to be written. */
  spend({ pages, bytes }: Pick<ReservationRequest, "pages" | "bytes">): void {
    this.spent = { pages: this.spent.pages + pages, bytes: this.spent.bytes + bytes };
  }

  /** Bytes that hold data, and bytes that this user may still take from the file system. */
  async look(): Promise<{ readonly usedBytes: number; readonly diskFreeBytes: number }> {
    const { used, pageBytes } = this.environment.pages();
    return { usedBytes: used * pageBytes, diskFreeBytes: await this.diskFreeBytes() };
  }

  /** Nothing is written any more. Gives back what was kept for it, unless the environment cannot be asked. */
  async close(): Promise<void> {
    try {
      const { end, pageBytes } = this.environment.pages();
      await this.file.truncate(end * pageBytes);
    } catch {
      // The room stays with the file, which does no harm.
    } finally {
      await this.file.close();
    }
  }

  private get reserve(): number {
    return RESERVE_BYTES / this.counts.pageBytes;
  }

  private fits(pages: number, reserve: number): boolean {
    return this.prepared - this.counts.end - this.spent.pages >= pages + reserve;
  }

  private get heldBytes(): number {
    return this.counts.used * this.counts.pageBytes + this.spent.bytes;
  }

  private shortageFor({ pages, bytes, frees }: ReservationRequest): "quota" | "disk" | undefined {
    if (frees && this.fits(pages, 0)) return undefined;
    if (!frees && this.heldBytes + bytes > this.quotaBytes) return "quota";
    if (this.fits(pages, this.reserve)) return undefined;
    // What LMDB does not find inside the file comes out of the reserve; never more than half of it.
    const isReused = this.counts.free - this.spent.pages >= SPARE * pages;
    return isReused && this.fits(pages, this.reserve / 2) ? undefined : "disk";
  }

  private count(): void {
    this.counts = this.environment.pages();
    this.prepared = Math.max(this.prepared, this.counts.end);
    this.spent = { pages: 0, bytes: 0 };
  }

  /** Up to at least this page, or not at all. Only while no transaction is being written. */
  private async grow(end: number): Promise<void> {
    const { pageBytes } = this.counts;
    let at = this.prepared * pageBytes;
    this.retryAt = performance.now() + RETRY_MS;
    // A write that meets a full disk may take long, this look does not.
    const spare = (await this.diskFreeBytes()) - (end * pageBytes - at);
    if (spare < 0) return;
    const target = end * pageBytes + (spare >= AHEAD_BYTES ? AHEAD_BYTES : 0);
    try {
      while (at < target) {
        const { bytesWritten } = await this.file.write(ZEROS, 0, Math.min(ZEROS.length, target - at), at);
        at += bytesWritten;
      }
      this.retryAt = 0;
    } catch (error) {
      // Somebody else was faster.
      if (!FULL.includes((error as NodeJS.ErrnoException).code)) throw error;
    }
    this.prepared = Math.floor(at / pageBytes);
  }

  private async diskFreeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.folder);
    return bavail * bsize;
  }
}
