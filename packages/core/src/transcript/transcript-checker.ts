import { availableParallelism } from "node:os";
import type { ByteRange, RuntimeId, TranscriptRewriteCommit } from "@bolthole/contract";
import type { Document } from "../engine.js";
import { copyInTurns } from "../in-turns.js";
import { CheckWorkers, type OwnedCheck } from "./check-workers.js";
import { type Finding, checkTranscript } from "./check.js";
import { checkIncrementally } from "./incremental-check.js";
import { ResumableSha256 } from "./resumable-sha256.js";
import { SessionMemory } from "./session-memory.js";
import { TooMuchWork } from "./work-meter.js";

/** A document that wants to be stored, not read yet. */
export interface IncomingDocument {
  /** In bytes. */
  readonly length: number;
  readonly document: Document;
  /** What it takes stretches from. */
  readonly base?: StoredDocument | undefined;
  bytes(): Promise<Uint8Array>;
}

/** The stored document, not read yet. */
export interface StoredDocument {
  readonly runtimeId: RuntimeId;
  readonly row: { readonly sequence: number };
  readonly facts: { readonly length: number };
  /** They are the caller's, to be handed over to a worker. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
  stretches(ranges: readonly ByteRange[]): Promise<readonly Uint8Array[]>;
}

export interface CheckRequest {
  readonly incoming: IncomingDocument;
  /** Absent: the document is only read. */
  readonly guard?:
    | { readonly previous: StoredDocument | undefined; readonly commit?: TranscriptRewriteCommit | undefined }
    | undefined;
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

  constructor(private readonly options: CheckOptions = DEFAULT_CHECK_OPTIONS) {
    this.memory = new SessionMemory(options.memoryBytes);
  }

  async check(request: CheckRequest): Promise<Finding> {
    return (await this.checkInParts(request)) ?? (await this.checkWhole(request));
  }

  /** Keeps what a check found of a document that was committed since. */
  remember(runtimeId: RuntimeId, sequence: number, finding: Finding): void {
    if (finding.kind !== "accepted" || !finding.remembered) return;
    this.memory.put(runtimeId, sequence, finding.remembered);
  }

  private async checkInParts({ incoming, guard }: CheckRequest): Promise<Finding | undefined> {
    const { base, document } = incoming;
    const before = base && this.remembers(incoming) ? this.memory.get(base.runtimeId, base.row.sequence) : undefined;
    if (!base || !before) return undefined;
    return checkIncrementally({ document, before, guard, read: (stretches) => base.stretches(stretches) });
  }

  /** A client that sends patches will send the next one too. */
  private remembers({ base, length }: IncomingDocument): boolean {
    return this.options.incremental && base !== undefined && length >= LEAST_REMEMBERED;
  }

  private async checkWhole({ incoming, guard }: CheckRequest): Promise<Finding> {
    const stored = guard?.previous;
    const remembers = this.remembers(incoming);
    const facts = { guard, remembers };
    if (incoming.length + (stored?.facts.length ?? 0) > INLINE_BYTES) {
      return this.workers.run(async () => owned(await incoming.bytes(), facts, await stored?.bytes()));
    }
    const bytes = await incoming.bytes();
    const previous = await stored?.bytes();
    const sha256 = remembers ? await ResumableSha256.load() : undefined;
    const check = { incoming: bytes, guard: guard && { previous, commit: guard.commit }, remembers };
    try {
      return checkTranscript(check, { work: INLINE_WORK, sha256 });
    } catch (error) {
      if (!(error instanceof TooMuchWork)) throw error;
      return this.workers.run(() => owned(bytes, facts, previous));
    }
  }
}

/** Copies the incoming document, which is wanted here too, for a worker to own; the stored one was read for it. */
async function owned(
  incoming: Uint8Array,
  { guard, remembers }: { readonly guard: CheckRequest["guard"]; readonly remembers: boolean },
  previous: Uint8Array<ArrayBuffer> | undefined,
): Promise<OwnedCheck> {
  const copy = Buffer.allocUnsafeSlow(incoming.length);
  await copyInTurns(incoming, copy, 0);
  return {
    check: { incoming: copy, guard: guard && { previous, commit: guard.commit }, remembers },
    owned: previous ? [copy.buffer, previous.buffer] : [copy.buffer],
  };
}
