import type { RuntimeId } from "@bolthole/contract";
import { documentKey } from "../keys.js";
import { type NodeName, decodeBranch } from "./node.js";
import { seal, unseal, unsealed } from "./sealed.js";
import type { TreeChanges } from "./tree-changes.js";

/*
 * What a commit drops goes into garbage records of the same transaction, and is reclaimed in later ones, when no reader can
 * know of it any more. Until then everything that it names stays.
 *
 * On the disk: length of the runtime's id (2), the id, then for each node: id (6), level (1), 1 for a dead one (1); sealed.
 */

export interface Dropped extends NodeName {
  /**
   * Nothing names the node, and what it named was given back by the commit: it is only taken away. Otherwise one reference
   * to the node is to be given back, with all that follows.
   */
  readonly isDead: boolean;
}

export interface Garbage {
  readonly runtimeId: RuntimeId;
  readonly dropped: readonly Dropped[];
}

const DROPPED_BYTES = 8;
/** A new record holds at most this many, so that it stays a small value. */
const MAX_DROPPED = 4096;

/** Long lists go into several records. */
export function* splitDropped(dropped: readonly Dropped[]): Generator<readonly Dropped[]> {
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

/** Nothing, when the record is damaged. */
export function decodeGarbage(key: Buffer, value: Buffer): Garbage | undefined {
  const body = unseal(key, value);
  if (!body) return undefined;
  const idEnd = 2 + body.readUInt16LE();
  const dropped: Dropped[] = [];
  for (let at = idEnd; at < body.length; at += DROPPED_BYTES) {
    dropped.push({ id: body.readUIntLE(at, 6), level: body[at + 6] ?? 0, isDead: body[at + 7] === 1 });
  }
  return { runtimeId: body.toString("utf8", 2, idEnd), dropped };
}

/**
 * Reclaims what a record holds, at most `budget` nodes of it, and answers how many; what is left stays in the record. A damaged branch is taken
 * away alone and a damaged record is left: `verify` finds what they named.
 */
export function reclaimGarbage(changes: TreeChanges, key: Buffer, budget: number): number {
  const value = changes.source.get(key);
  const garbage = value && decodeGarbage(key, value);
  if (!garbage) return 0;
  const ahead = [...garbage.dropped];
  let used = 0;
  for (let node = ahead.pop(); node; node = used < budget ? ahead.pop() : undefined) {
    if (node.isDead || changes.giveBack(node.id)) ahead.push(...take(changes, node));
    used += 1;
  }
  changes.put(key, ahead.length > 0 ? encodeGarbage(key, { ...garbage, dropped: ahead }) : undefined);
  return used;
}

/** Takes a node away; answers what it named, to be given back. */
function take(changes: TreeChanges, { id, level, isDead }: Dropped): Dropped[] {
  const key = documentKey("node", id);
  const value = level > 0 && !isDead ? changes.source.get(key) : undefined;
  changes.put(key, undefined);
  const children = value && decodeBranch({ id, level }, value);
  return children?.map(givenBack) ?? [];
}

const givenBack = ({ id, level }: NodeName): Dropped => ({ id, level, isDead: false });
