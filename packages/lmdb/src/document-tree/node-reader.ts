import { crc32 } from "node:zlib";
import { type RuntimeId, type StoreError, readFailed } from "@bolthole/contract";
import { documentKey } from "../keys.js";
import { type NodeEntry, decodeBranch } from "./node.js";

/** Where nodes are read: the newest durable state, which keeps what a lease holds. */
export interface NodeSource {
  get(key: Buffer): Buffer | undefined;
  /** In memory that the next reading may fill again. */
  peek(key: Buffer): Buffer | undefined;
}

/** Reads nodes of one runtime's documents; what is damaged or missing is DAMAGED_RECORD. */
export class NodeReader {
  /** Stretches that are read after one another often lie in one leaf. */
  private last: { readonly entry: NodeEntry; readonly bytes: Buffer } | undefined;

  constructor(
    private readonly source: NodeSource,
    private readonly runtimeId: RuntimeId,
    /** Keeps the branches that were read, for a reader who comes by them again. */
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

  /** The bytes that a leaf's entry names. They belong to the reader: nobody may change them. */
  bytes(leaf: NodeEntry): Buffer {
    if (this.last?.entry === leaf) return this.last.bytes;
    const bytes = this.checked(leaf, this.value(leaf));
    this.last = { entry: leaf, bytes };
    return bytes;
  }

  /** Copies the bytes that a leaf's entry names to a place that has room for them. */
  copy(leaf: NodeEntry, target: Buffer, at: number): void {
    target.set(this.checked(leaf, this.source.peek(documentKey("node", leaf.id))), at);
  }

  /** All bytes of a leaf, also those that no entry at hand names. */
  leafValue(id: number): Buffer {
    const value = this.source.get(documentKey("node", id));
    if (!value) throw this.damaged();
    return value;
  }

  damaged(): StoreError {
    return readFailed("DAMAGED_RECORD", "stored session snapshot does not match its checksum", {
      runtimeId: this.runtimeId,
      record: "session snapshot",
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
