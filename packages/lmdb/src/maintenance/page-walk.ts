import { closeSync, fstatSync, openSync, readSync } from "node:fs";

/*
 * The pages of LMDB's data file, as lmdb-js writes them (little-endian):
 *
 *   header        page's number (8)   transaction (8)   2   flags (2)   lower (2), upper (2); or overflow pages (4)
 *   pages 0, 1    header, magic (4), version (4), 16, the two trees (48 each), last page (8), transaction (8)
 *   a tree        page size, only of the first (4)   flags (2)   depth (2)   three counts of pages (24)   entries (8)   root (8)
 *   branch, leaf  header, offsets of the nodes (2 each), free space, the nodes
 *   a node        2, 2, 2: the child's number, or the value's size and flags   length of the key (2)   key, value
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
const VALUE_ELSEWHERE = 0x01;
const ELSEWHERE_BYTES = 24;
const MAX_DEPTH = 32;

/** The file is no data file that the native library could read without harm. */
export class DamagedPages extends Error {
  override readonly name = "DamagedPages";
}

interface Tree {
  readonly name: "rows" | "free pages";
  readonly depth: number;
  readonly entries: number;
  readonly root: number | undefined;
}

/** A page to come, and the keys between which those below it must lie. */
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
 * Reads a data file page by page, by plain reads, as nobody has it open: both trees are whole, in order and within the
 * file, no page belongs to two places, and none that is in use is listed as free. The native library takes all of this for
 * granted, and would crash, hang or write over live pages. Throws DamagedPages. Values are not looked at.
 */
export function walkPages(path: string): void {
  const file = openSync(path, "r");
  try {
    new PageWalk(file).run();
  } finally {
    closeSync(file);
  }
}

/** Reads no more than the file's beginning: enough to tell a file that was cut short, zeroed, or is of another make. */
export function lookAtBeginning(path: string): void {
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

  constructor(private readonly file: number) {
    this.fileBytes = fstatSync(file).size;
  }

  run(): void {
    const meta = this.meta();
    this.pageBytes = meta.pageBytes;
    this.lastPage = meta.lastPage;
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
    if (second.pageBytes !== first.pageBytes) throw new DamagedPages("its two first pages contradict each other");
    return first.transaction >= second.transaction ? first : second;
  }

  private metaAt(offset: number): Meta {
    const page = this.read(offset, META_BYTES, `page ${offset === 0 ? "0" : "1"}`);
    const pageBytes = page.readUInt32LE(FREE_TREE_AT);
    const isMeta = (page.readUInt16LE(18) & KIND) === META && page.readUInt32LE(HEADER) === MAGIC;
    if (!isMeta || (page.readUInt32LE(HEADER + 4) & 0xffff) !== DATA_VERSION) {
      throw new DamagedPages(`page ${offset === 0 ? "0" : "1"} is not the beginning of an LMDB file`);
    }
    const isSize = pageBytes >= 256 && pageBytes <= 65536 && (pageBytes & (pageBytes - 1)) === 0;
    const lastPage = numberAt(page, LAST_PAGE_AT);
    if (!isSize || lastPage < META_PAGES - 1 || (lastPage + 1) * pageBytes > this.fileBytes) {
      throw new DamagedPages(
        `the file has ${String(this.fileBytes)} bytes, its beginning says ${String(lastPage + 1)} pages of ${String(pageBytes)}`,
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
      if (tree.entries !== 0) throw new DamagedPages(`the tree of ${name} has lost its root`);
      return;
    }
    if (depth < 1 || depth > MAX_DEPTH) throw new DamagedPages(`the tree of ${name} is ${String(depth)} pages deep`);
    const compare = name === "rows" ? (a: Buffer, b: Buffer) => Buffer.compare(a, b) : compareNumbers;
    let entries = 0;
    let last: Buffer | undefined;
    const ahead: Subtree[] = [{ page: root, level: depth, low: undefined, high: undefined }];
    for (let next = ahead.pop(); next; next = ahead.pop()) {
      const { page, level, low, high } = next;
      const bytes = this.take(page, level > 1 ? BRANCH : LEAF);
      const nodes = nodesOf(bytes, page, level > 1);
      const keys = nodes.map((at) => keyAt(bytes, at));
      if (name === "free pages" && keys.some((key, index) => key.length !== 8 && (level === 1 || index > 0))) {
        throw damagedPage(page, "has a key that is no number");
      }
      if (level > 1) {
        // Taken from the end, so that the leaves come in order. The first child has no key of its own.
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
        // A search goes by the branches: where they lead elsewhere, a key is there and never found.
        if ((low && compare(low, key) > 0) || (high && compare(key, high) >= 0)) {
          throw damagedPage(page, "has keys that no search would find there");
        }
        last = key;
        entries += 1;
        const value = this.value(bytes, nodes[index] ?? 0, page, onValue !== undefined);
        if (value) onValue?.(Buffer.from(value));
      }
    }
    if (entries !== tree.entries) {
      throw new DamagedPages(`the tree of ${name} has ${String(entries)} entries instead of ${String(tree.entries)}`);
    }
  }

  /** Takes the pages of a value that lies elsewhere. */
  private value(bytes: Buffer, at: number, page: number, isWanted: boolean): Buffer | undefined {
    const size = bytes.readUInt32LE(at);
    const start = at + NODE_HEADER + bytes.readUInt16LE(at + 6);
    const flags = bytes.readUInt16LE(at + 4);
    if ((flags & ~VALUE_ELSEWHERE) !== 0) throw damagedPage(page, "has a value of another kind");
    if ((flags & VALUE_ELSEWHERE) === 0) return isWanted ? bytes.subarray(start, start + size) : undefined;
    const first = numberAt(bytes, start);
    const count = numberAt(bytes, start + 16);
    if (count < 1 || count * this.pageBytes < HEADER + size || first + count - 1 > this.lastPage) {
      throw damagedPage(page, "has a value outside of the file");
    }
    const head = this.take(first, OVERFLOW);
    if (head.readUInt32LE(20) !== count) throw damagedPage(first, "has another length than its value");
    for (let next = first + 1; next < first + count; next += 1) this.claim(next);
    return isWanted ? this.read(first * this.pageBytes + HEADER, size, `page ${String(first)}`) : undefined;
  }

  /** Entries of a list: a page, or a negative length and the first page of so many; zeros are gaps. */
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
        if (index >= end) throw new DamagedPages("a list of free pages breaks off");
        count = -entry;
        first = Number(list.readBigInt64LE(index * 8));
      }
      if (first < META_PAGES || first + count - 1 > this.lastPage) {
        throw new DamagedPages(`page ${String(first)} is listed as free, and is not in the file`);
      }
      for (let page = first; page < first + count; page += 1) {
        if (this.used[page] === 1) throw new DamagedPages(`page ${String(page)} is in use, and listed as free`);
      }
    }
  }

  private take(page: number, kind: number): Buffer {
    this.claim(page);
    const bytes = this.read(page * this.pageBytes, this.pageBytes, `page ${String(page)}`);
    if (numberAt(bytes, 0) !== page) throw damagedPage(page, "says that it is another one");
    if ((bytes.readUInt16LE(18) & KIND) !== kind) throw damagedPage(page, "is of another kind than it is used as");
    return bytes;
  }

  private claim(page: number): void {
    if (page < META_PAGES || page > this.lastPage) throw damagedPage(page, "is named, and not in the file");
    if (this.used[page] === 1) throw damagedPage(page, "is named by two others");
    this.used[page] = 1;
  }

  private read(offset: number, length: number, what: string): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    if (readSync(this.file, bytes, 0, length, offset) !== length)
      throw new DamagedPages(`the file ends before ${what}`);
    return bytes;
  }
}

/** Where the nodes of a page lie, each within its bounds. */
function nodesOf(bytes: Buffer, page: number, isBranch: boolean): number[] {
  const lower = bytes.readUInt16LE(20);
  const upper = bytes.readUInt16LE(22);
  const room = bytes.length - HEADER;
  if (lower > upper || upper > room || lower % 2 !== 0 || (isBranch ? lower < 4 : lower < 2)) {
    throw damagedPage(page, "has a header that cannot be");
  }
  const nodes: number[] = [];
  for (let at = HEADER; at < HEADER + lower; at += 2) {
    const node = bytes.readUInt16LE(at) + HEADER;
    if (node < HEADER + upper || node + NODE_HEADER > bytes.length) throw damagedPage(page, "has a node out of place");
    let size = NODE_HEADER + bytes.readUInt16LE(node + 6);
    if (!isBranch) {
      const isElsewhere = (bytes.readUInt16LE(node + 4) & VALUE_ELSEWHERE) !== 0;
      size += isElsewhere ? ELSEWHERE_BYTES : bytes.readUInt32LE(node);
    }
    if (node + size > bytes.length) throw damagedPage(page, "has a node that is too long");
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

const damagedPage = (page: number, what: string): DamagedPages => new DamagedPages(`page ${String(page)} ${what}`);

const keyAt = (bytes: Buffer, at: number): Buffer =>
  bytes.subarray(at + NODE_HEADER, at + NODE_HEADER + bytes.readUInt16LE(at + 6));

const numberAt = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at));

const compareNumbers = (a: Buffer, b: Buffer): number => {
  const [left, right] = [a.readBigUInt64LE(), b.readBigUInt64LE()];
  return left < right ? -1 : left > right ? 1 : 0;
};
