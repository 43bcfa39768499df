import { setImmediate } from "node:timers/promises";
import { crc32 } from "node:zlib";
import type { Finding, RuntimeId } from "@bolthole/contract";
import { describeKey } from "@bolthole/core";
import type { ReadTransaction } from "../../environment.js";
import {
  type DocumentKey,
  documentBounds,
  documentKey,
  documentRowBeside,
  numberOf,
  parseRuntimeKey,
  runtimeBounds,
} from "../../keys.js";
import { decodeRecord } from "../../record.js";
import { type NodeEntry, type NodeReference, decodeBranch, entryOf } from "../node.js";
import { decodeCount, decodeGarbage, decodeStaging } from "../reclaim/reclaim-records.js";

/** The check lets the event loop run other work after this many nodes, or this many keys. */
const YIELD_AFTER_NODES = 32;
const YIELD_AFTER_KEYS = 4096;

/**
 * Checks all documents of an environment in one consistent state. Every node must exist, match its checksum and be
 * referenced exactly as often as its stored count, and nothing else may be stored among the nodes. Everything is read once.
 * The caller ends the transaction, and should not keep it long while much is written, because the data file grows.
 * Yields a finding for each fault, and for work that is not finished: `document-unfinished`.
 */
export async function* checkDocuments(
  transaction: ReadTransaction,
  /** Called with the number of bytes that were read since the last call. */
  onRead?: (bytes: number) => void,
): AsyncGenerator<Finding, void> {
  yield* new DocumentCheck(transaction, onRead).run();
}

class DocumentCheck {
  /** Every node that a document, a garbage record or a staging record accounts for. */
  private readonly known = new IdSet();
  /** The number of nodes and keys that were checked so far. */
  private checked = 0;

  constructor(
    private readonly transaction: ReadTransaction,
    private readonly onRead: ((bytes: number) => void) | undefined,
  ) {}

  async *run(): AsyncGenerator<Finding, void> {
    const dropped = new Map<RuntimeId, NodeReference[]>();
    yield* this.garbage(dropped);
    yield* this.staging();
    for (const { runtimeId, roots } of this.runtimes()) {
      yield* this.runtime(runtimeId, roots, dropped.get(runtimeId) ?? []);
      dropped.delete(runtimeId);
    }
    // The remaining nodes belong to runtimes whose documents were deleted.
    for (const [id, nodes] of dropped) yield* this.runtime(id, [], nodes);
    yield* this.orphans();
  }

  /** Yields the roots of the documents of every runtime. Skips the other rows of each runtime. */
  private *runtimes(): Generator<{ readonly runtimeId: RuntimeId; readonly roots: readonly DocumentRoot[] }, void> {
    let { start } = runtimeBounds(undefined);
    const { end } = runtimeBounds(undefined);
    for (;;) {
      const [first] = this.transaction.keys(start, end);
      if (!first) return;
      const parsed = parseRuntimeKey(first);
      let id = parsed.runtimeId;
      const roots: DocumentRoot[] = [];
      for (const table of ["snapshot", "ops"] as const) {
        const stored = this.transaction.get(documentRowBeside(first, table));
        if (!stored) continue;
        const { root, runtimeId = "" } = decodeRecord(stored);
        id ??= runtimeId;
        if (root) roots.push({ entry: root, record: describeKey({ table, runtimeId: id }) });
      }
      if (id !== undefined && roots.length > 0) yield { runtimeId: id, roots };
      start = parsed.afterRuntime;
    }
  }

  /** Checks the nodes of one runtime. Runtimes never share nodes, so each one is counted alone. */
  private async *runtime(
    runtimeId: RuntimeId,
    roots: readonly DocumentRoot[],
    dropped: readonly NodeReference[],
  ): AsyncGenerator<Finding, void> {
    const references = new Map<number, { times: number; readonly record: string }>();
    // The nodes of one document are read before those of the next, so that each is reported with its record.
    const starts = [
      ...roots.map(({ entry, record }) => ({ nodes: [entry], record })),
      { nodes: dropped, record: DROPPED_RECORD },
    ];
    for (const { nodes, record } of starts) {
      const finding = (code: Finding["code"], text: string): Finding => ({ code, runtimeId, record, text });
      const ahead: (NodeEntry | NodeReference)[] = [...nodes];
      for (let next = ahead.pop(); next; next = ahead.pop()) {
        if (++this.checked % YIELD_AFTER_NODES === 0) await setImmediate();
        const { id } = next;
        const known = references.get(id);
        if (known) known.times += 1;
        else references.set(id, { times: 1, record });
        const value = this.transaction.get(documentKey("node", id));
        if (!value) {
          yield finding("document-missing", `node ${id} is missing`);
          continue;
        }
        this.onRead?.(value.length);
        const children = next.level > 0 ? decodeBranch(next, value) : [];
        if (!children || !matchesEntry(next, value, children)) {
          yield finding("document-damaged", `node ${id} does not match its checksum`);
        }
        // The references of a node count once, however often the node itself is referenced.
        if (children && !known) ahead.push(...children);
      }
    }
    for (const [id, { times, record }] of references) {
      const finding = (code: Finding["code"], text: string): Finding => ({ code, runtimeId, record, text });
      const key = documentKey("count", id);
      const stored = this.transaction.get(key);
      const count = stored ? decodeCount(key, stored) : 1;
      if (count !== times) {
        const text = `node ${id} has ${times} references, but its stored count is ${count}`;
        yield finding("document-miscounted", text);
      }
      if (!this.known.add(id)) {
        yield finding("document-damaged", `node ${id} also belongs to another runtime`);
      }
    }
  }

  private *garbage(dropped: Map<RuntimeId, NodeReference[]>): Generator<Finding, void> {
    for (const { key, value } of this.all("garbage")) {
      const garbage = decodeGarbage(key, value);
      if (!garbage) {
        yield { code: "document-damaged", text: `the garbage record of commit ${numberOf(key)} is damaged` };
        continue;
      }
      const { runtimeId } = garbage;
      const text = `the nodes that commit ${numberOf(key)} dropped are not reclaimed yet`;
      yield { code: "document-unfinished", runtimeId, record: DROPPED_RECORD, text };
      const nodes = dropped.get(runtimeId) ?? [];
      for (const node of garbage.dropped) {
        if (node.isDead) this.known.add(node.id);
        else nodes.push(node);
      }
      dropped.set(runtimeId, nodes);
    }
  }

  private *staging(): Generator<Finding, void> {
    for (const { key, value } of this.all("staging")) {
      const range = decodeStaging(key, value);
      if (!range) {
        yield { code: "document-damaged", text: `the staging record of node ${numberOf(key)} is damaged` };
        continue;
      }
      const text = `nodes ${range.first} to ${range.end - 1} belong to a document that is not committed`;
      yield { code: "document-unfinished", text };
      for (let id = range.first; id < range.end; id += 1) this.known.add(id);
    }
  }

  private async *orphans(): AsyncGenerator<Finding, void> {
    for (const id of this.ids("node")) {
      if (++this.checked % YIELD_AFTER_KEYS === 0) await setImmediate();
      if (!this.known.has(id)) yield { code: "document-orphan", text: `no document references node ${id}` };
    }
    for (const id of this.ids("count")) {
      if (!this.known.has(id)) {
        yield { code: "document-orphan", text: `node ${id} has a reference count, but no references` };
      }
    }
  }

  private all(kind: DocumentKey): ReturnType<ReadTransaction["range"]> {
    const { start, end } = documentBounds(kind);
    return this.transaction.range(start, end);
  }

  private *ids(kind: DocumentKey): Generator<number, void> {
    const { start, end } = documentBounds(kind);
    for (const key of this.transaction.keys(start, end)) yield numberOf(key);
  }
}

/** The root of one document of a runtime. */
interface DocumentRoot {
  readonly entry: NodeEntry;
  /** The name of its row. */
  readonly record: string;
}

/** Stands for the record of nodes that a commit dropped: it is not stored, and most documents are session snapshots. */
const DROPPED_RECORD = "session snapshot";

/** Whether a node has the length and checksum of its entry. A garbage record references a node without them. */
function matchesEntry(entry: NodeEntry | NodeReference, value: Buffer, children: readonly NodeEntry[]): boolean {
  if (!("crc32" in entry)) return true;
  if (entry.level > 0) {
    const { length, crc32 } = entryOf(entry.id, children);
    return length === entry.length && crc32 === entry.crc32;
  }
  const bytes = value.subarray(entry.offset, entry.offset + entry.length);
  return bytes.length === entry.length && crc32(bytes) === entry.crc32;
}

const BLOCK_BITS = 1 << 15;

/** A set of node ids. Stored ids are close together, so most of them need one bit. */
class IdSet {
  private readonly blocks = new Map<number, Uint8Array>();

  has(id: number): boolean {
    const byte = this.blocks.get(Math.floor(id / BLOCK_BITS))?.[(id % BLOCK_BITS) >> 3] ?? 0;
    return (byte & (1 << (id & 7))) !== 0;
  }

  /** Adds an id. Returns false when the set contains it already. */
  add(id: number): boolean {
    if (this.has(id)) return false;
    const number = Math.floor(id / BLOCK_BITS);
    const block = this.blocks.get(number) ?? new Uint8Array(BLOCK_BITS / 8);
    const at = (id % BLOCK_BITS) >> 3;
    block[at] = (block[at] ?? 0) | (1 << (id & 7));
    this.blocks.set(number, block);
    return true;
  }
}
