import { crc32 } from "node:zlib";
import type { ByteRange, LoadedSnapshot, RuntimeId, SessionProfile } from "@bolthole/contract";
import { bufferOf, copyYielding } from "../bytes.js";
import { UnknownFormError, damaged, decodeRow, expectForm } from "../commit/row.js";
import { type DocumentParts, type KeyOf, type Row, type RowKey, StaleBaseError, type View } from "../engine.js";
import { type StoreContext, versionOf } from "../store-context.js";

/** The value of a `snapshot` row: the facts about its document. */
export interface SnapshotFacts {
  readonly profile: SessionProfile;
  /** The length of the document in bytes. */
  readonly length: number;
  /** The CRC-32 of the whole document. */
  readonly crc32: number;
}

const FORM = 1;
const PROFILES: readonly SessionProfile[] = ["session", "opaque"];
const FACTS_BYTES = 14;

export function encodeSnapshotFacts({ profile, length, crc32 }: SnapshotFacts): Uint8Array {
  const bytes = Buffer.allocUnsafe(FACTS_BYTES);
  bytes[0] = FORM;
  bytes[1] = PROFILES.indexOf(profile);
  bytes.writeUInt32LE(crc32, 2);
  bytes.writeDoubleLE(length, 6);
  return bytes;
}

/** Throws `UnknownFormError` for an unknown profile too: any default would turn the guards of the stored profile off. */
export function decodeSnapshotFacts(value: Uint8Array): SnapshotFacts {
  expectForm(value, FORM);
  const bytes = bufferOf(value);
  const profile = PROFILES[bytes.readUInt8(1)];
  if (!profile) throw new UnknownFormError("profile", `a number below ${String(PROFILES.length)}`, value[1]);
  return { profile, crc32: bytes.readUInt32LE(2), length: bytes.readDoubleLE(6) };
}

export const snapshotKey = (runtimeId: RuntimeId): KeyOf<"snapshot"> => ({ table: "snapshot", runtimeId });

/** The stored document of a runtime, over which the next one is prepared. */
export interface StoredSession {
  readonly runtimeId: RuntimeId;
  readonly row: Row;
  readonly facts: SnapshotFacts;
  /** Returns the document. This and all other methods throw `StaleBaseError` when another one is stored. */
  bytes(): Promise<Buffer>;
  /** Reads the document into memory of its length. */
  readInto(target: Uint8Array): Promise<void>;
  /** Returns ranges of the document. Their content is verified as far as the engine can without the whole document. */
  readRanges(ranges: readonly ByteRange[]): Promise<Uint8Array[]>;
  /** Puts a document that contains ranges of this one together, in memory of its length. */
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
    await copyChunks(loaded.chunks, target);
  };
  const viewOfDocument = <T>(read: (view: View) => Promise<T>): Promise<T> =>
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
      viewOfDocument(async (view) => {
        const found: Uint8Array[] = [];
        for (const range of ranges) found.push(await joined(await view.document(runtimeId, range), range.length));
        return found;
      }),
    assemble: (parts, target) =>
      viewOfDocument(async (view) => {
        let at = 0;
        for (const part of parts) {
          if (part instanceof Uint8Array) await copyYielding(part, target, at);
          else await copyChunks(await view.document(runtimeId, part), target, at);
          at += part.length;
        }
      }),
  };
}

/** Reads a document of known length into new memory. */
export async function inMemory(length: number, readInto: (target: Uint8Array) => Promise<void>): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length);
  await readInto(bytes);
  return bytes;
}

/**
 * Returns the stored document. The chunks end with DAMAGED_RECORD before the last one if they differ from the committed document. A
 * chunk is valid until the next one is requested.
 */
export async function loadDocument(context: StoreContext, runtimeId: RuntimeId): Promise<LoadedSnapshot | undefined> {
  const key = snapshotKey(runtimeId);
  const found = await context.engine.view(async (view) => {
    const row = await view.get(key);
    if (!row) return undefined;
    // Before the document is requested: a document that an engine returned must be read.
    const facts = decodeRow(key, row, decodeSnapshotFacts);
    return { row, facts, document: await view.document(runtimeId) };
  });
  if (!found) return undefined;
  const { row, facts, document } = found;
  return {
    version: versionOf(context, row),
    length: facts.length,
    profile: facts.profile,
    chunks: verifiedChunks(key, facts, document),
  };
}

/** Yields each chunk when the next one has been read, so that the last one is yielded only after the checksum was compared. */
async function* verifiedChunks(
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

async function copyChunks(chunks: AsyncIterable<Uint8Array>, target: Uint8Array, start = 0): Promise<void> {
  let at = start;
  for await (const chunk of chunks) {
    await copyYielding(chunk, target, at);
    at += chunk.length;
  }
}
