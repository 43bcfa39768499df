import type { RuntimeId } from "@bolthole/contract";
import { seal, unseal, unsealed } from "../checksum.js";
import type { IdRange, NodeReference } from "../node.js";

/*
 * The values in the documents' space that are not nodes. They record which nodes are still needed:
 *
 *   count     how often a node is referenced. Stored only while that is two or more.
 *   garbage   the nodes that one commit dropped. They are deleted in later transactions, when no reader needs them any
 *             more. Until then, everything that the record lists stays.
 *   staging   the nodes of a large document, which are stored before its commit. The commit deletes the record. While the
 *             record exists, its nodes belong to no document.
 *
 *   count:    times (4)
 *   garbage:  length of the runtime id (2)  runtime id  then for each node: id (6)  level (1)  1 when it is dead, else 0 (1)
 *   staging:  the first id that may still be stored (6)  the id after the last one (6)
 *
 * Numbers are little-endian; each value is sealed (see `seal`). Every decoder refuses a value of another length, or with
 * other marks than these, as damaged.
 */

const COUNT_BYTES = 4;

export function encodeCount(key: Buffer, count: number): Buffer {
  const value = unsealed(COUNT_BYTES);
  value.writeUInt32LE(count);
  return seal(key, value);
}

/** Returns a stored count. A damaged one counts as infinitely many references, so that its node is never deleted. */
export function decodeCount(key: Buffer, value: Buffer): number {
  const body = unseal(key, value);
  return body?.length === COUNT_BYTES ? body.readUInt32LE() : Infinity;
}

/** A node that a commit dropped. */
export interface DroppedNode extends NodeReference {
  /**
   * Whether the node has no references any more, and the commit has already given back the references that it contains:
   * then the node is only deleted. Otherwise one reference to the node is to be given back, with all that follows.
   */
  readonly isDead: boolean;
}

export interface Garbage {
  readonly runtimeId: RuntimeId;
  readonly dropped: readonly DroppedNode[];
}

const DROPPED_BYTES = 8;
/** The most nodes in a new garbage record, so that its value stays small. */
const MAX_DROPPED = 4096;

/** Divides a long list of nodes into lists for one garbage record each. */
export function* splitDropped(dropped: readonly DroppedNode[]): Generator<readonly DroppedNode[]> {
  for (let at = 0; at < dropped.length; at += MAX_DROPPED) yield dropped.slice(at, at + MAX_DROPPED);
}

export function encodeGarbage(key: Buffer, { runtimeId, dropped }: Garbage): Buffer {
  const id = Buffer.from(runtimeId, "utf8");
  const value = unsealed(2 + id.length + dropped.length * DROPPED_BYTES);
  value.writeUInt16LE(id.length);
  value.set(id, 2);
  let at = 2 + id.length;
  for (const node of dropped) {
    value.writeUIntLE(node.id, at, 6);
    value[at + 6] = node.level;
    value[at + 7] = node.isDead ? 1 : 0;
    at += DROPPED_BYTES;
  }
  return seal(key, value);
}

/** Returns a garbage record, or undefined when it is damaged. */
export function decodeGarbage(key: Buffer, value: Buffer): Garbage | undefined {
  const body = unseal(key, value);
  if (!body || body.length < 2) return undefined;
  const idEnd = 2 + body.readUInt16LE();
  if (idEnd > body.length || (body.length - idEnd) % DROPPED_BYTES !== 0) return undefined;
  const dropped: DroppedNode[] = [];
  for (let at = idEnd; at < body.length; at += DROPPED_BYTES) {
    const mark = body[at + 7] ?? 0;
    if (mark > 1) return undefined;
    dropped.push({ id: body.readUIntLE(at, 6), level: body[at + 6] ?? 0, isDead: mark === 1 });
  }
  return { runtimeId: body.toString("utf8", 2, idEnd), dropped };
}

const STAGING_BYTES = 12;

export function encodeStaging(key: Buffer, { first, end }: IdRange): Buffer {
  const value = unsealed(STAGING_BYTES);
  value.writeUIntLE(first, 0, 6);
  value.writeUIntLE(end, 6, 6);
  return seal(key, value);
}

/** Returns the node ids of a staging record, or undefined when it is damaged. */
export function decodeStaging(key: Buffer, value: Buffer): IdRange | undefined {
  const body = unseal(key, value);
  if (body?.length !== STAGING_BYTES) return undefined;
  return { first: body.readUIntLE(0, 6), end: body.readUIntLE(6, 6) };
}
