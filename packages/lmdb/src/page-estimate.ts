import { PAGE_HEADER_BYTES } from "./document-tree/node.js";
import type { PageCounts } from "./environment.js";

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
