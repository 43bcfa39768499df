import { documentKey } from "../keys.js";
import type { IdRange } from "./staged-tree.js";
import { seal, unseal, unsealed } from "./sealed.js";
import type { TreeChanges } from "./tree-changes.js";

/*
 * A large document's nodes are stored in several transactions before its commit. The first of them stores a staging record
 * with the ids of all; the commit takes the record away. Nodes that still lie under a record belong to nobody.
 *
 * On the disk: the first id that may still be there (6), the one after the last (6); sealed.
 */

export function encodeStaging(key: Buffer, { first, end }: IdRange): Buffer {
  const value = unsealed(12);
  value.writeUIntLE(first, 0, 6);
  value.writeUIntLE(end, 6, 6);
  return seal(key, value);
}

/** Nothing, when the record is damaged. */
export function decodeStaging(key: Buffer, value: Buffer): IdRange | undefined {
  const body = unseal(key, value);
  return body && { first: body.readUIntLE(0, 6), end: body.readUIntLE(6, 6) };
}

/**
 * Takes away what was stored under a record, at most `budget` nodes at once, and answers how many. Where a commit has taken
 * the document there is no record, and nothing happens.
 */
export function reclaimStaging(changes: TreeChanges, key: Buffer, budget: number): number {
  const value = changes.source.get(key);
  const range = value && decodeStaging(key, value);
  if (!range) return 0;
  const until = Math.min(range.end, range.first + budget);
  for (let id = range.first; id < until; id += 1) changes.put(documentKey("node", id), undefined);
  changes.put(key, until < range.end ? encodeStaging(key, { first: until, end: range.end }) : undefined);
  return until - range.first;
}
