import type { RuntimeId } from "@bolthole/contract";
import type { ReadTransaction } from "./environment.js";
import { isOfRuntime, keysOfDefaultRowSpace, parseRuntimeKey } from "./keys.js";
import { decodeRecord } from "./record.js";
import { decodePointer } from "./row-spaces/space-records.js";

/**
 * Returns the runtime id that the key of a row contains only as a hash. Each row of the runtime has it, and so has the pointer to
 * its row space; the first one in which it is not damaged counts. `first` is the key of the first row of the runtime. Undefined
 * when the id is damaged everywhere.
 */
export function hashedIdOf(transaction: ReadTransaction, first: Buffer): RuntimeId | undefined {
  for (const { key, value } of transaction.range(first, parseRuntimeKey(first).afterRuntime)) {
    const { runtimeId } = decodeRecord(value);
    if (runtimeId !== undefined && isOfRuntime(key, runtimeId)) return runtimeId;
  }
  const { pointer } = keysOfDefaultRowSpace(first);
  const stored = transaction.get(pointer);
  const runtimeId = stored && decodePointer(pointer, stored)?.runtimeId;
  return runtimeId !== undefined && isOfRuntime(first, runtimeId) ? runtimeId : undefined;
}
