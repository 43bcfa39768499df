import { LRUCache } from "lru-cache";
import type { LoadedSnapshot, RuntimeId, Version } from "@bolthole/contract";
import { asBuffer } from "./as-buffer.js";

/** A document that a runtime had at a version. That stays true whatever others do: no version comes twice. */
export class HeldDocument {
  constructor(
    readonly version: Version,
    private parts: readonly Uint8Array[],
  ) {}

  /** A document that was loaded comes in chunks; they are put together when somebody asks. */
  get bytes(): Buffer {
    const [first = Buffer.of(), ...rest] = this.parts;
    const whole = rest.length === 0 ? first : Buffer.concat(this.parts);
    this.parts = [whole];
    return asBuffer(whole);
  }
}

/**
 * The last document that this client committed to or loaded from each runtime, by reference: whoever changes one makes
 * the next commit dearer (the patch is refused for its checksum), not wrong. The least used ones go first.
 */
export class HeldDocuments {
  private readonly documents: LRUCache<RuntimeId, HeldDocument>;

  constructor(private readonly maxBytes: number) {
    this.documents = new LRUCache({ maxSize: Math.max(1, maxBytes) });
  }

  get(runtimeId: RuntimeId): HeldDocument | undefined {
    return this.documents.get(runtimeId);
  }

  hold(runtimeId: RuntimeId, version: Version, parts: readonly Uint8Array[]): void {
    const size = parts.reduce((total, { length }) => total + length, runtimeId.length);
    // One that is too large by itself takes the older one with it.
    if (size > this.maxBytes) this.forget(runtimeId);
    else this.documents.set(runtimeId, new HeldDocument(version, parts), { size: Math.max(1, size) });
  }

  forget(runtimeId: RuntimeId): void {
    this.documents.delete(runtimeId);
  }

  /** The version of the held document, if these are its bytes. */
  versionOf(runtimeId: RuntimeId, document: Uint8Array): Version | undefined {
    const held = this.get(runtimeId);
    return held?.bytes.equals(document) === true ? held.version : undefined;
  }

  /** Holds a document that is read to its end, unless another one came to be held meanwhile. */
  observe(runtimeId: RuntimeId, loaded: LoadedSnapshot): LoadedSnapshot {
    const before = this.get(runtimeId);
    if (before?.version === loaded.version || loaded.length > this.maxBytes) return loaded;
    const hold = (parts: readonly Uint8Array[]): void => {
      if (this.documents.peek(runtimeId) === before) this.hold(runtimeId, loaded.version, parts);
    };
    return { ...loaded, chunks: collecting(loaded.chunks, hold) };
  }
}

async function* collecting<T>(values: AsyncIterable<T>, use: (all: readonly T[]) => void): AsyncGenerator<T> {
  const all: T[] = [];
  for await (const value of values) {
    all.push(value);
    yield value;
  }
  use(all);
}
