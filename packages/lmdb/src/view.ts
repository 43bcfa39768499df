import type { RuntimeId } from "@bolthole/contract";
import {
  type DocumentRowKey,
  type EntryOf,
  type RowEntry,
  type RowKey,
  type RowRange,
  type View,
  keyText,
} from "@bolthole/core";
import type { NodeReader } from "./document-tree/read/node-reader.js";
import type { ReadTransaction } from "./environment.js";
import type { Writer } from "./group.js";
import { hashedIdOf } from "./hashed-ids.js";
import {
  DEFAULT_ROW_SPACE,
  TABLES,
  encodeKey,
  inputBounds,
  isInDefaultRowSpace,
  keysOfDefaultRowSpace,
  outcomeBounds,
  parseRuntimeKey,
  receiptBounds,
  runtimeBounds,
  trailingReceipt,
  trailingUuid,
} from "./keys.js";
import { type StoredRow, decodeRecord } from "./record.js";

/** Returns a view of one read transaction. `withErrors` wraps the chunks of a document, which may be read when the view has ended. */
export function viewOf(
  transaction: ReadTransaction,
  { trees, spaces }: Pick<Writer, "trees" | "spaces">,
  withErrors: (chunks: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>,
): View {
  const found = new Map<RuntimeId, number>();
  const spaceOf = (runtimeId: RuntimeId): number => {
    if (!spaces.isUsed) return DEFAULT_ROW_SPACE;
    const space = found.get(runtimeId) ?? spaces.spaceOf(runtimeId, transaction);
    found.set(runtimeId, space);
    return space;
  };
  const row = (key: RowKey): StoredRow | undefined => {
    const isInSpace = key.table === "input" || key.table === "receipt";
    const record = transaction.get(isInSpace ? encodeKey(key, spaceOf(key.runtimeId)) : encodeKey(key));
    return record && decodeRecord(record);
  };
  const readers = new Map<string, NodeReader>();
  const readerOf = (key: DocumentRowKey): NodeReader => {
    const name = keyText(key);
    const reader = readers.get(name) ?? trees.rangeReader(key);
    readers.set(name, reader);
    return reader;
  };
  return {
    get: (key) => Promise.resolve(row(key)),
    scan: <R extends RowRange>(range: R, limit: number, bytes = Infinity) =>
      // The switch in `scan` returns the keys of the range's table, which the compiler cannot infer.
      Promise.resolve(scan(transaction, spaceOf, range, { limit, bytes }) as EntryOf<R>[]),
    document: (key, range) => {
      const { root, sequence = 0 } = row(key) ?? {};
      const lease = trees.leases.hold(key.runtimeId, sequence);
      return Promise.resolve(withErrors(trees.read(key, root, lease, range, range && readerOf(key))));
    },
  };
}

/** The most rows of a page, and the bytes of values at which it ends. */
interface PageLimit {
  readonly limit: number;
  readonly bytes: number;
}

function scan(
  transaction: ReadTransaction,
  spaceOf: (runtimeId: RuntimeId) => number,
  range: RowRange,
  most: PageLimit,
): RowEntry[] {
  switch (range.table) {
    case "input":
      return collect(
        transaction,
        inputBounds(range.runtimeId, spaceOf(range.runtimeId), range.after?.inputId),
        most,
        (key) => ({
          table: "input",
          runtimeId: range.runtimeId,
          inputId: trailingUuid(key),
        }),
      );
    case "receipt":
      return collect(
        transaction,
        receiptBounds(range.runtimeId, spaceOf(range.runtimeId), range.after),
        most,
        (key) => ({
          table: "receipt",
          runtimeId: range.runtimeId,
          ...trailingReceipt(key),
        }),
      );
    case "outcome":
      return collect(transaction, outcomeBounds(range.after?.requestId), most, (key) => ({
        table: "outcome",
        requestId: trailingUuid(key),
      }));
    case "runtimeManifest":
      return scanManifests(transaction, range.after?.runtimeId, most.limit);
  }
}

function collect(
  transaction: ReadTransaction,
  { start, end }: { start: Buffer; end: Buffer },
  { limit, bytes }: PageLimit,
  keyOf: (key: Buffer) => RowKey,
): RowEntry[] {
  const entries: RowEntry[] = [];
  let left = bytes;
  for (const { key, value } of transaction.range(start, end)) {
    const row = decodeRecord(value);
    entries.push({ key: keyOf(key), row });
    left -= row.value.length;
    if (entries.length === limit || left <= 0) break;
  }
  return entries;
}

/** Reads runtime manifests. Each is the first row of its runtime, so the scan skips the other rows of the runtime. */
function scanManifests(transaction: ReadTransaction, after: string | undefined, limit: number): RowEntry[] {
  const entries: RowEntry[] = [];
  let { start } = runtimeBounds(after);
  const { end } = runtimeBounds(undefined);
  while (entries.length < limit) {
    const [first] = transaction.range(start, end);
    if (!first) break;
    const { runtimeId: plainId, table, afterRuntime } = parseRuntimeKey(first.key);
    const row = decodeRecord(first.value);
    if (isInDefaultRowSpace(first.key) && isLeftOver(transaction, first.key)) {
      start = afterRuntime;
      continue;
    }
    const runtimeId = plainId ?? hashedIdOf(transaction, first.key);
    if (runtimeId === undefined) {
      // A check of the whole store reports these rows. A runtime without a readable id cannot be addressed.
      start = afterRuntime;
      continue;
    }
    entries.push({
      key: { table: "runtimeManifest", runtimeId },
      row: table === TABLES.runtimeManifest.number ? row : MISSING_MANIFEST,
    });
    start = afterRuntime;
  }
  return entries;
}

/** Whether a row in a default row space belongs to no runtime: it is being deleted, or its runtime has another row space. */
function isLeftOver(transaction: ReadTransaction, key: Buffer): boolean {
  const { pointer, garbage } = keysOfDefaultRowSpace(key);
  return transaction.get(garbage) !== undefined || transaction.get(pointer) !== undefined;
}

/** Replaces a manifest that is missing although its runtime has rows. It matches no checksum, so that the reader reports it. */
const MISSING_MANIFEST = { sequence: -1, checksum: -1, value: Buffer.of() };
