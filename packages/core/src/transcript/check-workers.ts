import { join } from "node:path";
import type { TranscriptRewriteCommit } from "@bolthole/contract";
import type { DocumentBlock } from "../documents/document-memory.js";
import { type Exchange, WorkerPool } from "../worker-pool.js";
import type { WorkerResult } from "./check-worker.js";
import type { FullCheck, TranscriptVerdict } from "./full-check.js";

/** A full check whose documents are in memory that can be transferred to a worker. */
export interface TransferableCheck {
  readonly incoming: DocumentBlock;
  /** The document to compare with. Without it, the document must only be a session. */
  readonly guard?:
    { readonly previous: DocumentBlock | undefined; readonly commit: TranscriptRewriteCommit | undefined } | undefined;
  readonly buildsIndex: boolean;
}

/** Runs a check on a worker. The memory of the documents belongs to the worker until the promise settles. */
type RunCheck = (check: TransferableCheck) => Promise<TranscriptVerdict>;

/** Worker threads for checks that would block the event loop. */
export class CheckWorkers {
  private readonly pool: WorkerPool<FullCheck, WorkerResult>;

  constructor(size: number) {
    this.pool = new WorkerPool({
      program: join(__dirname, "check-worker.js"),
      size,
      waitingText: "large session documents already wait for a check",
      endedText: "the worker that checked a session document ended before it returned a verdict",
    });
  }

  /**
   * Calls `task` when a worker is free, so that a waiting check holds no copies of its documents. Throws `BUSY` when too
   * many checks wait.
   */
  run(task: (runCheck: RunCheck) => Promise<TranscriptVerdict>): Promise<TranscriptVerdict> {
    return this.pool.run((exchange) => task((check) => verdictOf(exchange, check)));
  }
}

async function verdictOf(
  exchange: Exchange<FullCheck, WorkerResult>,
  { incoming, guard, buildsIndex }: TransferableCheck,
): Promise<TranscriptVerdict> {
  const blocks = guard?.previous ? [incoming, guard.previous] : [incoming];
  const check: FullCheck = {
    incoming: incoming.bytes,
    guard: guard && { previous: guard.previous?.bytes, commit: guard.commit },
    buildsIndex,
  };
  const { verdict, memory } = await exchange(
    check,
    blocks.map((block) => block.memory),
  );
  for (const [index, block] of blocks.entries()) block.memory = memory[index] ?? block.memory;
  return verdict;
}
