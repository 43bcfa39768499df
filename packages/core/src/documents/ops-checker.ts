import { type RuntimeId, shapeRefusal, writeFailed } from "@bolthole/contract";
import type { CheckWorkers } from "../transcript/check-workers.js";
import type { DocumentMemory } from "./document-memory.js";
import type { Incoming } from "./incoming.js";
import { type OpsVerdict, checkOps } from "./ops-check.js";
import { type OpsIndex, OpsIndexCache, indexOfWhole, shortenOps } from "./ops-index.js";
import { type StoredDocument, inMemory } from "./stored-document.js";

/** JSON up to this length is checked on the event loop, within a few milliseconds. */
const SHORT_BYTES = 512 * 1024;

/** A text that is to be checked and is not read yet. */
type UncheckedText = Pick<Incoming, "length" | "block" | "bytes" | "readInto">;

/**
 * Checks the JSON of operation snapshots before they are stored. Of a patch over a snapshot whose index is cached, the results
 * that did not change are not read again. Long JSON is checked on a worker thread.
 */
export class OpsChecker {
  private readonly indexes = new OpsIndexCache();

  constructor(
    private readonly documents: DocumentMemory,
    private readonly workers: CheckWorkers,
    /** Whether patches get incremental checks. If not, the whole JSON is always checked. */
    private readonly isIncremental = true,
  ) {}

  /** Returns the index. Throws INVALID_ARGUMENT for text that is no operation snapshot, and BUSY when too many wait. */
  async check(incoming: Incoming, field: string): Promise<OpsIndex> {
    const { base } = incoming;
    const index = base && this.isIncremental ? this.indexes.get(base.runtimeId, base.row.sequence) : undefined;
    const verdict = await (base && index ? this.checkChanges(incoming, base, index) : this.checkText(incoming));
    if ("problem" in verdict) throw shapeRefusal(field, writeFailed, verdict.problem);
    return verdict.index;
  }

  /** Keeps the index of an accepted snapshot that was committed with this commit sequence. */
  keepIndex(runtimeId: RuntimeId, sequence: number, index: OpsIndex): void {
    this.indexes.put(runtimeId, sequence, index);
  }

  private async checkChanges(incoming: Incoming, base: StoredDocument, index: OpsIndex): Promise<OpsVerdict> {
    const shortened = shortenOps(incoming.document, index);
    const { parts, length } = shortened;
    const readInto = (target: Uint8Array): Promise<void> => base.assemble(parts, target);
    const verdict = await this.checkText({ length, readInto, bytes: () => inMemory(length, readInto) });
    if ("problem" in verdict) return this.checkText(incoming);
    return { index: indexOfWhole(shortened, verdict.index) };
  }

  private async checkText(text: UncheckedText): Promise<OpsVerdict> {
    if (text.length <= SHORT_BYTES) return checkOps(await text.bytes());
    return this.workers.run(async (worker) => {
      if (text.block) return worker.checkOps(text.block);
      const block = this.documents.takeNow(text.length);
      try {
        await text.readInto(block.bytes);
        return await worker.checkOps(block);
      } finally {
        this.documents.giveBack(block);
      }
    });
  }
}
