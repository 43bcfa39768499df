import type { DocumentRowKey, RowKey } from "@bolthole/core";
import { isDocumentRowKey } from "@bolthole/core";
import { Environment, type Put } from "../environment.js";
import { DEFAULT_ROW_SPACE, documentKey, encodeKey, pointerKey } from "../keys.js";
import { decodeRecord } from "../record.js";
import { decodePointer } from "../row-spaces/space-records.js";

/** Changes one value of a store that no process has open, without the store's knowledge. */
export async function damageFolder(folder: string, change: (environment: Environment) => Put): Promise<void> {
  const environment = new Environment(folder);
  await environment.write([change(environment)]);
  await environment.close();
}

/** Returns a change that flips the last bit of a stored value. */
export const lastBitFlipped =
  (key: Buffer) =>
  (environment: Environment): Put => {
    const value = Buffer.from(environment.get(key) ?? "");
    value[value.length - 1] = (value.at(-1) ?? 0) ^ 1;
    return [key, value];
  };

/**
 * A stored value: a row, the pointer to the row set of a runtime, or the root or the first leaf of a row's document. A small
 * document has one node, which is both.
 */
export type StoredValue =
  | { readonly row: RowKey }
  | { readonly rowSetOf: string }
  | { readonly documentOf: DocumentRowKey; readonly node: "root" | "leaf" };

/** Flips one bit of a stored value of a store that no process has open. Returns false when nothing is stored there. */
export async function flipBit(folder: string, value: StoredValue, bit: number): Promise<boolean> {
  const environment = new Environment(folder);
  try {
    const key = keyOf(environment, value);
    const bytes = key && Buffer.from(environment.get(key) ?? "");
    if (!bytes || bytes.length === 0) return false;
    const at = Math.floor(bit / 8) % bytes.length;
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit % 8));
    await environment.write([[key, bytes]]);
    return true;
  } finally {
    await environment.close();
  }
}

function keyOf(environment: Environment, value: StoredValue): Buffer | undefined {
  if ("rowSetOf" in value) return pointerKey(value.rowSetOf);
  if ("documentOf" in value) return nodeKey(environment, value.documentOf, value.node);
  const { row } = value;
  if (isDocumentRowKey(row) || !("runtimeId" in row)) return encodeKey(row);
  const pointer = pointerKey(row.runtimeId);
  const stored = environment.get(pointer);
  return encodeKey(row, (stored && decodePointer(pointer, stored)?.space) ?? DEFAULT_ROW_SPACE);
}

function nodeKey(environment: Environment, row: DocumentRowKey, node: "root" | "leaf"): Buffer | undefined {
  const record = environment.get(encodeKey(row));
  const root = record && decodeRecord(record).root;
  if (!root) return undefined;
  let { id, level } = root;
  // The id of the first child follows the level.
  for (; node === "leaf" && level > 0; level -= 1)
    id = environment.get(documentKey("node", id))?.readUIntLE(1, 6) ?? -1;
  return documentKey("node", id);
}
