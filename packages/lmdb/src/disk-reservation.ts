import { type FileHandle, open, statfs } from "node:fs/promises";
import { join } from "node:path";
import { type StoreError, writeFailed } from "@bolthole/contract";
import type { Environment, PageCounts } from "./environment.js";
import { PAGE_HEADER_BYTES } from "./document-tree/node.js";

/** Space in the data file that is reserved for transactions that only delete. */
const RESERVE_BYTES = 4 << 20;
/** Extra space for each growth of the file, so that most groups of small commits do not have to wait for a growth. */
const AHEAD_BYTES = 8 << 20;
/**
 * Linux caches the bytes of one write in one unit of that size (a large folio). A commit that changes a few pages then
 * checks all blocks of the units around them, and all of them count as `write_bytes` of the process. So zeros are written
 * in small pieces.
 */
const WRITE_BYTES = 16 << 10;
/** The delay before the next attempt after the disk was found full. */
const RETRY_MS = 250;
/** The free pages that a transaction needs inside a file that cannot grow, as a multiple of its own pages. */
const FREE_PAGES_FACTOR = 4;

const FULL: readonly (string | undefined)[] = ["ENOSPC", "EDQUOT", "EFBIG"];
/** What to do when a file would become larger than the system allows. */
export const FILE_SIZE_ADVICE =
  "a file has reached the largest size that this process may write, or that the file system has; raise the limit (ulimit -f)";
const ZEROS = Buffer.alloc(WRITE_BYTES);

/** The disk space that a transaction may need. */
export interface ReservationRequest {
  /** The most pages that it may take. */
  readonly pages: number;
  /** The bytes of its new values. */
  readonly bytes: number;
  /**
   * The bytes by which the store will be larger when what the transaction replaces is deleted. The quota refuses growth only. For the
   * time until then, the store holds both.
   */
  readonly growth: number;
  /** Whether it only deletes. */
  readonly frees: boolean;
}

/**
 * Reserves disk space in the data file ahead of LMDB. LMDB reports a full disk as an I/O error in the middle of a commit
 * and cannot continue after one. To prevent that, the file is filled with zeros after its last page, and a transaction is
 * admitted only when it certainly fits into that space, even if LMDB can reuse no free page inside the file:
 *
 *   | pages that were used so far            | zeros: space for transactions | reserve: only for deletions |
 *   0                                   counts.end                                                  prepared
 *
 * No other program can take this space. The reserve lets a clear succeed on a full disk. Where the file cannot grow, a
 * transaction may also use half of the reserve, if enough pages inside the file are free.
 */
export class DiskReservation {
  private counts: PageCounts;
  /** The number of pages up to which the file is known to be allocated on the disk. */
  private prepared: number;
  /** The most that transactions may have used since the pages were counted. */
  private spent = { pages: 0, bytes: 0 };
  private retryAt = 0;
  /** Whether the file has the largest size that the process may give it. */
  private isLimited = false;

  private constructor(
    private file: FileHandle,
    private readonly folder: string,
    private readonly environment: Pick<Environment, "pages">,
    private readonly quotaBytes: number,
  ) {
    this.counts = environment.pages();
    this.prepared = this.counts.end;
  }

  /** Opens the data file for reserving. `quotaBytes` is the most bytes that the store may hold. */
  static async open(folder: string, environment: Environment, quotaBytes: number): Promise<DiskReservation> {
    const file = await DiskReservation.openFile(folder);
    // A killed process may have left a commit that is complete in the cache but not flushed. It is flushed before any read.
    await file.datasync();
    return new DiskReservation(file, folder, environment, quotaBytes);
  }

  static openFile(folder: string): Promise<FileHandle> {
    return open(join(folder, "data.mdb"), "r+");
  }

  /** Continues in another data file, which the environment already uses. Call it only while no transaction is being written. */
  async continueWith(file: FileHandle): Promise<void> {
    const old = this.file;
    this.file = file;
    this.prepared = 0;
    this.retryAt = 0;
    await old.close();
    // The space for deletions on a full disk.
    await this.prepare(() => 0);
  }

  /** The pages as they were counted last. */
  get pages(): PageCounts {
    return this.counts;
  }

  /** The most pages that transactions may have used since then. */
  get spentPages(): number {
    return this.spent.pages;
  }

  /**
   * Grows the file for a transaction if the disk has space. `need` returns the pages of the transaction, worked out from
   * the current counts.
   */
  async prepare(need: () => number): Promise<void> {
    this.count();
    const pages = need();
    if (this.fits(pages, this.reserve) || performance.now() < this.retryAt) return;
    await this.grow(this.counts.end + pages + this.reserve);
  }

  /** Whether a transaction may be written now. */
  admits(request: ReservationRequest): boolean {
    if (this.shortageFor(request) === undefined) return true;
    if (this.spent.pages === 0) return false;
    this.count();
    return this.shortageFor(request) === undefined;
  }

  /** Returns the error for a transaction that is not admitted: QUOTA or DISK_FULL. */
  refusal(request: ReservationRequest): StoreError {
    const { pages, bytes } = request;
    if (this.shortageFor(request) === "quota") {
      return writeFailed(
        "QUOTA",
        "the change would let the store grow beyond its quota; clear something, or raise the quota",
        {
          expected: `at most ${String(this.quotaBytes)} bytes`,
          actual: `${String(this.heldBytes + bytes)} bytes`,
        },
      );
    }
    return writeFailed(
      "DISK_FULL",
      this.isLimited
        ? `the change does not fit into the data file: ${FILE_SIZE_ADVICE}, or clear something`
        : "the disk has no space for the change; clear something, or free some space on the disk",
      {
        expected: `${String(pages * this.counts.pageBytes)} bytes of free space`,
      },
    );
  }

  /** Counts a transaction that is about to be written. */
  spend({ pages, bytes }: Pick<ReservationRequest, "pages" | "bytes">): void {
    this.spent = { pages: this.spent.pages + pages, bytes: this.spent.bytes + bytes };
  }

  /** Returns the bytes that hold data, and the bytes that the file system still has for this user. */
  async usage(): Promise<{ readonly usedBytes: number; readonly diskFreeBytes: number }> {
    const { used, pageBytes } = this.environment.pages();
    return { usedBytes: used * pageBytes, diskFreeBytes: await this.diskFreeBytes() };
  }

  /**
   * Returns the space after the last page to the file system, and closes the file. Call it when LMDB is closed: nothing may be
   * written any more. Without `pages`, the file keeps its size.
   */
  async close(pages: Pick<PageCounts, "end" | "pageBytes"> | undefined): Promise<void> {
    try {
      if (pages) await this.file.truncate(pages.end * pages.pageBytes);
    } catch {
      // The space stays reserved until the next clean end.
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

  private shortageFor({ pages, bytes, growth, frees }: ReservationRequest): "quota" | "disk" | undefined {
    if (frees && this.fits(pages, 0)) return undefined;
    if (!frees && growth > 0 && this.heldBytes + bytes > this.quotaBytes) return "quota";
    if (this.fits(pages, this.reserve)) return undefined;
    // Pages that LMDB does not find inside the file come out of the reserve, but never more than half of it.
    const isReused = this.counts.free - this.spent.pages >= FREE_PAGES_FACTOR * pages;
    return isReused && this.fits(pages, this.reserve / 2) ? undefined : "disk";
  }

  private count(): void {
    this.counts = this.environment.pages();
    this.prepared = Math.max(this.prepared, this.counts.end);
    this.spent = { pages: 0, bytes: 0 };
  }

  /** Grows the file to at least this many pages, or not at all. Call it only while no transaction is being written. */
  private async grow(end: number): Promise<void> {
    const { pageBytes } = this.counts;
    let at = this.prepared * pageBytes;
    this.retryAt = performance.now() + RETRY_MS;
    // A write to a full disk can take long; this check does not.
    const spare = (await this.diskFreeBytes()) - (end * pageBytes - at);
    if (spare < 0) return;
    const target = end * pageBytes + (spare >= AHEAD_BYTES ? AHEAD_BYTES : 0);
    try {
      while (at < target) {
        const { bytesWritten } = await this.file.write(ZEROS, 0, Math.min(ZEROS.length, target - at), at);
        at += bytesWritten;
      }
      this.retryAt = 0;
      this.isLimited = false;
    } catch (error) {
      // Another program took the space in the meantime, or the process may not write a larger file.
      const { code } = error as NodeJS.ErrnoException;
      if (!FULL.includes(code)) throw error;
      this.isLimited = code === "EFBIG";
    }
    this.prepared = Math.floor(at / pageBytes);
  }

  private async diskFreeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.folder);
    return bavail * bsize;
  }
}

/*
 * Upper limits of the pages that a transaction can take. They hold even if LMDB can reuse no free page, so that a transaction
 * that was admitted never finds the disk full.
 */

/** The parts of a batch or maintenance task that take pages in its transaction. */
export interface WriteLoad {
  /** The size in bytes of the record of each row that is written, without the record's header; 0 for a deleted row. */
  readonly values: readonly number[];
  /** The size in bytes of the longest key of these rows. */
  readonly keyBytes: number;
  /** The size in bytes of each document node that is stored. */
  readonly parts: readonly number[];
  /** The number of document nodes that are deleted. */
  readonly dropped: number;
}

/** LMDB writes the page of a row and all pages above it again, and may split pages on each level. */
const SPLITS = 2;
/** A value of up to this many bytes is stored inside the page of its row. */
const INLINE_BYTES = 1_900;
/** The size of a node's row without its value: its key, and the number of its first page. */
const ROW_BYTES = 64;
/** A batch of fewer rows is estimated row by row, which gives less than the number of all pages of a large store. */
const MANY_ROWS = 64;
/** The size of a row without its key and its value: the header of the record, its root entry, and LMDB's own header. */
const RECORD_BYTES = 96;
/** The size of an entry in a page above the rows, without its key. */
const BRANCH_ENTRY_BYTES = 16;
/**
 * The smallest part of a new page that is filled. LMDB divides a full page by the number of its rows and not by their size. When
 * rows arrive in descending order, each half stays as it is, and a page of long rows holds a single one.
 */
const LEAST_FILL = 1 / 5;
/** A deleted node takes this part of a page in the list of free pages, and as much in the page of its row. */
const DROPPED_NODES_A_PAGE = 4;
/** The most pages of its list of free pages that LMDB writes again in one transaction. */
const FREE_LIST_PAGES = 150;
const FREE_PAGES_A_PAGE = 512;
const TRANSACTION_PAGES = 32;

const overflowPages = (bytes: number, { pageBytes }: PageCounts): number =>
  bytes > INLINE_BYTES ? Math.ceil((bytes + PAGE_HEADER_BYTES) / pageBytes) : 0;

/** Returns the most pages that a transaction takes besides those of its batches. */
export const estimateTransactionPages = ({ free, depth }: PageCounts): number =>
  TRANSACTION_PAGES + depth + Math.min(FREE_LIST_PAGES, Math.ceil(free / FREE_PAGES_A_PAGE));

/**
 * Returns the most pages that a batch takes. `grown` is the most pages that the tree may have gained since the pages were
 * counted.
 */
export function estimateBatchPages(load: WriteLoad, counts: PageCounts, grown = 0): number {
  const { values, parts, dropped } = load;
  let pages = Math.ceil(dropped / DROPPED_NODES_A_PAGE) + estimateRowPages(load, counts, grown);
  for (const bytes of values) pages += overflowPages(bytes, counts);
  if (parts.length === 0) return pages;
  // The rows of new nodes are adjacent and share pages, which are at least half full.
  let rowBytes = 0;
  for (const bytes of parts) {
    pages += overflowPages(bytes, counts);
    rowBytes += ROW_BYTES + (bytes > INLINE_BYTES ? 0 : bytes);
  }
  return pages + Math.ceil((2 * rowBytes) / counts.pageBytes) + counts.depth + SPLITS;
}

/** Returns the most pages of the tree that rows take: pages that are written again, and pages that are split off. */
function estimateRowPages({ values, keyBytes }: WriteLoad, counts: PageCounts, grown: number): number {
  const alone = values.length * (counts.depth + SPLITS);
  return values.length < MANY_ROWS ? alone : Math.min(alone, estimateSharedPages(values, keyBytes, counts, grown));
}

/**
 * Returns the most pages of the tree that many rows take together. LMDB copies each page of the tree at most once in a
 * transaction, however many rows of it change. Each of them may be split once because it was full before, and all further
 * splits need new bytes that fill the pages again.
 */
function estimateSharedPages(
  values: readonly number[],
  keyBytes: number,
  { pageBytes, used, leaves, branches }: PageCounts,
  grown: number,
): number {
  const pageShare = (bytes: number): number => Math.min(1, bytes / (pageBytes * LEAST_FILL));
  let added = 0;
  for (const bytes of values) added += pageShare(RECORD_BYTES + keyBytes + (bytes > INLINE_BYTES ? 0 : bytes));
  const copied = leaves + branches + grown;
  const splits = Math.min(values.length, leaves + grown) + branches + Math.ceil(added);
  // Each split adds an entry to the page above, and a page above has at least two entries.
  const above = Math.ceil(splits * Math.min(1, 2 * pageShare(BRANCH_ENTRY_BYTES + keyBytes)));
  // The pages that the transaction frees are listed, those of replaced long values too.
  const freeList = Math.ceil((used + grown) / FREE_PAGES_A_PAGE);
  return copied + splits + above + freeList;
}
