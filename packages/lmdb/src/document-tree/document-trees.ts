import { type ByteRange, readFailed } from "@bolthole/contract";
import { type DocumentRowKey, type DocumentParts, YieldBudget } from "@bolthole/core";
import type { Environment, Put, ReadTransaction } from "../environment.js";
import { IdCounter, nextIdFacts } from "../counter.js";
import { DOCUMENT_KEY_BYTES, NODE_ID_KEY, documentBounds, documentKey, numberOf } from "../keys.js";
import { splice } from "./build/splice.js";
import { type StagedTree, stageTree } from "./build/staged-tree.js";
import { TreeBuilder } from "./build/tree-builder.js";
import { type NodeEntry, LEAF_BYTES } from "./node.js";
import { type Lease, Leases } from "./read/lease.js";
import { NodeReader, type NodeSource } from "./read/node-reader.js";
import { ChunkMemory, Walk } from "./read/walk.js";
import { encodeStaging } from "./reclaim/reclaim-records.js";
import { type MaintenanceTask, Reclaimer } from "./reclaim/reclaimer.js";
import { TreeChanges } from "./reclaim/tree-changes.js";

/** New nodes of more bytes than this are stored before the commit, in transactions of about this size. */
const SLICE_BYTES = 1 << 20;
/** The assumed size of a staging record. */
const STAGING_BYTES = 64;
/** The size of the chunks of a load: whole leaves, so that no leaf is read for two chunks. */
const CHUNK_BYTES = 16 * LEAF_BYTES;
/** The first chunk of a whole document is shorter, so that its consumer can begin earlier. */
const FIRST_CHUNK_BYTES = 2 * LEAF_BYTES;

/** The stored document that a new document may share nodes with. */
export interface Base {
  /** The sequence of its row. */
  readonly sequence: number;
  readonly root: NodeEntry | undefined;
  readonly lease: Lease;
}

/** Returns the largest id of a stored node, and 0 without one. */
export function lastNodeId(transaction: Pick<ReadTransaction, "lastKey">): number {
  const { start, end } = documentBounds("node");
  const last = transaction.lastKey(start, end);
  return last ? numberOf(last) : 0;
}

function storedLastNodeId(environment: Environment): number {
  const transaction = environment.read();
  try {
    return lastNodeId(transaction);
  } finally {
    transaction.done();
  }
}

/** The documents of one environment. They are staged outside the writer, committed inside it, and read under leases. */
export class DocumentTrees {
  readonly leases: Leases;
  private readonly reclaimer: Reclaimer;
  private readonly ids: IdCounter;
  private isClosed = false;

  constructor(
    private readonly environment: Environment,
    /** Hands a task to the writer. Resolves when the task is durable. */
    private readonly perform: (task: MaintenanceTask) => Promise<void>,
    now?: () => number,
  ) {
    this.ids = IdCounter.load(
      environment,
      nextIdFacts(NODE_ID_KEY, "next document node", storedLastNodeId(environment)),
    );
    this.leases = new Leases(() => {
      this.reclaimer.readerEnded();
    }, now);
    this.reclaimer = new Reclaimer(environment, this.leases, perform);
    this.reclaimer.start();
  }

  /** Returns an empty set of changes for a new transaction of the writer. */
  changes(): TreeChanges {
    return new TreeChanges(this.environment, this.ids);
  }

  /** Starts the reclaiming of what a transaction dropped. Call it when the transaction is durable. */
  flushed({ garbage }: TreeChanges): void {
    this.reclaimer.addGarbage(garbage);
  }

  /**
   * Makes a document ready for its commit. Without a base, the document must not contain ranges. Ends the base's lease. `replaced`
   * returns the length of the document that it will replace.
   */
  async stage(
    key: DocumentRowKey,
    base: Base | undefined,
    document: DocumentParts,
    replaced: () => number = () => 0,
  ): Promise<StagedTree> {
    // Each read renews the lease: a long document is staged for longer than an unused lease lasts.
    const source = base ? leasedSource(this.environment, base.lease) : this.environment;
    const builder = new TreeBuilder(new NodeReader(source, key));
    try {
      const root = await splice(builder, base?.root, document);
      const staged = stageTree(builder, root, base?.sequence, this.ids);
      return staged.bytes > SLICE_BYTES ? await this.written(staged, staged.length > replaced()) : staged;
    } finally {
      base?.lease.end();
    }
  }

  /** Deletes the stored nodes of a staged document that will not be committed. */
  discard({ ids, isWritten }: StagedTree): void {
    if (isWritten) this.reclaimer.addStaging(documentKey("staging", ids.first));
  }

  /** Returns a reader for several ranges of one document. It caches branches, because the ranges are below the same ones. */
  rangeReader(key: DocumentRowKey): NodeReader {
    return new NodeReader(this.environment, key, new Map());
  }

  /**
   * Yields the bytes of a document, or of a range, in chunks. Owns the lease and ends it with the reading. A chunk is
   * valid until the next but one is requested, because its memory is reused.
   */
  async *read(
    key: DocumentRowKey,
    root: NodeEntry | undefined,
    lease: Lease,
    range?: ByteRange,
    nodes: NodeReader = new NodeReader(this.environment, key),
  ): AsyncGenerator<Uint8Array, void> {
    try {
      const walk = new Walk(nodes, root, range);
      const budget = new YieldBudget();
      const memory = new ChunkMemory();
      const allocate = (bytes: number): Buffer => memory.allocate(bytes);
      let atMost = range ? CHUNK_BYTES : FIRST_CHUNK_BYTES;
      while (!walk.isDone) {
        lease.use();
        if (this.isClosed) throw readFailed("SHUTTING_DOWN", "the store was closed while the document was read");
        const chunk = walk.take(atMost, allocate);
        atMost = CHUNK_BYTES;
        await budget.spend();
        yield chunk;
      }
    } finally {
      lease.end();
    }
  }

  /** Returns a function that tells whether nodes that were dropped before this call are still stored. */
  garbageOfNow(): () => boolean {
    return this.reclaimer.garbageOfNow();
  }

  /** Resolves when dropped and uncommitted nodes are deleted, except those that a reader may need. */
  reclaimed(): Promise<void> {
    return this.reclaimer.reclaimed();
  }

  close(): Promise<void> {
    this.isClosed = true;
    return this.reclaimer.close();
  }

  /** Stores the nodes of a large document before its commit, so that no transaction is long. */
  private async written(staged: StagedTree, grows: boolean): Promise<StagedTree> {
    const key = documentKey("staging", staged.ids.first);
    const written = { ...staged, nodes: [], bytes: 0, isWritten: true };
    try {
      for (const [index, slice] of slicesOf(staged.nodes).entries()) {
        await this.perform({
          bytes: SLICE_BYTES,
          load: {
            values: [STAGING_BYTES],
            keyBytes: DOCUMENT_KEY_BYTES,
            parts: slice.map(([, value]) => value?.length ?? 0),
            dropped: 0,
          },
          growth: grows ? SLICE_BYTES : 0,
          frees: false,
          apply: (changes) => {
            if (index === 0) changes.put(key, encodeStaging(key, staged.ids));
            changes.store(slice);
          },
        });
      }
    } catch (error) {
      this.discard(written);
      throw error;
    }
    return written;
  }
}

/** Returns a source that renews a lease with each read, and throws BUSY when the lease has ended. */
const leasedSource = (source: NodeSource, lease: Lease): NodeSource => ({
  get: (key) => {
    lease.use();
    return source.get(key);
  },
  peek: (key) => {
    lease.use();
    return source.peek(key);
  },
});

/** Divides nodes into slices of about SLICE_BYTES. */
function slicesOf(nodes: readonly Put[]): Put[][] {
  const slices: Put[][] = [];
  let left = 0;
  for (const node of nodes) {
    if (left <= 0) {
      slices.push([]);
      left = SLICE_BYTES;
    }
    slices.at(-1)?.push(node);
    left -= node[1]?.length ?? 0;
  }
  return slices;
}
