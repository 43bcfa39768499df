import { type ByteRange, type RuntimeId, readFailed } from "@bolthole/contract";
import type { DocumentParts } from "@bolthole/core";
import type { Environment, Put } from "../environment.js";
import { documentKey } from "../keys.js";
import { Draft } from "./draft.js";
import { type Lease, Leases } from "./lease.js";
import { NodeIds } from "./node-ids.js";
import { NodeReader } from "./node-reader.js";
import { type NodeEntry, LEAF_BYTES } from "./node.js";
import { type MaintenanceTask, Reclaimer } from "./reclaimer.js";
import { splice } from "./splice.js";
import { type StagedTree, stagedTree } from "./staged-tree.js";
import { encodeStaging } from "./staging.js";
import { TreeChanges } from "./tree-changes.js";
import { PieceMemory } from "./piece-memory.js";
import { YieldBudget } from "./yield-budget";
import { Walk } from "./walk.js";

/** New nodes of more bytes than this are stored before the commit, in transactions of about this size. */
const SLICE_BYTES = 1 << 20;
/** Of a staging record. */
const STAGING_BYTES = 64;
/** What a load gives at a time: whole leaves, of which none has to be read for two pieces. */
const PIECE_BYTES = 16 * LEAF_BYTES;
/** The reader of a whole document is at work sooner with a short one. */
const FIRST_PIECE_BYTES = 2 * LEAF_BYTES;

/** The document that a commit may share nodes with. */
export interface Base {
  /** Of its snapshot row. */
  readonly sequence: number;
  readonly root: NodeEntry | undefined;
  readonly lease: Lease;
}

/** The documents of one environment: staged outside the writer, put in place inside it, read under leases. */
export class DocumentTrees {
  readonly leases: Leases;
  private readonly reclaimer: Reclaimer;
  private readonly ids: NodeIds;
  private isClosed = false;

  constructor(
    private readonly environment: Environment,
    /** Gives the writer a chore; resolves when it is durable. */
    private readonly perform: (chore: MaintenanceTask) => Promise<void>,
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
  async stage(runtimeId: RuntimeId, base: Base | undefined, document: DocumentParts): Promise<StagedTree> {
    const draft = new Draft(new NodeReader(this.environment, runtimeId));
    try {
      const root = await splice(draft, base?.root, document);
      const staged = stagedTree(draft, root, base?.sequence, this.ids);
      return staged.bytes > SLICE_BYTES ? await this.written(staged) : staged;
    } finally {
      base?.lease.end();
    }
  }

  discard({ ids, isWritten }: StagedTree): void {
    if (isWritten) this.reclaimer.addStaging(documentKey("staging", ids.first));
  }

  /** Reads several stretches of one document, which lie under the same branches. */
  stretchReader(runtimeId: RuntimeId): NodeReader {
    return new NodeReader(this.environment, runtimeId, new Map());
  }

  /** The lease is the reader's from here on, and ends with the reading. The memory of a piece is used for the next but one. */
  async *read(
    runtimeId: RuntimeId,
    root: NodeEntry | undefined,
    lease: Lease,
    range?: ByteRange,
    nodes: NodeReader = new NodeReader(this.environment, runtimeId),
  ): AsyncGenerator<Uint8Array, void> {
    try {
      const walk = new Walk(nodes, root, range);
      const turns = new YieldBudget();
      const memory = new PieceMemory();
      const allocate = (bytes: number): Buffer => memory.take(bytes);
      let atMost = range ? PIECE_BYTES : FIRST_PIECE_BYTES;
      while (!walk.isDone) {
        lease.use();
        if (this.isClosed) throw readFailed("SHUTTING_DOWN", "the store was closed while the document was read");
        const piece = walk.take(atMost, allocate);
        atMost = PIECE_BYTES;
        await turns.spend(piece.length);
        yield piece;
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
    this.isClosed = true;
    return this.reclaimer.close();
  }

  /** Stores a large document's nodes before its commit, so that no transaction is long. */
  private async written(staged: StagedTree): Promise<StagedTree> {
    const key = documentKey("staging", staged.ids.first);
    const written = { ...staged, nodes: [], bytes: 0, isWritten: true };
    try {
      for (const [index, slice] of slicesOf(staged.nodes).entries()) {
        await this.perform({
          bytes: SLICE_BYTES,
          load: { values: [STAGING_BYTES], parts: slice.map(([, value]) => value?.length ?? 0), dropped: 0 },
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

function slicesOf(nodes: readonly Put[]): Put[][] {
  const slices: Put[][] = [];
  let room = 0;
  for (const node of nodes) {
    if (room <= 0) {
      slices.push([]);
      room = SLICE_BYTES;
    }
    slices.at(-1)?.push(node);
    room -= node[1]?.length ?? 0;
  }
  return slices;
}
