import { crc32 } from "node:zlib";
import type { DocumentRecord, LoadedDocument, RuntimeId, Version } from "@bolthole/contract";
import type { ByteBudgetCache } from "./byte-budget-cache.js";

/** The document that a runtime had at one version. This stays true after other writes, because no version is used twice. */
export class CachedDocument {
  constructor(
    readonly version: Version,
    private parts: readonly Uint8Array[],
    /** The CRC-32 of the bytes when they were committed or loaded. The caller shares the bytes and may change them. */
    private readonly checksum: number,
  ) {}

  /** The document. The chunks of a loaded document are joined when this is first read. */
  get bytes(): Buffer {
    const [first = Buffer.of(), ...rest] = this.parts;
    const whole = rest.length === 0 ? first : Buffer.concat(this.parts);
    this.parts = [whole];
    return asBuffer(whole);
  }

  /** Whether these are the bytes that were stored at the version. False when the cached bytes were changed since then. */
  hasBytes(document: Uint8Array): boolean {
    const { bytes } = this;
    return bytes.equals(document) && crc32(bytes) === this.checksum;
  }
}

/** The documents of all kinds that are held, within one budget. */
export type DocumentBudget = ByteBudgetCache<CachedDocument>;

/**
 * The last document of one kind of each runtime that this client committed or loaded.
 *
 * Documents are held by reference and must not be changed by the caller. A changed document makes the next commit slower
 * but not wrong: the daemon refuses the patch because of its checksum, and the document is then sent in full; and
 * `versionOf` does not accept changed bytes.
 */
export class DocumentCache {
  constructor(
    private readonly documents: DocumentBudget,
    private readonly record: DocumentRecord,
  ) {}

  get(runtimeId: RuntimeId): CachedDocument | undefined {
    return this.documents.get(this.nameOf(runtimeId));
  }

  /** Holds a document that is stored at `version`, in place of the runtime's previous one. */
  put(runtimeId: RuntimeId, version: Version, parts: readonly Uint8Array[], checksum: number): void {
    const bytes = parts.reduce((total, { length }) => total + length, runtimeId.length);
    this.documents.set(this.nameOf(runtimeId), new CachedDocument(version, parts, checksum), bytes);
  }

  forget(runtimeId: RuntimeId): void {
    this.documents.delete(this.nameOf(runtimeId));
  }

  /** Returns the version of the cached document if `document` has the same bytes. */
  versionOf(runtimeId: RuntimeId, document: Uint8Array): Version | undefined {
    const cached = this.get(runtimeId);
    return cached?.hasBytes(document) === true ? cached.version : undefined;
  }

  /**
   * Returns the loaded document, and holds it once the caller has read it to the end. When the runtime's entry
   * changed during the load, that entry stays.
   */
  observe<Loaded extends LoadedDocument>(runtimeId: RuntimeId, loaded: Loaded): Loaded {
    const before = this.get(runtimeId);
    if (before?.version === loaded.version || loaded.length > this.documents.maxBytes) return loaded;
    const put = (parts: readonly Uint8Array[], checksum: number): void => {
      if (this.documents.peek(this.nameOf(runtimeId)) === before) this.put(runtimeId, loaded.version, parts, checksum);
    };
    return { ...loaded, chunks: collectChunks(loaded.chunks, put) };
  }

  private nameOf(runtimeId: RuntimeId): string {
    return `${this.record} ${runtimeId}`;
  }
}

/** Yields the chunks, then passes all of them to `complete` with their CRC-32. */
async function* collectChunks(
  chunks: AsyncIterable<Uint8Array>,
  complete: (all: readonly Uint8Array[], checksum: number) => void,
): AsyncGenerator<Uint8Array> {
  const all: Uint8Array[] = [];
  let checksum = 0;
  for await (const chunk of chunks) {
    all.push(chunk);
    checksum = crc32(chunk, checksum);
    yield chunk;
  }
  complete(all, checksum);
}

/** Returns a Buffer over the same memory. */
export const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
