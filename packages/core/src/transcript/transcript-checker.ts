import type { ByteRange, RuntimeId, TranscriptRewriteCommit } from "@bolthole/contract";
import { LRUCache } from "lru-cache";
import type { DocumentBlock, DocumentMemory } from "../documents/document-memory.js";
import type { DocumentParts } from "../engine.js";
import { CheckWorkers } from "./check-workers.js";
import { type TranscriptVerdict, checkFully } from "./full-check.js";
import { checkIncrementally } from "./incremental/incremental-check.js";
import { ResumableSha256 } from "./incremental/resumable-sha256.js";
import { type SessionIndex, memoryBytes } from "./incremental/session-index.js";
import { WorkLimitError } from "./work-meter.js";

/** A document that is to be stored and is not read yet. */
export interface IncomingDocument {
  /** The length of the whole document in bytes. */
  readonly length: number;
  readonly document: DocumentParts;
  /** The stored document whose ranges the parts name. Absent if all parts are new bytes. */
  readonly base?: StoredDocument | undefined;
  /** Memory that contains only this document. A worker may own it during the check. */
  readonly block?: DocumentBlock | undefined;
  bytes(): Promise<Uint8Array>;
  /** Copies the whole document into memory of its length. */
  readInto(target: Uint8Array): Promise<void>;
}

/** The stored document, not read yet. */
export interface StoredDocument {
  readonly runtimeId: RuntimeId;
  readonly row: { readonly sequence: number };
  readonly facts: { readonly length: number };
  bytes(): Promise<Uint8Array>;
  /** Copies the whole document into memory of its length. */
  readInto(target: Uint8Array): Promise<void>;
  /** Reads byte ranges, in their order. */
  readRanges(ranges: readonly ByteRange[]): Promise<readonly Uint8Array[]>;
}

export interface CheckRequest {
  readonly incoming: IncomingDocument;
  /** The document to compare with. Without it, the document must only be a session. */
  readonly guard?:
    | { readonly previous: StoredDocument | undefined; readonly commit?: TranscriptRewriteCommit | undefined }
    | undefined;
}

export interface CheckOptions {
  /** Whether documents get incremental checks. If not, every document gets a full check. */
  readonly incremental: boolean;
  /** The memory limit of the indexes of stored sessions, in bytes. */
  readonly memoryBytes: number;
}

/** The default of `CheckOptions`: incremental checks, with 64 MiB for the indexes. */
export const DEFAULT_CHECK_OPTIONS: CheckOptions = { incremental: true, memoryBytes: 64 * 1024 * 1024 };

/** Documents up to this size, incoming and stored together, are checked on the event loop, within some milliseconds. */
const INLINE_BYTES = 256 * 1024;

/** The work limit of a check on the event loop. A small document that was made to exceed it is checked on a worker. */
const INLINE_WORK = 8 * 1024 * 1024;

/** A full check of a smaller document costs less than an incremental one. */
const MIN_INDEXED_BYTES = 32 * 1024;

/**
 * Checks session documents by the rules of contract 10.1: incrementally where the index of the stored document is cached, and
 * otherwise fully. Large full checks run on worker threads.
 */
export class TranscriptChecker {
  private readonly indexes: SessionIndexCache;

  constructor(
    private readonly documents: DocumentMemory,
    private readonly options: CheckOptions = DEFAULT_CHECK_OPTIONS,
    private readonly workers: CheckWorkers = new CheckWorkers(),
  ) {
    this.indexes = new SessionIndexCache(options.memoryBytes);
  }

  /** Returns the verdict on a document. Throws `BUSY` when too many large documents wait for a check. */
  async check(request: CheckRequest): Promise<TranscriptVerdict> {
    return (await this.tryIncrementally(request)) ?? (await this.runFullCheck(request));
  }

  /** Keeps the index of an accepted document that was committed with this commit sequence. */
  keepIndex(runtimeId: RuntimeId, sequence: number, verdict: TranscriptVerdict): void {
    if (verdict.kind !== "accepted" || !verdict.index) return;
    this.indexes.put(runtimeId, sequence, verdict.index);
  }

  /** Returns undefined when the document needs a full check. */
  private async tryIncrementally({ incoming, guard }: CheckRequest): Promise<TranscriptVerdict | undefined> {
    const { base, document } = incoming;
    const index = base && this.isIndexed(incoming) ? this.indexes.get(base.runtimeId, base.row.sequence) : undefined;
    if (!base || !index) return undefined;
    return checkIncrementally({ document, index, guard, readRanges: (ranges) => base.readRanges(ranges) });
  }

  /** Whether an index of the document is worthwhile: a client that sent a patch will probably send another one. */
  private isIndexed({ base, length }: IncomingDocument): boolean {
    return this.options.incremental && base !== undefined && length >= MIN_INDEXED_BYTES;
  }

  private async runFullCheck({ incoming, guard }: CheckRequest): Promise<TranscriptVerdict> {
    const stored = guard?.previous;
    if (incoming.length + (stored?.facts.length ?? 0) > INLINE_BYTES) return this.checkOnWorker({ incoming, guard });
    const buildsIndex = this.isIndexed(incoming);
    const bytes = await incoming.bytes();
    const previous = await stored?.bytes();
    const sha256 = buildsIndex ? await ResumableSha256.load() : undefined;
    const check = { incoming: bytes, guard: guard && { previous, commit: guard.commit }, buildsIndex };
    try {
      return checkFully(check, { work: INLINE_WORK, sha256 });
    } catch (error) {
      if (!(error instanceof WorkLimitError)) throw error;
      return this.checkOnWorker({ incoming, guard });
    }
  }

  /** Checks on a worker, which gets the incoming document's own memory, or a copy. */
  private checkOnWorker({ incoming, guard }: CheckRequest): Promise<TranscriptVerdict> {
    const stored = guard?.previous;
    return this.workers.run(async (worker) => {
      const copies: DocumentBlock[] = [];
      const copy = async (length: number, readInto: (target: Uint8Array) => Promise<void>): Promise<DocumentBlock> => {
        const block = this.documents.takeNow(length);
        copies.push(block);
        await readInto(block.bytes);
        return block;
      };
      try {
        const previous = stored && (await copy(stored.facts.length, (target) => stored.readInto(target)));
        const block = incoming.block ?? (await copy(incoming.length, (target) => incoming.readInto(target)));
        const buildsIndex = this.isIndexed(incoming);
        const transcriptGuard = guard && { previous, commit: guard.commit };
        return await worker.checkSession({ incoming: block, guard: transcriptGuard, buildsIndex });
      } finally {
        for (const block of copies) this.documents.giveBack(block);
      }
    });
  }
}

/** Keeps the indexes of stored sessions within a memory limit. The least recently used index is dropped first. */
class SessionIndexCache {
  /** `sequence` is the commit sequence of the snapshot row that the index describes. */
  private readonly entries:
    LRUCache<RuntimeId, { readonly sequence: number; readonly index: SessionIndex }> | undefined;

  /** A limit of 0 bytes keeps nothing. */
  constructor(maxBytes: number) {
    if (maxBytes <= 0) return;
    this.entries = new LRUCache({ maxSize: maxBytes, sizeCalculation: ({ index }) => memoryBytes(index) });
  }

  /** Returns undefined if no index of this runtime is kept, or only that of another snapshot. */
  get(runtimeId: RuntimeId, sequence: number): SessionIndex | undefined {
    const entry = this.entries?.get(runtimeId);
    return entry?.sequence === sequence ? entry.index : undefined;
  }

  put(runtimeId: RuntimeId, sequence: number, index: SessionIndex): void {
    this.entries?.set(runtimeId, { sequence, index });
  }
}
