import { closeSync, fstatSync, openSync, readSync } from "node:fs";

/*
 * The pages of LMDB's data file, as lmdb-js writes them. Numbers in parentheses are sizes in bytes; numbers are
 * little-endian:
 *
 *   page header   page number (8)  transaction (8)  unused (2)  flags (2)  lower (2) and upper (2), or overflow pages (4)
 *   meta page     page header  magic (4)  version (4)  unused (16)  free tree (48)  main tree (48)  last page (8)
 *                 transaction (8)
 *   tree          page size, only in the first tree (4)  flags (2)  depth (2)  three page counts (24)  entries (8)  root (8)
 *   branch, leaf  page header  offset of each node (2)  free space  nodes
 *   node          page number of the child, or size and flags of the value (6)  key length (2)  key  value
 *
 * Pages 0 and 1 are the meta pages. A value that is too large for its leaf is stored in consecutive overflow pages.
 */
const HEADER = 24;
const NODE_HEADER = 8;
const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const META_PAGES = 2;
const FREE_TREE_AT = 48;
const MAIN_TREE_AT = 96;
const LAST_PAGE_AT = 144;
const TRANSACTION_AT = 152;
const META_BYTES = 168;
const NO_ROOT = 0xffff_ffff_ffff_ffffn;
const BRANCH = 0x01;
const LEAF = 0x02;
const OVERFLOW = 0x04;
const META = 0x08;
const KIND = BRANCH | LEAF | OVERFLOW | META;
/** The flag of a node whose value is in overflow pages, and the size of the reference to them. */
const OVERFLOW_VALUE = 0x01;
const OVERFLOW_REFERENCE_BYTES = 24;
const MAX_DEPTH = 32;

/** Thrown when LMDB could not read the data file safely. */
export class DamagedPagesError extends Error {
  override readonly name = "DamagedPagesError";
}

interface Tree {
  readonly name: "rows" | "free pages";
  readonly depth: number;
  readonly entries: number;
  readonly root: number | undefined;
}

/** A page that is not read yet, and the range that its keys must be in. */
interface Subtree {
  readonly page: number;
  readonly level: number;
  readonly low: Buffer | undefined;
  readonly high: Buffer | undefined;
}

interface Meta {
  readonly pageBytes: number;
  readonly lastPage: number;
  readonly transaction: number;
  readonly free: Tree;
  readonly main: Tree;
}

/**
 * Reads all pages of a data file and checks that both trees are complete, in order and inside the file, that no page is
 * used twice, and that no used page is listed as free. LMDB does not check any of this: it would crash, hang, or overwrite
 * used pages. Values are not read. No process may write the file at the same time. Throws a DamagedPagesError.
 */
export function walkPages(path: string): void {
  const file = openSync(path, "r");
  try {
    new PageWalk(file).run();
  } finally {
    closeSync(file);
  }
}

/**
 * Checks only the meta pages: enough to find a file that was cut short or zeroed, or that LMDB did not write. Throws a
 * DamagedPagesError.
 */
export function checkMetaPages(path: string): void {
  const file = openSync(path, "r");
  try {
    new PageWalk(file).meta();
  } finally {
    closeSync(file);
  }
}

class PageWalk {
  private pageBytes = 0;
  private lastPage = 0;
  private readonly fileBytes: number;
  private used = new Uint8Array();
  /** The last transaction of the file. */
  private transaction = 0;

  constructor(private readonly file: number) {
    this.fileBytes = fstatSync(file).size;
  }

  run(): void {
    const meta = this.meta();
    this.pageBytes = meta.pageBytes;
    this.lastPage = meta.lastPage;
    this.transaction = meta.transaction;
    this.used = new Uint8Array(meta.lastPage + 1);
    this.used.fill(1, 0, META_PAGES);
    this.tree(meta.main, undefined);
    const free: Buffer[] = [];
    this.tree(meta.free, (value) => free.push(value));
    for (const list of free) this.freePages(list);
  }

  meta(): Meta {
    const first = this.metaAt(0);
    const second = this.metaAt(first.pageBytes);
    if (second.pageBytes !== first.pageBytes)
      throw new DamagedPagesError(
        `its meta pages have different page sizes: ${String(first.pageBytes)} and ${String(second.pageBytes)}`,
      );
    return first.transaction >= second.transaction ? first : second;
  }

  private metaAt(offset: number): Meta {
    const name = `page ${offset === 0 ? "0" : "1"}`;
    const page = this.read(offset, META_BYTES, name);
    const pageBytes = page.readUInt32LE(FREE_TREE_AT);
    const flags = page.readUInt16LE(18) & KIND;
    const magic = page.readUInt32LE(HEADER);
    const version = page.readUInt32LE(HEADER + 4) & 0xffff;
    if (flags !== META || magic !== MAGIC || version !== DATA_VERSION) {
      const expected = `flags ${META}, magic ${MAGIC.toString(16)} and version ${DATA_VERSION}`;
      const found = `flags ${flags}, magic ${magic.toString(16)} and version ${version}`;
      throw new DamagedPagesError(`${name} is not a meta page of LMDB: expected ${expected}, found ${found}`);
    }
    const isSize = pageBytes >= 256 && pageBytes <= 65536 && (pageBytes & (pageBytes - 1)) === 0;
    const lastPage = numberAt(page, LAST_PAGE_AT);
    if (!isSize || lastPage < META_PAGES - 1 || (lastPage + 1) * pageBytes > this.fileBytes) {
      throw new DamagedPagesError(
        `the file is too short: expected ${String(lastPage + 1)} pages of ${String(pageBytes)} bytes, ` +
          `found ${String(this.fileBytes)} bytes`,
      );
    }
    return {
      pageBytes,
      lastPage,
      transaction: numberAt(page, TRANSACTION_AT),
      free: treeAt(page, FREE_TREE_AT, "free pages"),
      main: treeAt(page, MAIN_TREE_AT, "rows"),
    };
  }

  private tree(tree: Tree, onValue: ((value: Buffer) => void) | undefined): void {
    const { name, root, depth } = tree;
    if (root === undefined) {
      if (tree.entries !== 0)
        throw new DamagedPagesError(`the tree of ${name} has no root, but ${String(tree.entries)} entries`);
      return;
    }
    if (depth < 1 || depth > MAX_DEPTH) {
      throw new DamagedPagesError(
        `the tree of ${name} has an impossible depth: expected 1 to ${MAX_DEPTH}, found ${String(depth)}`,
      );
    }
    const compare = name === "rows" ? (a: Buffer, b: Buffer) => Buffer.compare(a, b) : compareNumbers;
    let entries = 0;
    let last: Buffer | undefined;
    const ahead: Subtree[] = [{ page: root, level: depth, low: undefined, high: undefined }];
    for (let next = ahead.pop(); next; next = ahead.pop()) {
      const { page, level, low, high } = next;
      const bytes = this.readPage(page, level > 1 ? BRANCH : LEAF);
      const nodes = nodesOf(bytes, page, level > 1);
      const keys = nodes.map((at) => keyAt(bytes, at));
      if (name === "free pages" && keys.some((key, index) => key.length !== 8 && (level === 1 || index > 0))) {
        throw damagedPage(page, "has a key that is not a number");
      }
      if (level > 1) {
        // The last child is pushed first, so that leaves are read in order. The first child has no key.
        for (let index = nodes.length - 1; index >= 0; index -= 1) {
          const child = bytes.readUIntLE(nodes[index] ?? 0, 6);
          ahead.push({
            page: child,
            level: level - 1,
            low: index === 0 ? low : keys[index],
            high: keys[index + 1] ?? high,
          });
        }
        continue;
      }
      for (const [index, key] of keys.entries()) {
        if (last && compare(last, key) >= 0) throw damagedPage(page, "has keys out of order");
        // A search follows the keys of the branches. A key outside their range exists, but no search finds it.
        if ((low && compare(low, key) > 0) || (high && compare(key, high) >= 0)) {
          throw damagedPage(page, "has keys outside the range of the branches above it");
        }
        last = key;
        entries += 1;
        const value = this.value(bytes, nodes[index] ?? 0, page, onValue !== undefined);
        if (value) onValue?.(Buffer.from(value));
      }
    }
    if (entries !== tree.entries) {
      throw new DamagedPagesError(
        `the tree of ${name} is incomplete: expected ${String(tree.entries)} entries, found ${String(entries)}`,
      );
    }
  }

  /** Checks the overflow pages of a value. Returns the value if it is wanted. */
  private value(bytes: Buffer, at: number, page: number, isWanted: boolean): Buffer | undefined {
    const size = bytes.readUInt32LE(at);
    const start = at + NODE_HEADER + bytes.readUInt16LE(at + 6);
    const flags = bytes.readUInt16LE(at + 4);
    if ((flags & ~OVERFLOW_VALUE) !== 0) throw damagedPage(page, `has a value of an unknown kind (flags ${flags})`);
    if ((flags & OVERFLOW_VALUE) === 0) return isWanted ? bytes.subarray(start, start + size) : undefined;
    const first = numberAt(bytes, start);
    const count = numberAt(bytes, start + 16);
    if (count < 1 || count * this.pageBytes < HEADER + size || first + count - 1 > this.lastPage) {
      throw damagedPage(page, "has a value outside the file");
    }
    const firstPage = this.readPage(first, OVERFLOW);
    const found = firstPage.readUInt32LE(20);
    if (found !== count) {
      throw damagedPage(first, `has the wrong number of overflow pages: expected ${count}, found ${found}`);
    }
    for (let next = first + 1; next < first + count; next += 1) this.claim(next);
    return isWanted ? this.read(first * this.pageBytes + HEADER, size, `page ${String(first)}`) : undefined;
  }

  /** Checks a list of free pages. An entry is a page number, or a negative count and then a first page number, or zero. */
  private freePages(list: Buffer): void {
    if (list.length < 8) return;
    const end = Math.min(1 + numberAt(list, 0), Math.floor(list.length / 8));
    for (let index = 1; index < end; index += 1) {
      const entry = Number(list.readBigInt64LE(index * 8));
      if (entry === 0) continue;
      let first = entry;
      let count = 1;
      if (entry < 0) {
        index += 1;
        if (index >= end) throw new DamagedPagesError("a list of free pages is cut short");
        count = -entry;
        first = Number(list.readBigInt64LE(index * 8));
      }
      if (first < META_PAGES || first + count - 1 > this.lastPage) {
        throw new DamagedPagesError(`page ${String(first)} is listed as free, but is not in the file`);
      }
      for (let page = first; page < first + count; page += 1) {
        if (this.used[page] === 1) throw new DamagedPagesError(`page ${String(page)} is used, but listed as free`);
      }
    }
  }

  private readPage(page: number, kind: number): Buffer {
    this.claim(page);
    const bytes = this.read(page * this.pageBytes, this.pageBytes, `page ${String(page)}`);
    const number = numberAt(bytes, 0);
    if (number !== page) throw damagedPage(page, `has the wrong page number: expected ${page}, found ${number}`);
    const found = bytes.readUInt16LE(18);
    if (found !== kind) throw damagedPage(page, `has the wrong kind: expected flags ${kind}, found ${found}`);
    // LMDB writes into a page of the running transaction without a copy: later, this would be such a page, which is read-only.
    const transaction = numberAt(bytes, 8);
    if (transaction > this.transaction) {
      throw damagedPage(page, `was written by transaction ${transaction}, after the last one (${this.transaction})`);
    }
    return bytes;
  }

  private claim(page: number): void {
    if (page < META_PAGES || page > this.lastPage) throw damagedPage(page, "is referenced, but is not in the file");
    if (this.used[page] === 1) throw damagedPage(page, "is referenced twice");
    this.used[page] = 1;
  }

  private read(offset: number, length: number, part: string): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    if (readSync(this.file, bytes, 0, length, offset) !== length)
      throw new DamagedPagesError(`the file is too short: it ends before ${part}`);
    return bytes;
  }
}

/** Returns the positions of the nodes of a page. Each node is inside the page. */
function nodesOf(bytes: Buffer, page: number, isBranch: boolean): number[] {
  const lower = bytes.readUInt16LE(20);
  const upper = bytes.readUInt16LE(22);
  const space = bytes.length - HEADER;
  if (lower > upper || upper > space || lower % 2 !== 0 || (isBranch ? lower < 4 : lower < 2)) {
    throw damagedPage(page, "has an impossible header");
  }
  const nodes: number[] = [];
  for (let at = HEADER; at < HEADER + lower; at += 2) {
    const node = bytes.readUInt16LE(at) + HEADER;
    if (node < HEADER + upper || node + NODE_HEADER > bytes.length)
      throw damagedPage(page, "has a node outside its node area");
    let size = NODE_HEADER + bytes.readUInt16LE(node + 6);
    if (!isBranch) {
      const isOverflow = (bytes.readUInt16LE(node + 4) & OVERFLOW_VALUE) !== 0;
      size += isOverflow ? OVERFLOW_REFERENCE_BYTES : bytes.readUInt32LE(node);
    }
    if (node + size > bytes.length) throw damagedPage(page, "has a node that ends outside the page");
    nodes.push(node);
  }
  return nodes;
}

function treeAt(page: Buffer, at: number, name: Tree["name"]): Tree {
  const root = page.readBigUInt64LE(at + 40);
  return {
    name,
    depth: page.readUInt16LE(at + 6),
    entries: numberAt(page, at + 32),
    root: root === NO_ROOT ? undefined : Number(root),
  };
}

const damagedPage = (page: number, problem: string): DamagedPagesError =>
  new DamagedPagesError(`page ${String(page)} ${problem}`);

const keyAt = (bytes: Buffer, at: number): Buffer =>
  bytes.subarray(at + NODE_HEADER, at + NODE_HEADER + bytes.readUInt16LE(at + 6));

const numberAt = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at));

const compareNumbers = (a: Buffer, b: Buffer): number => {
  const [left, right] = [a.readBigUInt64LE(), b.readBigUInt64LE()];
  return left < right ? -1 : left > right ? 1 : 0;
};
