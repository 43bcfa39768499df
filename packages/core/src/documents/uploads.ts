import { createHash, randomUUID } from "node:crypto";
import type { DocumentRecord, Limits, RuntimeId, UploadSessionSnapshot } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { checkSize, invalid } from "../validate.js";
import { type DocumentBlock, type DocumentMemory, releaseMemory } from "./document-memory.js";

interface Upload {
  readonly runtimeId: RuntimeId;
  readonly record: DocumentRecord;
  readonly block: DocumentBlock;
  readonly idleTimer: NodeJS.Timeout;
}

/**
 * Documents that were received in chunks before the commit that uses them. An upload that is not used is dropped after
 * `Limits.uploadIdleSeconds`, or when the process ends. All uploads together stay within `Limits.uploadBytes`.
 */
export class Uploads {
  private readonly received = new Map<string, Upload>();
  private reservedBytes = 0;

  constructor(
    private readonly limits: Limits,
    private readonly memory: DocumentMemory,
    /** Whether the memory of a chunk is released when its bytes have been copied. */
    private readonly reusesChunkBuffers: boolean,
  ) {}

  /** Receives a document and returns the id of the upload. The declared length is checked before any chunk is read. */
  async receive({
    runtimeId,
    record = "session_snapshot",
    length,
    sha256,
    chunks,
  }: UploadSessionSnapshot): Promise<string> {
    const { documentBytes, operationSnapshotBytes } = this.limits;
    const limit = record === "ops_lifecycle" ? operationSnapshotBytes : documentBytes;
    checkSize(length, limit, "upload.length", writeFailed);
    if (sha256.length !== 32) {
      throw invalid(writeFailed, "upload.sha256", "32 bytes", `${String(sha256.length)} bytes`);
    }
    if (this.reservedBytes + length > this.limits.uploadBytes) {
      const wanted = String(this.reservedBytes + length);
      throw writeFailed("BUSY", `all uploads together would have ${wanted} bytes; try again a little later`, {
        runtimeId,
        expected: `at most ${String(this.limits.uploadBytes)} bytes`,
        actual: `${wanted} bytes`,
      });
    }
    this.reservedBytes += length;
    try {
      const block = await this.memory.take(length);
      try {
        await receiveInto(block.bytes, sha256, this.reusesChunkBuffers ? releasedChunks(chunks) : chunks);
      } catch (error) {
        this.memory.giveBack(block);
        throw error;
      }
      return this.add(runtimeId, record, block);
    } catch (error) {
      this.reservedBytes -= length;
      throw error;
    }
  }

  /** Returns the document of an upload. The upload stays until a commit that uses it is applied. */
  read(runtimeId: RuntimeId, record: DocumentRecord, id: string): DocumentBlock {
    const upload = this.received.get(id);
    if (upload?.runtimeId !== runtimeId || upload.record !== record || upload.block.isLost) {
      const text = `there is no upload ${id} for this record of this runtime; send the document again`;
      throw writeFailed("UPLOAD_UNKNOWN", text, {
        runtimeId,
        record: "upload_id",
        actual: id,
      });
    }
    upload.idleTimer.refresh();
    return upload.block;
  }

  /** Drops an upload after its commit. Its bytes must not be read any more. */
  use(id: string): void {
    const block = this.remove(id);
    if (block) this.memory.giveBack(block);
  }

  private add(runtimeId: RuntimeId, record: DocumentRecord, block: DocumentBlock): string {
    const id = randomUUID();
    const idleTimer = setTimeout(() => {
      // A commit may have begun to read it, so its memory cannot be reused.
      const dropped = this.remove(id);
      if (dropped) this.memory.forget(dropped);
    }, this.limits.uploadIdleSeconds * 1000).unref();
    this.received.set(id, { runtimeId, record, block, idleTimer });
    return id;
  }

  private remove(id: string): DocumentBlock | undefined {
    const upload = this.received.get(id);
    if (!upload) return undefined;
    clearTimeout(upload.idleTimer);
    this.received.delete(id);
    this.reservedBytes -= upload.block.length;
    return upload.block;
  }
}

async function receiveInto(target: Buffer, sha256: Uint8Array, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const { length } = target;
  const digest = createHash("sha256");
  let at = 0;
  for await (const chunk of chunks) {
    if (at + chunk.length > length) {
      throw invalid(writeFailed, "chunk", `${String(length)} bytes, the declared length`, "more");
    }
    target.set(chunk, at);
    digest.update(chunk);
    at += chunk.length;
  }
  if (at < length) {
    throw invalid(writeFailed, "chunk", `${String(length)} bytes, the declared length`, `${String(at)} bytes`);
  }
  const actual = digest.digest();
  if (!actual.equals(sha256)) {
    throw invalid(writeFailed, "upload.sha256", actual.toString("hex"), Buffer.from(sha256).toString("hex"));
  }
}

/** A shorter chunk may share its memory with others, and releasing it is not worth the cost. */
const LEAST_RELEASED_BYTES = 64 * 1024;
/** The part of a chunk's memory that belongs to the message around it, at most. */
const MESSAGE_BYTES = 64;

/** Yields chunks, and releases the memory of each one when the next one is requested: the garbage collector would do it late. */
async function* releasedChunks(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    yield chunk;
    const { buffer } = chunk;
    const isAlone = chunk.length >= LEAST_RELEASED_BYTES && buffer.byteLength - chunk.length <= MESSAGE_BYTES;
    if (isAlone && buffer instanceof ArrayBuffer) releaseMemory(buffer);
  }
}
