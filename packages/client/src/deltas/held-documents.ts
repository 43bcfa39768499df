import { crc32 } from "node:zlib";
import { LRUCache } from "lru-cache";
import type { LoadedSnapshot, RuntimeId, Version } from "@bolthole/contract";
import { asBuffer } from "./as-buffer.js";

/** A document that a runtime had at a version. That stays true whatever others do: no version comes twice. */
export class HeldDocument {
  constructor(
    readonly version: Version,
    private parts: readonly Uint8Array[],
    /** CRC-32 of the bytes as they were committed or loaded: they are the caller's, too, and may change. */
    private readonly checksum: number,
  ) {}

  /** A document that was loaded comes in chunks; they are put together when somebody asks. */
  get bytes(): Buffer {
    const [first = Buffer.of(), ...rest] = this.parts;
    const whole = rest.length === 0 ? first : Buffer.concat(this.parts);
    this.parts = [whole];
    return asBuffer(whole);
  }

  /** Whether these bytes are those that the version had. */
  was(document: Uint8Array): boolean {
    const { bytes } = this;
    return bytes.equals(document) && crc32(bytes) === this.checksum;
  }
}

/**
 * The last document that this client committed to or loaded from each runtime, by reference: whoever changes one makes
 * the next commit dearer, not wrong: for a checksum the patch is refused, and the bytes are not taken for the version's. The
 * least used ones go first.
 */
export class HeldDocuments {
  private readonly documents: LRUCache<RuntimeId, HeldDocument>;

  constructor(private readonly maxBytes: number) {
    this.documents = new LRUCache({ maxSize: Math.max(1, maxBytes) });
  }

  get(runtimeId: RuntimeId): HeldDocument | undefined {
    return this.documents.get(runtimeId);
  }

  hold(runtimeId: RuntimeId, version: Version, parts: readonly Uint8Array[], checksum: number): void {
    const size = parts.reduce((total, { length }) => total + length, runtimeId.length);
    // One that is too large by itself takes the older one with it.
    if (size > this.maxBytes) this.forget(runtimeId);
    else this.documents.set(runtimeId, new HeldDocument(version, parts, checksum), { size: Math.max(1, size) });
  }

  forget(runtimeId: RuntimeId): void {
    this.documents.delete(runtimeId);
  }

  /** The version of the held document, if these are its bytes. */
  versionOf(runtimeId: RuntimeId, document: Uint8Array): Version | undefined {
    const held = this.get(runtimeId);
    return held?.was(document) === true ? held.version : undefined;
  }

  /** Holds a document that is read to its end, unless another one came to be held meanwhile. */
  observe(runtimeId: RuntimeId, loaded: LoadedSnapshot): LoadedSnapshot {
    const before = this.get(runtimeId);
    if (before?.version === loaded.version || loaded.length > this.maxBytes) return loaded;
    const hold = (parts: readonly Uint8Array[], checksum: number): void => {
      if (this.documents.peek(runtimeId) === before) this.hold(runtimeId, loaded.version, parts, checksum);
    };
    return { ...loaded, chunks: collecting(loaded.chunks, hold) };
  }
}

async function* collecting(
  chunks: AsyncIterable<Uint8Array>,
  use: (all: readonly Uint8Array[], checksum: number) => void,
): AsyncGenerator<Uint8Array> {
  const all: Uint8Array[] = [];
  let checksum = 0;
  for await (const chunk of chunks) {
    all.push(chunk);
    checksum = crc32(chunk, checksum);
    yield chunk;
  }
  use(all, checksum);
}
