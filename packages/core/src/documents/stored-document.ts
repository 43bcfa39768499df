import { crc32 } from "node:zlib";
import type { ByteRange, LoadedDocument, RuntimeId } from "@bolthole/contract";
import { copyYielding, inMemory } from "../bytes.js";
import { damaged, decodeRow } from "../commit/row.js";
import {
  type DocumentRowKey,
  type DocumentParts,
  type Row,
  type RowKey,
  StaleBaseError,
  type View,
} from "../engine.js";
import { type StoreContext, versionOf } from "../store-context.js";
import { YieldBudget } from "../yield-budget.js";

/** The facts about a document, which the value of its row holds. */
export interface DocumentFacts {
  /** The length of the document in bytes. */
  readonly length: number;
  /** The CRC-32 of the whole document. */
  readonly crc32: number;
  /** The document itself, if the value of the row is the document. */
  readonly inline?: Uint8Array | undefined;
}

/** A stored document, over which the next one is prepared. */
export interface StoredDocument<Facts extends DocumentFacts = DocumentFacts> {
  readonly runtimeId: RuntimeId;
  readonly row: Row;
  readonly facts: Facts;
  /** Returns the document. This and all other methods throw `StaleBaseError` when another one is stored. */
  bytes(): Promise<Buffer>;
  /** Reads the document into memory of its length. */
  readInto(target: Uint8Array): Promise<void>;
  /** Returns ranges of the document. Their content is verified as far as the engine can without the whole document. */
  readRanges(ranges: readonly ByteRange[]): Promise<Uint8Array[]>;
  /** Puts a document that contains ranges of this one together, in memory of its length. */
  assemble(parts: DocumentParts, target: Uint8Array): Promise<void>;
}

export async function storedDocument<Facts extends DocumentFacts>(
  context: StoreContext,
  key: DocumentRowKey,
  decode: (value: Uint8Array) => Facts,
): Promise<StoredDocument<Facts> | undefined> {
  const row = await context.engine.view((view) => view.get(key));
  if (!row) return undefined;
  const version = versionOf(context, row);
  const facts = decodeRow(key, row, decode);
  const readInto = async (target: Uint8Array): Promise<void> => {
    const loaded = await loadDocument(context, key, decode);
    if (loaded?.version !== version) throw new StaleBaseError();
    await copyChunks(loaded.chunks, target);
  };
  const viewOfDocument = <T>(read: (view: View) => Promise<T>): Promise<T> =>
    context.engine.view(async (view) => {
      if ((await view.get(key))?.sequence !== row.sequence) throw new StaleBaseError();
      return read(view);
    });
  return {
    runtimeId: key.runtimeId,
    row,
    facts,
    bytes: () => inMemory(facts.length, readInto),
    readInto,
    readRanges: (ranges) =>
      viewOfDocument(async (view) => {
        const found: Uint8Array[] = [];
        for (const range of ranges) {
          const bytes = await joined(await contentOf(view, key, facts, range), range.length);
          refuseShortRange(key, facts, range, bytes.length);
          found.push(bytes);
        }
        return found;
      }),
    assemble: (parts, target) =>
      viewOfDocument(async (view) => {
        let at = 0;
        const budget = new YieldBudget();
        for (const part of parts) {
          if (part instanceof Uint8Array) await copyYielding(part, target, at);
          else
            refuseShortRange(key, facts, part, await copyChunks(await contentOf(view, key, facts, part), target, at));
          at += part.length;
          // There may be thousands of short parts.
          const wait = budget.spend();
          if (wait) await wait;
        }
      }),
  };
}

/**
 * Throws DAMAGED_RECORD when a range was not read to its end, because the engine found less of the document than the row says. The
 * missing bytes would otherwise be those that the memory had before, and a check would refuse them as the caller's.
 */
function refuseShortRange(key: RowKey, { length }: DocumentFacts, range: ByteRange, found: number): void {
  if (found < Math.min(range.length, length - range.offset)) throw damaged(key, "does not match its checksum");
}

/** Returns the bytes of a document, or of a range of it, from the value of its row or from the engine. */
function contentOf(
  view: View,
  key: DocumentRowKey,
  { inline }: DocumentFacts,
  range?: ByteRange,
): Promise<AsyncIterable<Uint8Array>> {
  if (!inline) return view.document(key, range);
  return Promise.resolve(piecesOf(range ? inline.subarray(range.offset, range.offset + range.length) : inline));
}

const PIECE_BYTES = 1 << 20;

// eslint-disable-next-line @typescript-eslint/require-await -- the bytes are in memory; a document of an engine is not
async function* piecesOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}

/** A stored document that is read in chunks, with the facts about it. */
export interface LoadedChunks<Facts extends DocumentFacts> extends LoadedDocument {
  readonly facts: Facts;
}

/**
 * Returns the stored document. The chunks end with DAMAGED_RECORD before the last one if they differ from the committed document. A
 * chunk is valid until the next one is requested.
 */
export async function loadDocument<Facts extends DocumentFacts>(
  context: StoreContext,
  key: DocumentRowKey,
  decode: (value: Uint8Array) => Facts,
): Promise<LoadedChunks<Facts> | undefined> {
  const found = await context.engine.view(async (view) => {
    const row = await view.get(key);
    if (!row) return undefined;
    // Before the document is requested: a document that an engine returned must be read.
    const facts = decodeRow(key, row, decode);
    return { row, facts, document: await contentOf(view, key, facts) };
  });
  if (!found) return undefined;
  const { row, facts, document } = found;
  return {
    version: versionOf(context, row),
    length: facts.length,
    facts,
    chunks: verifiedChunks(key, facts, document),
  };
}

/** Yields each chunk when the next one has been read, so that the last one is yielded only after the checksum was compared. */
async function* verifiedChunks(
  key: RowKey,
  facts: DocumentFacts,
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

/** Yields copies, whose memory is not reused. */
export async function* copiedChunks(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) yield Buffer.from(chunk);
}

/** Returns the pieces of a range as one. The range may end early; a short one is mostly one piece, which is not copied. */
export async function joined(pieces: AsyncIterable<Uint8Array>, length: number): Promise<Uint8Array> {
  let whole: Buffer | undefined;
  let filled = 0;
  for await (const piece of pieces) {
    if (piece.length === length) return piece;
    whole ??= Buffer.allocUnsafeSlow(length);
    whole.set(piece, filled);
    filled += piece.length;
  }
  return whole?.subarray(0, filled) ?? Buffer.of();
}

/** Copies chunks, and returns their length. */
async function copyChunks(chunks: AsyncIterable<Uint8Array>, target: Uint8Array, start = 0): Promise<number> {
  let at = start;
  for await (const chunk of chunks) {
    await copyYielding(chunk, target, at);
    at += chunk.length;
  }
  return at - start;
}
