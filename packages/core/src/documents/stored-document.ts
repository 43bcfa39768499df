import { crc32 } from "node:zlib";
import type { ByteRange, LoadedSnapshot, RuntimeId } from "@bolthole/contract";
import { damaged } from "../commit/row";
import { type DocumentParts, StaleBaseError, type Row, type RowKey, type View } from "../engine";
import { copyYielding } from "./yielding";
import { type SnapshotFacts, decodeSnapshotFacts } from "./snapshot-facts";
import { type StoreContext, decodeRow, versionOf } from "../store-context";

export const snapshotKey = (runtimeId: RuntimeId): RowKey => ({ table: "snapshot", runtimeId });

/** What is stored of a runtime's session while the next one is prepared. */
export interface StoredSession {
  readonly runtimeId: RuntimeId;
  readonly row: Row;
  readonly facts: SnapshotFacts;
  /** The document; `Moved` when another one is stored meanwhile. */
  bytes(): Promise<Buffer>;
  /** Reads it into memory of its length. */
  readInto(target: Uint8Array): Promise<void>;
  /** Stretches of it; `Moved` likewise. What they hold is checked as far as the engine can without the whole. */
  readRanges(ranges: readonly ByteRange[]): Promise<Uint8Array[]>;
  /** Puts a document that takes stretches of this one together, in memory of its length; `Moved` likewise. */
  assemble(parts: DocumentParts, target: Uint8Array): Promise<void>;
}

export async function storedSession(context: StoreContext, runtimeId: RuntimeId): Promise<StoredSession | undefined> {
  const key = snapshotKey(runtimeId);
  const row = await context.engine.view((view) => view.get(key));
  if (!row) return undefined;
  const version = versionOf(context, row);
  const facts = decodeRow(key, row, decodeSnapshotFacts);
  const readInto = async (target: Uint8Array): Promise<void> => {
    const loaded = await loadDocument(context, runtimeId);
    if (loaded?.version !== version) throw new StaleBaseError();
    await collect(loaded.chunks, target);
  };
  /** Of this document, not of one that took its place. */
  const look = <T>(read: (view: View) => Promise<T>): Promise<T> =>
    context.engine.view(async (view) => {
      if ((await view.get(key))?.sequence !== row.sequence) throw new StaleBaseError();
      return read(view);
    });
  return {
    runtimeId,
    row,
    facts,
    bytes: () => inMemory(facts.length, readInto),
    readInto,
    readRanges: (ranges) =>
      look(async (view) => {
        const stretches: Uint8Array[] = [];
        for (const range of ranges) {
          stretches.push(await stretch(await view.document(runtimeId, range), range.length));
        }
        return stretches;
      }),
    assemble: (parts, target) =>
      look(async (view) => {
        let at = 0;
        for (const part of parts) {
          if (part instanceof Uint8Array) await copyYielding(part, target, at);
          else await collect(await view.document(runtimeId, part), target, at);
          at += part.length;
        }
      }),
  };
}

/** A document that can be read into memory, in memory of its own. */
export async function inMemory(length: number, readInto: (target: Uint8Array) => Promise<void>): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length);
  await readInto(bytes);
  return bytes;
}

/**
 * The stored document. It fails before its last bytes when what is read is not what was committed. A chunk is valid until the
 * next one is asked for.
 */
export async function loadDocument(context: StoreContext, runtimeId: RuntimeId): Promise<LoadedSnapshot | undefined> {
  const key = snapshotKey(runtimeId);
  const found = await context.engine.view(async (view) => {
    const row = await view.get(key);
    if (!row) return undefined;
    // Before the document is asked for: what an engine gives must be read.
    const facts = decodeRow(key, row, decodeSnapshotFacts);
    return { row, facts, document: await view.document(runtimeId) };
  });
  if (!found) return undefined;
  const { row, facts, document } = found;
  return {
    version: versionOf(context, row),
    length: facts.length,
    profile: facts.profile,
    chunks: verified(key, facts, document),
  };
}

async function* verified(
  key: RowKey,
  facts: SnapshotFacts,
  document: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let length = 0;
  let checksum = 0;
  let held: Uint8Array | undefined;
  for await (const chunk of document) {
    if (held) yield held;
    held = chunk;
    length += chunk.length;
    checksum = crc32(chunk, checksum);
  }
  if (length !== facts.length || checksum !== facts.crc32) throw damaged(key, "does not match its checksum");
  if (held) yield held;
}

/** Chunks that stay what they are. */
export async function* kept(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) yield Buffer.from(chunk);
}

/** A stretch of a document, or what there is of it; mostly a short one, which comes in one piece. */
export async function stretch(document: AsyncIterable<Uint8Array>, length: number): Promise<Uint8Array> {
  let joined: Buffer | undefined;
  let filled = 0;
  for await (const piece of document) {
    if (piece.length === length) return piece;
    joined ??= Buffer.allocUnsafeSlow(length);
    joined.set(piece, filled);
    filled += piece.length;
  }
  return joined?.subarray(0, filled) ?? Buffer.of();
}

async function collect(chunks: AsyncIterable<Uint8Array>, target: Uint8Array, start = 0): Promise<void> {
  let at = start;
  for await (const chunk of chunks) {
    await copyYielding(chunk, target, at);
    at += chunk.length;
  }
}
