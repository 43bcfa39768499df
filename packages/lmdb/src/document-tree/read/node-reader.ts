import { crc32 } from "node:zlib";
import { type StoreError, readFailed } from "@bolthole/contract";
import { type DocumentRowKey, describeKey } from "@bolthole/core";
import { documentKey } from "../../keys.js";
import { type NodeEntry, decodeBranch } from "../node.js";

/** The newest durable state, in which every node that a lease holds still exists. */
export interface NodeSource {
  get(key: Buffer): Buffer | undefined;
  /** Returns the value in memory that the next read may overwrite. */
  peek(key: Buffer): Buffer | undefined;
}

/** Reads the nodes of the documents of one row. Throws DAMAGED_RECORD for a node that is damaged or missing. */
export class NodeReader {
  /** The leaf that was read last: ranges that are read one after another are often in the same leaf. */
  private last: { readonly entry: NodeEntry; readonly bytes: Buffer } | undefined;

  constructor(
    private readonly source: NodeSource,
    private readonly key: DocumentRowKey,
    /** Caches the children of branches, for a caller that reads several ranges of one document. */
    private readonly opened?: Map<number, readonly NodeEntry[]>,
  ) {}

  children(branch: NodeEntry): readonly NodeEntry[] {
    const known = this.opened?.get(branch.id);
    if (known) return known;
    const value = this.value(branch);
    const children = value && decodeBranch(branch, value);
    if (!children || lengthOf(children) !== branch.length) throw this.damaged();
    this.opened?.set(branch.id, children);
    return children;
  }

  /** Returns the bytes that a leaf entry references. The caller must not change them. */
  bytes(leaf: NodeEntry): Buffer {
    if (this.last?.entry === leaf) return this.last.bytes;
    const bytes = this.checked(leaf, this.value(leaf));
    this.last = { entry: leaf, bytes };
    return bytes;
  }

  /** Copies the bytes that a leaf entry references to position `at` of `target`. A load calls it for every leaf. */
  copy(leaf: NodeEntry, target: Buffer, at: number): void {
    target.set(this.checked(leaf, this.source.peek(documentKey("node", leaf.id))), at);
  }

  /** Returns all bytes of a leaf, including bytes that the caller has no entry for. They are not checked. */
  leafValue(id: number): Buffer {
    const value = this.source.get(documentKey("node", id));
    if (!value) throw this.damaged();
    return value;
  }

  damaged(): StoreError {
    const record = describeKey(this.key);
    return readFailed("DAMAGED_RECORD", `stored ${record} does not match its checksum`, {
      runtimeId: this.key.runtimeId,
      record,
    });
  }

  private checked({ offset, length, crc32: expected }: NodeEntry, value: Buffer | undefined): Buffer {
    const bytes = value?.subarray(offset, offset + length);
    if (bytes?.length !== length || crc32(bytes) !== expected) throw this.damaged();
    return bytes;
  }

  private value({ id }: NodeEntry): Buffer | undefined {
    return this.source.get(documentKey("node", id));
  }
}

function lengthOf(entries: readonly NodeEntry[]): number {
  let total = 0;
  for (const { length } of entries) total += length;
  return total;
}
