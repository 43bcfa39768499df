import { SYSTEM_CLOCK } from "@bolthole/core";
import type { Environment } from "../../environment.js";
import { DOCUMENT_KEY_BYTES, documentBounds, documentKey } from "../../keys.js";
import type { WriteLoad } from "../../disk-reservation.js";
import { type NodeReference, decodeBranch } from "../node.js";
import { LEASE_STALE_MS, type Leases } from "../read/lease.js";
import { type DroppedNode, decodeGarbage, decodeStaging, encodeGarbage, encodeStaging } from "./reclaim-records.js";
import type { GarbageRecord, TreeChanges } from "./tree-changes.js";

/** The engine's own work, which the writer does in one transaction together with the waiting batches. */
export interface MaintenanceTask {
  /** The approximate number of bytes of the values that it writes. */
  readonly bytes: number;
  readonly load: WriteLoad;
  /** By how much the store grows when what is replaced is deleted. Everything that is written, unless given. */
  readonly growth?: number | undefined;
  /** Whether it only deletes. */
  readonly frees: boolean;
  apply(changes: TreeChanges): void;
}

/** The most nodes that one transaction reclaims: a few milliseconds of the event loop. */
const SLICE_NODES = 256;
/** The assumed size of a garbage record when it is rewritten. */
const RECORD_BYTES = 1024;
/** The time that a few nodes wait for those of the next commits, so that not every commit is followed by another flush. */
const LINGER_MS = 20;
/** The delay after the writer refused, for example because the disk is full. */
const RETRY_MS = 1000;

/** A garbage or staging record whose nodes are to be deleted. */
interface PendingRecord {
  readonly key: Buffer;
  /** Deletes nodes and returns how much of the budget was used. Less than all of it means that the record is done. */
  readonly reclaim: (changes: TreeChanges, key: Buffer, budget: number) => number;
  mayBeRead(): boolean;
}

/**
 * Deletes nodes that nothing references and no reader needs, soon after the commit that dropped them. The work is divided
 * into small transactions of the writer. A crash leaves the records, and the next start continues with them.
 */
export class Reclaimer {
  private waiting: PendingRecord[] = [];
  private running: Promise<boolean> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private dueAt = Infinity;
  private isClosed = false;

  constructor(
    private readonly environment: Environment,
    private readonly leases: Leases,
    /** Hands a task to the writer. Resolves when the task is durable. */
    private readonly perform: (task: MaintenanceTask) => Promise<void>,
  ) {}

  /** Continues with the records that an earlier process left. */
  start(): void {
    const transaction = this.environment.read();
    const found = (["garbage", "staging"] as const).flatMap((kind) => {
      const { start, end } = documentBounds(kind);
      const reclaim = kind === "garbage" ? reclaimGarbage : reclaimStaging;
      return [...transaction.range(start, end)].map(({ key }) => ({ key, reclaim, mayBeRead: () => false }));
    });
    transaction.done();
    this.add(found, 0);
  }

  /** Adds the garbage records of a commit. Call it when the commit is durable. */
  addGarbage(records: readonly GarbageRecord[]): void {
    const view = this.leases.upcomingView;
    const pending = records.map(({ key, runtimeId, sequence }) => ({
      key,
      reclaim: reclaimGarbage,
      mayBeRead: () => this.leases.mayBeRead(runtimeId, sequence, view),
    }));
    this.add(pending, records.some(({ isLarge }) => isLarge) ? 0 : LINGER_MS);
  }

  /** Adds a staging record whose document will never be committed. */
  addStaging(key: Buffer): void {
    this.add([{ key, reclaim: reclaimStaging, mayBeRead: () => false }], 0);
  }

  /** Checks the waiting records again. Call it when a view or a lease has ended. */
  readerEnded(): void {
    if (this.waiting.length > 0) this.wake(LINGER_MS);
  }

  /** Returns a function that tells whether records of now are still waiting. */
  garbageOfNow(): () => boolean {
    const present = new Set(this.waiting);
    return () => this.waiting.some((record) => present.has(record));
  }

  /** Resolves when the records of now are deleted, except those that a reader may need, or when the writer refused. */
  async reclaimed(): Promise<void> {
    const present = new Set(this.waiting);
    while (this.ready().some((record) => present.has(record))) {
      if (!(await (this.running ?? this.run()))) return;
    }
  }

  /** Waits for the transaction that is being written. The rest is left for the next start. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private add(pending: readonly PendingRecord[], delayMs: number): void {
    if (pending.length === 0) return;
    for (const record of pending) this.waiting.push(record);
    this.wake(delayMs);
  }

  private wake(delayMs: number): void {
    const dueAt = SYSTEM_CLOCK.monotonic() + delayMs;
    if (this.isClosed || this.running || dueAt >= this.dueAt) return;
    clearTimeout(this.timer);
    this.dueAt = dueAt;
    this.timer = setTimeout(() => void this.run(), delayMs).unref();
  }

  /** Reclaims the nodes that no reader needs any more. Resolves to false when the writer refused. */
  private run(): Promise<boolean> {
    clearTimeout(this.timer);
    this.dueAt = Infinity;
    this.running = this.reclaimReady();
    void this.running.then((hasSucceeded) => {
      this.running = undefined;
      if (!hasSucceeded) this.wake(RETRY_MS);
      else if (this.ready().length > 0) this.wake(LINGER_MS);
      // Usually the end of a reader starts the next run. This timer is for a lease that becomes stale.
      else if (this.waiting.length > 0) this.wake(LEASE_STALE_MS);
    });
    return this.running;
  }

  /** Reclaims the records that are ready now. Records that arrive during the work wait for the next run. */
  private async reclaimReady(): Promise<boolean> {
    try {
      for (let ready = this.ready(); ready.length > 0 && !this.isClosed;) {
        const done = await this.reclaimSlice(ready);
        ready = ready.filter((record) => !done.has(record));
      }
      return true;
    } catch {
      // The writer has already reported its failure.
      return false;
    }
  }

  /** Reclaims up to SLICE_NODES nodes in one transaction and returns the records that are done. */
  private async reclaimSlice(ready: readonly PendingRecord[]): Promise<ReadonlySet<PendingRecord>> {
    const done = new Set<PendingRecord>();
    await this.perform({
      bytes: 0,
      // Counts of nodes that stay are stored between those of deleted nodes, so `dropped` covers them.
      load: { values: ready.map(() => RECORD_BYTES), keyBytes: DOCUMENT_KEY_BYTES, parts: [], dropped: SLICE_NODES },
      frees: true,
      apply: (changes) => {
        let left = SLICE_NODES;
        for (const record of ready) {
          left -= record.reclaim(changes, record.key, left);
          if (left === 0) break;
          done.add(record);
        }
      },
    });
    this.waiting = this.waiting.filter((record) => !done.has(record));
    return done;
  }

  private ready(): PendingRecord[] {
    return this.isClosed ? [] : this.waiting.filter((record) => !record.mayBeRead());
  }
}

/**
 * Reclaims at most `budget` nodes of a garbage record and returns how many. The rest stays in the record. A damaged branch
 * is deleted without its children, and a damaged record is not changed; a check of the store reports what remains.
 */
export function reclaimGarbage(changes: TreeChanges, key: Buffer, budget: number): number {
  const value = changes.source.get(key);
  const garbage = value && decodeGarbage(key, value);
  if (!garbage) return 0;
  const ahead = [...garbage.dropped];
  let used = 0;
  for (let node = ahead.pop(); node; node = used < budget ? ahead.pop() : undefined) {
    if (node.isDead || changes.giveBack(node.id)) ahead.push(...deleteNode(changes, node));
    used += 1;
  }
  changes.put(key, ahead.length > 0 ? encodeGarbage(key, { ...garbage, dropped: ahead }) : undefined);
  return used;
}

/** Deletes a node and returns the nodes whose references are to be given back. */
function deleteNode(changes: TreeChanges, { id, level, isDead }: DroppedNode): DroppedNode[] {
  const key = documentKey("node", id);
  const value = level > 0 && !isDead ? changes.source.get(key) : undefined;
  changes.put(key, undefined);
  const children = value && decodeBranch({ id, level }, value);
  return children?.map(asDropped) ?? [];
}

const asDropped = ({ id, level }: NodeReference): DroppedNode => ({ id, level, isDead: false });

/**
 * Deletes at most `budget` nodes of a staging record and returns how many. Does nothing when the record is gone because
 * a commit has taken the document.
 */
function reclaimStaging(changes: TreeChanges, key: Buffer, budget: number): number {
  const value = changes.source.get(key);
  const range = value && decodeStaging(key, value);
  if (!range) return 0;
  const until = Math.min(range.end, range.first + budget);
  for (let id = range.first; id < until; id += 1) changes.put(documentKey("node", id), undefined);
  changes.put(key, until < range.end ? encodeStaging(key, { first: until, end: range.end }) : undefined);
  return until - range.first;
}
