import { PAGE_HEADER_BYTES } from "./document-tree/node.js";
import type { PageCounts } from "./environment.js";

/*
 * Upper limits of the pages that a transaction can take. They hold even if LMDB can reuse no free page, so that a transaction
 * that was admitted never finds the disk full.
 */

/** What one batch or maintenance task adds to a transaction, as far as it takes pages. */
export interface WriteLoad {
  /** The size in bytes of the value of each row that is written; 0 for a deleted row. */
  readonly values: readonly number[];
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
/** A deleted node takes this part of a page in the list of free pages, and as much in the page of its row. */
const DROPPED_NODES_A_PAGE = 4;
/** LMDB writes its list of free pages again with every transaction, but at most so many pages of it. */
const FREE_LIST_PAGES = 150;
const FREE_PAGES_A_PAGE = 512;
const TRANSACTION_PAGES = 32;

const overflowPages = (bytes: number, { pageBytes }: PageCounts): number =>
  bytes > INLINE_BYTES ? Math.ceil((bytes + PAGE_HEADER_BYTES) / pageBytes) : 0;

/** Returns the most pages that a transaction takes besides those of its batches. */
export const estimateTransactionPages = ({ free, depth }: PageCounts): number =>
  TRANSACTION_PAGES + depth + Math.min(FREE_LIST_PAGES, Math.ceil(free / FREE_PAGES_A_PAGE));

/** Returns the most pages that a batch takes. */
export function estimateBatchPages({ values, parts, dropped }: WriteLoad, counts: PageCounts): number {
  let pages = Math.ceil(dropped / DROPPED_NODES_A_PAGE);
  for (const bytes of values) pages += counts.depth + SPLITS + overflowPages(bytes, counts);
  if (parts.length === 0) return pages;
  // The rows of new nodes are adjacent and share pages, which are at least half full.
  let rowBytes = 0;
  for (const bytes of parts) {
    pages += overflowPages(bytes, counts);
    rowBytes += ROW_BYTES + (bytes > INLINE_BYTES ? 0 : bytes);
  }
  return pages + Math.ceil((2 * rowBytes) / counts.pageBytes) + counts.depth + SPLITS;
}
