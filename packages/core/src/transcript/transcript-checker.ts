import { availableParallelism } from "node:os";
import type { TranscriptRewriteCommit } from "@bolthole/contract";
import { CheckWorkers, type OwnedCheck } from "./check-workers.js";
import { type Finding, checkTranscript } from "./check.js";
import { copyInTurns } from "../in-turns.js";
import { TooMuchWork } from "./work-meter.js";

/** A document, not read yet. */
export interface UnreadDocument<B extends Uint8Array = Uint8Array> {
  bytes(): Promise<B>;
}

export interface CheckRequest {
  readonly incoming: UnreadDocument & { readonly length: number };
  /** Absent: the document is only read. */
  readonly guard?:
    | { readonly previous: StoredDocument | undefined; readonly commit?: TranscriptRewriteCommit | undefined }
    | undefined;
}

/** Its bytes are the caller's, to be handed over to a worker. */
export interface StoredDocument extends UnreadDocument<Uint8Array<ArrayBuffer>> {
  readonly facts: { readonly length: number };
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
    if (incoming.length + (stored?.facts.length ?? 0) > INLINE_BYTES) {
      return this.workers.run(async () => owned(await incoming.bytes(), guard, await stored?.bytes()));
    }
    const bytes = await incoming.bytes();
    const previous = await stored?.bytes();
    try {
      return checkTranscript({ incoming: bytes, guard: guard && { previous, commit: guard.commit } }, INLINE_WORK);
    } catch (error) {
      if (!(error instanceof TooMuchWork)) throw error;
      return this.workers.run(() => owned(bytes, guard, previous));
    }
  }
}

/** Copies the incoming document, which is wanted here too, for a worker to own; the stored one was read for it. */
async function owned(
  incoming: Uint8Array,
  guard: CheckRequest["guard"],
  previous: Uint8Array<ArrayBuffer> | undefined,
): Promise<OwnedCheck> {
  const copy = Buffer.allocUnsafeSlow(incoming.length);
  await copyInTurns(incoming, copy, 0);
  return {
    check: { incoming: copy, guard: guard && { previous, commit: guard.commit } },
    owned: previous ? [copy.buffer, previous.buffer] : [copy.buffer],
  };
}
