import type { ByteRange, RuntimeId } from "@bolthole/contract";
import type { Document } from "@bolthole/core";
import type { Environment } from "../environment.js";
import { documentKey } from "../keys.js";
import { Draft } from "./draft.js";
import { type Lease, Leases } from "./lease.js";
import { NodeIds } from "./node-ids.js";
import { NodeReader } from "./node-reader.js";
import type { Entry } from "./node.js";
import { type Chore, Reclaimer } from "./reclaimer.js";
import { splice } from "./splice.js";
import { type StagedTree, stagedTree } from "./staged-tree.js";
import { encodeStaging } from "./staging.js";
import { TreeChanges } from "./tree-changes.js";
import { Turns } from "./turns.js";
import { Walk } from "./walk.js";

/** New nodes of more bytes than this are stored before the commit, in transactions of about this size. */
const SLICE_BYTES = 1 << 20;
/** What a load gives at a time. */
const CHUNK_BYTES = 1 << 20;

/** The document that a commit may share nodes with. */
export interface Base {
  /** Of its snapshot row. */
  readonly sequence: number;
  readonly root: Entry | undefined;
  readonly lease: Lease;
}

/** The documents of one environment: staged outside the writer, put in place inside it, read under leases. */
export class DocumentTrees {
  readonly leases: Leases;
  private readonly reclaimer: Reclaimer;
  private readonly ids: NodeIds;

  constructor(
    private readonly environment: Environment,
    /** Gives the writer a chore; resolves when it is durable. */
    private readonly perform: (chore: Chore) => Promise<void>,
    now?: () => number,
  ) {
    this.ids = NodeIds.load(environment);
    this.leases = new Leases(() => {
      this.reclaimer.readerEnded();
    }, now);
    this.reclaimer = new Reclaimer(environment, this.leases, perform);
    this.reclaimer.start();
  }

  /** For a new transaction of the writer. */
  changes(): TreeChanges {
    return new TreeChanges(this.environment, this.ids);
  }

  /** The transaction is durable. */
  flushed({ garbage }: TreeChanges): void {
    this.reclaimer.addGarbage(garbage);
  }

  /** Without a base, the document has no stretches. */
  async stage(runtimeId: RuntimeId, base: Base | undefined, document: Document): Promise<StagedTree> {
    const draft = new Draft(new NodeReader(this.environment, runtimeId));
    try {
      const root = await splice(draft, base?.root, document);
      const staged = stagedTree(draft, root, base?.sequence, this.ids);
      if (staged.bytes > SLICE_BYTES) await this.write(staged);
      return staged;
    } finally {
      base?.lease.end();
    }
  }

  discard({ ids, isWritten }: StagedTree): void {
    if (isWritten) this.reclaimer.addStaging(documentKey("staging", ids.first));
  }

  /** The lease is the reader's from here on, and ends with the reading. */
  async *read(
    runtimeId: RuntimeId,
    root: Entry | undefined,
    lease: Lease,
    range?: ByteRange,
  ): AsyncGenerator<Uint8Array, void> {
    try {
      const walk = new Walk(new NodeReader(this.environment, runtimeId), root, range);
      const turns = new Turns();
      while (!walk.isDone) {
        lease.use();
        const chunk = walk.take(CHUNK_BYTES);
        await turns.spend(chunk.length);
        yield chunk;
      }
    } finally {
      lease.end();
    }
  }

  /** Resolves when nothing is left of what was dropped or never committed, but what somebody reads. */
  reclaimed(): Promise<void> {
    return this.reclaimer.reclaimed();
  }

  close(): Promise<void> {
    return this.reclaimer.close();
  }

  /** Stores a large document's nodes before its commit, so that no transaction is long. */
  private async write(staged: StagedTree): Promise<void> {
    const key = documentKey("staging", staged.ids.first);
    staged.isWritten = true;
    try {
      for (let at = 0; at < staged.nodes.length;) {
        const start = at;
        let bytes = 0;
        while (at < staged.nodes.length && bytes < SLICE_BYTES) bytes += staged.nodes[at++]?.[1]?.length ?? 0;
        const slice = staged.nodes.slice(start, at);
        await this.perform({
          bytes,
          apply: (changes) => {
            if (start === 0) changes.put(key, encodeStaging(key, staged.ids));
            changes.store(slice);
          },
        });
      }
    } catch (error) {
      this.discard(staged);
      throw error;
    }
  }
}
