import { shapeRefusal, writeFailed } from "@bolthole/contract";
import type { CheckWorkers } from "../transcript/check-workers.js";
import type { DocumentMemory } from "./document-memory.js";
import type { Incoming } from "./incoming.js";
import { type OpsVerdict, checkOps } from "./ops-check.js";

/** JSON up to this length is checked on the event loop, within a millisecond or two. */
const SHORT_BYTES = 256 * 1024;

/** Checks the JSON of operation snapshots before they are stored. Long JSON is checked on a worker thread. */
export class OpsChecker {
  constructor(
    private readonly documents: DocumentMemory,
    private readonly workers: CheckWorkers,
  ) {}

  /** Throws INVALID_ARGUMENT for JSON that is not an operation snapshot, and BUSY when too many documents wait. */
  async check(incoming: Incoming, field: string): Promise<void> {
    const problem =
      incoming.length <= SHORT_BYTES ? checkOps(await incoming.bytes()) : await this.checkOnWorker(incoming);
    if (problem) throw shapeRefusal(field, writeFailed, problem);
  }

  private checkOnWorker(incoming: Incoming): Promise<OpsVerdict> {
    return this.workers.run(async (worker) => {
      if (incoming.block) return worker.checkOps(incoming.block);
      const block = this.documents.takeNow(incoming.length);
      try {
        await incoming.readInto(block.bytes);
        return await worker.checkOps(block);
      } finally {
        this.documents.giveBack(block);
      }
    });
  }
}
