import { availableParallelism } from "node:os";
import type { ByteRange, RuntimeId, TranscriptRewriteCommit } from "@bolthole/contract";
import type { DocumentBlock, DocumentMemory } from "../documents/document-memory";
import type { DocumentParts } from "../engine.js";
import { CheckWorkers } from "./check-workers.js";
import { type TranscriptVerdict, checkTranscript } from "./check.js";
import { checkIncrementally } from "./incremental-check.js";
import { ResumableSha256 } from "./resumable-sha256.js";
import { SessionMemory } from "./session-memory.js";
import { TooMuchWork } from "./work-meter.js";

/** A document that wants to be stored, not read yet. */
export interface IncomingDocument {
  /** In bytes. */
  readonly length: number;
  readonly document: DocumentParts;
  /** What it takes stretches from. */
  readonly base?: StoredDocument | undefined;
  /** Memory that only this document has; a worker may have it while nobody else looks at it. */
  readonly block?: DocumentBlock | undefined;
  bytes(): Promise<Uint8Array>;
  /** Puts the whole document into memory of its length. */
  readInto(target: Uint8Array): Promise<void>;
}

/** The stored document, not read yet. */
export interface StoredDocument {
  readonly runtimeId: RuntimeId;
  readonly row: { readonly sequence: number };
  readonly facts: { readonly length: number };
  bytes(): Promise<Uint8Array>;
  /** Reads it into memory of its length. */
  readInto(target: Uint8Array): Promise<void>;
  readRanges(ranges: readonly ByteRange[]): Promise<readonly Uint8Array[]>;
}

export interface CheckRequest {
  readonly incoming: IncomingDocument;
  /** Absent: the document is only read. */
  readonly guard?:
    | { readonly previous: StoredDocument | undefined; readonly commit?: TranscriptRewriteCommit | undefined }
    | undefined;
}

interface CheckFacts {
  readonly guard: CheckRequest["guard"];
  readonly remembers: boolean;
}

export interface CheckOptions {
  /** False: every document is checked as a whole. */
  readonly incremental: boolean;
  /** Bytes of memory for what is remembered of stored documents. */
  readonly memoryBytes: number;
}

export const DEFAULT_CHECK_OPTIONS: CheckOptions = { incremental: true, memoryBytes: 64 * 1024 * 1024 };

/** Up to this many bytes, incoming and stored together, are checked where they are, in some milliseconds. */
const INLINE_BYTES = 256 * 1024;

/** What a check there may hash and compare. Small documents made for it can ask for more, and get it from a worker. */
const INLINE_WORK = 8 * 1024 * 1024;

/** Smaller documents are checked as a whole sooner than in parts. */
const LEAST_REMEMBERED = 32 * 1024;

/** Checks documents: in parts where the stored one is remembered, else as a whole, the large ones on worker threads. */
export class TranscriptChecker {
  private readonly workers = new CheckWorkers(Math.min(2, Math.max(1, availableParallelism() - 1)));
  private readonly memory: SessionMemory;

  constructor(
    private readonly documents: DocumentMemory,
    private readonly options: CheckOptions = DEFAULT_CHECK_OPTIONS,
  ) {
    this.memory = new SessionMemory(options.memoryBytes);
  }

  async check(request: CheckRequest): Promise<TranscriptVerdict> {
    return (await this.checkInParts(request)) ?? (await this.checkWhole(request));
  }

  /** Keeps what a check found of a document that was committed since. */
  remember(runtimeId: RuntimeId, sequence: number, finding: TranscriptVerdict): void {
    if (finding.kind !== "accepted" || !finding.remembered) return;
    this.memory.put(runtimeId, sequence, finding.remembered);
  }

  private async checkInParts({ incoming, guard }: CheckRequest): Promise<TranscriptVerdict | undefined> {
    const { base, document } = incoming;
    const before = base && this.remembers(incoming) ? this.memory.get(base.runtimeId, base.row.sequence) : undefined;
    if (!base || !before) return undefined;
    return checkIncrementally({ document, before, guard, read: (stretches) => base.readRanges(stretches) });
  }

  /** A client that sends patches will send the next one too. */
  private remembers({ base, length }: IncomingDocument): boolean {
    return this.options.incremental && base !== undefined && length >= LEAST_REMEMBERED;
  }

  private async checkWhole({ incoming, guard }: CheckRequest): Promise<TranscriptVerdict> {
    const stored = guard?.previous;
    const remembers = this.remembers(incoming);
    const facts = { guard, remembers };
    if (incoming.length + (stored?.facts.length ?? 0) > INLINE_BYTES) {
      return this.checkOnWorker(incoming, facts);
    }
    const bytes = await incoming.bytes();
    const previous = await stored?.bytes();
    const sha256 = remembers ? await ResumableSha256.load() : undefined;
    const check = { incoming: bytes, guard: guard && { previous, commit: guard.commit }, remembers };
    try {
      return checkTranscript(check, { work: INLINE_WORK, sha256 });
    } catch (error) {
      if (!(error instanceof TooMuchWork)) throw error;
      return this.checkOnWorker(incoming, facts);
    }
  }

  /** The worker has the incoming document's own memory, or a copy. */
  private checkOnWorker(incoming: IncomingDocument, { guard, remembers }: CheckFacts): Promise<TranscriptVerdict> {
    const stored = guard?.previous;
    return this.workers.run(async (ask) => {
      const copies: DocumentBlock[] = [];
      const copied = async (length: number, read: (target: Uint8Array) => Promise<void>): Promise<DocumentBlock> => {
        const copy = this.documents.takeNow(length);
        copies.push(copy);
        await read(copy.bytes);
        return copy;
      };
      try {
        const previous = stored && (await copied(stored.facts.length, (target) => stored.readInto(target)));
        const block = incoming.block ?? (await copied(incoming.length, (target) => incoming.readInto(target)));
        return await ask({ incoming: block, guard: guard && { previous, commit: guard.commit }, remembers });
      } finally {
        for (const copy of copies) this.documents.giveBack(copy);
      }
    });
  }
}
