import { availableParallelism } from "node:os";
import type { TranscriptRewriteCommit } from "@bolthole/contract";
import { CheckWorkers, type OwnedCheck } from "./check-workers.js";
import { type Finding, checkTranscript } from "./check.js";
import { copyInTurns } from "./in-turns.js";
import { TooMuchWork } from "./work-meter.js";

/** A stored document, not read yet. */
export interface StoredDocument {
  /** In bytes. */
  readonly length: number;
  readonly chunks: AsyncIterable<Uint8Array>;
}

export interface CheckRequest {
  readonly incoming: Uint8Array;
  /** Absent: the document is only read. */
  readonly guard?:
    | { readonly previous: StoredDocument | undefined; readonly commit?: TranscriptRewriteCommit | undefined }
    | undefined;
}

/** Up to this many bytes, incoming and stored together, are checked where they are, in some milliseconds. */
const INLINE_BYTES = 256 * 1024;

/** What a check there may hash and compare. Small documents made for it can ask for more, and get it from a worker. */
const INLINE_WORK = 8 * 1024 * 1024;

/** Checks documents, the large ones on worker threads. */
export class TranscriptChecker {
  private readonly workers = new CheckWorkers(Math.min(2, Math.max(1, availableParallelism() - 1)));

  async check({ incoming, guard }: CheckRequest): Promise<Finding> {
    const stored = guard?.previous;
    const bytes = incoming.length + (stored?.length ?? 0);
    if (bytes > INLINE_BYTES) {
      return this.workers.run(async () => owned(incoming, guard, stored && (await collected(stored))));
    }
    const previous = stored && (await collected(stored));
    try {
      return checkTranscript({ incoming, guard: guard && { previous, commit: guard.commit } }, INLINE_WORK);
    } catch (error) {
      if (!(error instanceof TooMuchWork)) throw error;
      return this.workers.run(() => owned(incoming, guard, previous));
    }
  }
}

/** Copies the incoming document, which is wanted here too, for a worker to own; the stored one was read for it. */
async function owned(
  incoming: Uint8Array,
  guard: CheckRequest["guard"],
  previous: Uint8Array<ArrayBuffer> | undefined,
): Promise<OwnedCheck> {
  const copy = roomFor(incoming.length);
  await copyInTurns(incoming, copy, 0);
  return {
    check: { incoming: copy, guard: guard && { previous, commit: guard.commit } },
    owned: previous ? [copy.buffer, previous.buffer] : [copy.buffer],
  };
}

/** Memory of its own, which a worker can take over; its bytes are what was there before. */
const roomFor = (length: number): Uint8Array<ArrayBuffer> => Buffer.allocUnsafeSlow(length);

async function collected({ length, chunks }: StoredDocument): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = roomFor(length);
  let at = 0;
  for await (const chunk of chunks) {
    await copyInTurns(chunk, bytes, at);
    at += chunk.length;
  }
  return bytes;
}
