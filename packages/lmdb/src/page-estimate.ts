import { PAGE_HEADER_BYTES } from "./document-tree/node.js";
import type { PageCounts } from "./environment.js";

/** What one unit puts into a transaction, as far as it takes pages. */
export interface WriteLoad {
  /** Rows that are written or deleted, with the bytes of their values. */
  readonly values: readonly number[];
  /** Bytes of each node of its documents that is stored. */
  readonly parts: readonly number[];
  /** Nodes that go. */
  readonly dropped: number;
}

/** A row's page is written anew, with all pages above it, and may be split on each level. */
const SPLITS = 2;
/** Up to this many bytes a value lies in its row's own page. */
const INLINE_BYTES = 1_900;
/** Of a node's row beside its value: the key, and where its pages are. */
const ROW_BYTES = 64;
/** A node that goes leaves this part of a page in the list of free pages, and as much in its row's place. */
const DROPPED_NODES_A_PAGE = 4;
/** LMDB writes its list of free pages anew with every transaction, but never more of it than this. */
const FREE_LIST_PAGES = 150;
const FREE_PAGES_A_PAGE = 512;
const TRANSACTION_PAGES = 32;

const pagesOfBytes = (bytes: number, { pageBytes }: PageCounts): number =>
  bytes > INLINE_BYTES ? Math.ceil((bytes + PAGE_HEADER_BYTES) / pageBytes) : 0;

/** The most pages that a transaction takes beside those of its units. */
export const estimateTransactionPages = ({ free, depth }: PageCounts): number =>
  TRANSACTION_PAGES + depth + Math.min(FREE_LIST_PAGES, Math.ceil(free / FREE_PAGES_A_PAGE));

/** The most pages that a unit takes if LMDB finds not one free page for it. */
export function estimateBatchPages({ values, parts, dropped }: WriteLoad, counts: PageCounts): number {
  let pages = Math.ceil(dropped / DROPPED_NODES_A_PAGE);
  for (const bytes of values) pages += counts.depth + SPLITS + pagesOfBytes(bytes, counts);
  if (parts.length === 0) return pages;
  // Nodes lie side by side, so that they share the pages of their rows; these are at least half full.
  let rowBytes = 0;
  for (const bytes of parts) {
    pages += pagesOfBytes(bytes, counts);
    rowBytes += ROW_BYTES + (bytes > INLINE_BYTES ? 0 : bytes);
  }
  return pages + Math.ceil((2 * rowBytes) / counts.pageBytes) + counts.depth + SPLITS;
}
