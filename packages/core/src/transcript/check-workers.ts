import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { TranscriptRewriteCommit } from "@bolthole/contract";
import type { DocumentBlock } from "../documents/document-memory.js";
import type { OpsVerdict } from "../documents/ops-check.js";
import { WorkerPool } from "../worker-pool.js";
import type { WorkerCheck, WorkerResult } from "./check-worker.js";
import type { FullCheck, TranscriptVerdict } from "./full-check.js";

/** A full check whose documents are in memory that can be transferred to a worker. */
export interface TransferableCheck {
  readonly incoming: DocumentBlock;
  /** The document to compare with. Without it, the document must only be a session. */
  readonly guard?:
    { readonly previous: DocumentBlock | undefined; readonly commit: TranscriptRewriteCommit | undefined } | undefined;
  readonly buildsIndex: boolean;
}

/** Runs checks on a worker. The memory of the documents belongs to the worker until the promise settles. */
export interface FreeWorker {
  checkSession(check: TransferableCheck): Promise<TranscriptVerdict>;
  /** Checks the JSON of an operation snapshot. */
  checkOps(document: DocumentBlock): Promise<OpsVerdict>;
}

/** Worker threads for checks that would block the event loop. */
export class CheckWorkers {
  private readonly pool: WorkerPool<WorkerCheck, WorkerResult>;

  constructor(size = Math.min(2, Math.max(1, availableParallelism() - 1))) {
    this.pool = new WorkerPool({
      program: join(__dirname, "check-worker.js"),
      size,
      waitingText: "large documents already wait for a check",
      endedText: "the worker that checked a document ended before it returned a verdict",
    });
  }

  /**
   * Calls `task` when a worker is free, so that a waiting check holds no copies of its documents. Throws `BUSY` when too
   * many checks wait.
   */
  run<Verdict>(task: (worker: FreeWorker) => Promise<Verdict>): Promise<Verdict> {
    return this.pool.run((exchange) => {
      const runCheck = async (
        check: WorkerCheck,
        blocks: readonly DocumentBlock[],
      ): Promise<WorkerResult["verdict"]> => {
        const { verdict, memory } = await exchange(
          check,
          blocks.map((block) => block.memory),
        );
        for (const [index, block] of blocks.entries()) block.memory = memory[index] ?? block.memory;
        return verdict;
      };
      return task({
        checkSession: ({ incoming, guard, buildsIndex }) => {
          const session: FullCheck = {
            incoming: incoming.bytes,
            guard: guard && { previous: guard.previous?.bytes, commit: guard.commit },
            buildsIndex,
          };
          const blocks = guard?.previous ? [incoming, guard.previous] : [incoming];
          return runCheck({ session }, blocks) as Promise<TranscriptVerdict>;
        },
        checkOps: (document) => runCheck({ ops: document.bytes }, [document]) as Promise<OpsVerdict>,
      });
    });
  }
}
