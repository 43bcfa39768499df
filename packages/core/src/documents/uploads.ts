import { type Hash, createHash, randomUUID } from "node:crypto";
import type { Limits, RuntimeId, UploadSessionSnapshot } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import type { DocumentBlock, DocumentMemory } from "./document-memory.js";
import { releaseMemory } from "./release-memory.js";
import { checkSize, invalid } from "../validate.js";

interface Upload {
  readonly runtimeId: RuntimeId;
  readonly block: DocumentBlock;
  readonly forget: NodeJS.Timeout;
}

/**
 * Documents on their way: received in pieces, kept until a commit uses them, forgotten when nothing happens to them or
 * when the process ends. All of them together stay within `Limits.uploadBytes`.
 */
export class Uploads {
  private readonly sealed = new Map<string, Upload>();
  private reserved = 0;

  constructor(
    private readonly limits: Limits,
    private readonly memory: DocumentMemory,
    /** The memory of a chunk goes back to the system when its bytes were taken. */
    private readonly reusesChunkBuffers: boolean,
  ) {}

  /** Takes all bytes in, and answers the upload's id. What was declared is checked before any of them is taken. */
  async receive({ runtimeId, length, sha256, chunks }: UploadSessionSnapshot): Promise<string> {
    checkSize(length, this.limits.documentBytes, "upload.length", writeFailed);
    if (sha256.length !== 32) {
      throw invalid(writeFailed, "upload.sha256", "32 bytes", `${String(sha256.length)} bytes`);
    }
    if (this.reserved + length > this.limits.uploadBytes) {
      const wanted = String(this.reserved + length);
      throw writeFailed("BUSY", `uploads on their way would have ${wanted} bytes; try again a little later`, {
        runtimeId,
        expected: `at most ${String(this.limits.uploadBytes)} bytes`,
        actual: `${wanted} bytes`,
      });
    }
    this.reserved += length;
    try {
      const block = await this.memory.take(length);
      try {
        await collect(block.bytes, sha256, this.reusesChunkBuffers ? released(chunks) : chunks);
      } catch (error) {
        this.memory.giveBack(block);
        throw error;
      }
      return this.seal(runtimeId, block);
    } catch (error) {
      this.reserved -= length;
      throw error;
    }
  }

  /** The document of an upload, which lives on: only a commit that is applied uses it up. */
  read(runtimeId: RuntimeId, id: string): DocumentBlock {
    const upload = this.sealed.get(id);
    if (upload?.runtimeId !== runtimeId || upload.block.isLost) {
      throw writeFailed("UPLOAD_UNKNOWN", `there is no upload ${id} for this runtime; send the document again`, {
        runtimeId,
        record: "upload_id",
        actual: id,
      });
    }
    upload.forget.refresh();
    return upload.block;
  }

  /** To be called when a commit was applied, and looks at the bytes no more. */
  use(id: string): void {
    const block = this.remove(id);
    if (block) this.memory.giveBack(block);
  }

  private seal(runtimeId: RuntimeId, block: DocumentBlock): string {
    const id = randomUUID();
    const forget = setTimeout(() => {
      // A commit may be about to use it.
      const forgotten = this.remove(id);
      if (forgotten) this.memory.forget(forgotten);
    }, this.limits.uploadIdleSeconds * 1000).unref();
    this.sealed.set(id, { runtimeId, block, forget });
    return id;
  }

  private remove(id: string): DocumentBlock | undefined {
    const upload = this.sealed.get(id);
    if (!upload) return undefined;
    clearTimeout(upload.forget);
    this.sealed.delete(id);
    this.reserved -= upload.block.length;
    return upload.block;
  }
}

async function collect(bytes: Buffer, sha256: Uint8Array, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const { length } = bytes;
  const digest: Hash = createHash("sha256");
  let at = 0;
  for await (const chunk of chunks) {
    if (at + chunk.length > length) {
      throw invalid(writeFailed, "chunk", `${String(length)} bytes in all, as declared`, `more`);
    }
    bytes.set(chunk, at);
    digest.update(chunk);
    at += chunk.length;
  }
  if (at < length) {
    throw invalid(writeFailed, "chunk", `${String(length)} bytes in all, as declared`, `${String(at)} bytes`);
  }
  const actual = digest.digest();
  if (!actual.equals(sha256)) {
    throw invalid(writeFailed, "upload.sha256", actual.toString("hex"), Buffer.from(sha256).toString("hex"));
  }
}

/** A shorter chunk may share its memory with others, and is not worth the trouble. */
const LEAST_RELEASED = 64 * 1024;
/** Of the message that a chunk came in. */
const MESSAGE_BYTES = 64;

/** Chunks that are gone when the next one is asked for: the garbage collector would come late for them. */
async function* released(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    yield chunk;
    const { buffer } = chunk;
    const isAlone = chunk.length >= LEAST_RELEASED && buffer.byteLength - chunk.length <= MESSAGE_BYTES;
    if (isAlone && buffer instanceof ArrayBuffer) releaseMemory(buffer);
  }
}
