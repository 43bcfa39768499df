import type { Put } from "../environment.js";
import { documentKey } from "../keys.js";
import type { NodeSource } from "./node-reader.js";
import { seal, unseal, unsealed } from "./sealed.js";

/**
 * How often each node is named: by branches (each entry counts), by a snapshot row, and by garbage records that have yet to
 * give their reference back. Stored only while it is twice or more, so that a tree that shares nothing has no counts.
 * Here as one transaction changes them.
 */
export class ReferenceCounts {
  private readonly changed = new Map<number, number>();

  constructor(private readonly source: NodeSource) {}

  of(id: number): number {
    const changed = this.changed.get(id);
    if (changed !== undefined) return changed;
    const key = documentKey("count", id);
    const value = this.source.get(key);
    return value ? decodeCount(key, value) : 1;
  }

  add(id: number, times: number): void {
    const count = this.of(id);
    if (times !== 0 && Number.isFinite(count)) this.changed.set(id, count + times);
  }

  /** The node is taken away. */
  forget(id: number): void {
    if (this.of(id) > 1) this.changed.set(id, 0);
  }

  puts(): Put[] {
    return [...this.changed].map(([id, count]) => {
      const key = documentKey("count", id);
      return [key, count > 1 ? encodeCount(key, count) : undefined];
    });
  }
}

function encodeCount(key: Buffer, count: number): Buffer {
  const value = unsealed(4);
  value.writeUInt32LE(count);
  return seal(key, value);
}

/** A node whose count is damaged is never taken away: infinitely many name it. */
export const decodeCount = (key: Buffer, value: Buffer): number => unseal(key, value)?.readUInt32LE() ?? Infinity;
