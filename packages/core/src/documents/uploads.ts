import { createHash, randomUUID } from "node:crypto";
import type { DocumentRecord, Limits, RuntimeId, UploadSessionSnapshot } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { checkSize, invalid } from "../validate.js";
import type { ArrivedBytes } from "./arrived-bytes.js";
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

  constructor(
    private readonly limits: Limits,
    private readonly arrived: ArrivedBytes,
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
    this.arrived.refuseBeyond(runtimeId, length);
    let arrived = 0;
    const onBytes = (bytes: number): void => {
      this.arrived.take(runtimeId, bytes);
      arrived += bytes;
    };
    try {
      const used = this.reusesChunkBuffers ? releasedChunks(chunks) : chunks;
      const block = await this.receiveBlock(length, checkedChunks(used, length, sha256, onBytes));
      return this.add(runtimeId, record, block);
    } catch (error) {
      this.arrived.giveBack(arrived);
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

  /** Receives a document of a known length. Memory for all of it is taken when its beginning has arrived. */
  private async receiveBlock(length: number, chunks: AsyncIterable<Uint8Array>): Promise<DocumentBlock> {
    const beginning = Buffer.allocUnsafeSlow(Math.min(length, BEGINNING_BYTES));
    let block: DocumentBlock | undefined;
    const whole = async (at: number): Promise<DocumentBlock> => {
      const taken = await this.memory.take(length);
      beginning.copy(taken.bytes, 0, 0, at);
      return taken;
    };
    let at = 0;
    try {
      for await (const chunk of chunks) {
        if (!block && at + chunk.length > beginning.length) block = await whole(at);
        (block?.bytes ?? beginning).set(chunk, at);
        at += chunk.length;
      }
      return block ?? (await whole(at));
    } catch (error) {
      if (block) this.memory.giveBack(block);
      throw error;
    }
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
    this.arrived.giveBack(upload.block.length);
    return upload.block;
  }
}

/** The bytes of a document that must have arrived before memory for all of it is taken: others wait for that memory. */
const BEGINNING_BYTES = 1 << 20;

/** Yields the chunks of a document. Throws when they do not have the declared length and digest. */
async function* checkedChunks(
  chunks: AsyncIterable<Uint8Array>,
  length: number,
  sha256: Uint8Array,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const digest = createHash("sha256");
  let at = 0;
  for await (const chunk of chunks) {
    if (at + chunk.length > length) {
      throw invalid(writeFailed, "chunk", `${String(length)} bytes, the declared length`, "more");
    }
    onBytes(chunk.length);
    digest.update(chunk);
    at += chunk.length;
    yield chunk;
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
