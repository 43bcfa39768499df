import { type RuntimeId, shapeRefusal, writeFailed } from "@bolthole/contract";
import type { CheckWorkers } from "../transcript/check-workers.js";
import { inMemory } from "../bytes.js";
import type { DocumentParts } from "../engine.js";
import type { DocumentBlock, DocumentMemory } from "./document-memory.js";
import { type OpsVerdict, checkOps } from "./ops-check.js";
import { type OpsIndex, OpsIndexCache, indexOfWhole, shortenOps } from "./ops-index.js";

/** JSON up to this length is checked on the event loop, within a few milliseconds. */
const SHORT_BYTES = 512 * 1024;

/** A text that is to be checked and is not read yet. */
interface UncheckedText {
  readonly length: number;
  /** Memory that contains only this text. A worker may own it during the check. */
  readonly block?: DocumentBlock | undefined;
  bytes(): Promise<Uint8Array>;
  /** Reads the text into memory of its length. */
  readInto(target: Uint8Array): Promise<void>;
}

/** An operation snapshot that is to be stored. */
interface UncheckedOps extends UncheckedText {
  readonly document: DocumentParts;
  /** The stored snapshot whose ranges the parts name. Absent if all parts are new bytes. */
  readonly base?: OpsBase | undefined;
}

interface OpsBase {
  readonly runtimeId: RuntimeId;
  readonly row: { readonly sequence: number };
  /** Puts a text that contains ranges of this snapshot together, in memory of its length. */
  assemble(parts: DocumentParts, target: Uint8Array): Promise<void>;
}

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
  async check(incoming: UncheckedOps, field: string): Promise<OpsIndex> {
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

  private async checkChanges(incoming: UncheckedOps, base: OpsBase, index: OpsIndex): Promise<OpsVerdict> {
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
