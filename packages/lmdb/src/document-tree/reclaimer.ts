import type { Environment } from "../environment.js";
import type { Load } from "../page-estimate";
import { documentBounds } from "../keys.js";
import { reclaimGarbage } from "./garbage.js";
import { LEASE_STALE_MS, type Leases } from "./lease.js";
import { reclaimStaging } from "./staging.js";
import type { GarbageRecord, TreeChanges } from "./tree-changes.js";

/** Work of the engine's own, done by the writer in one transaction with what else waits. */
export interface MaintenanceTask {
  /** About how many bytes of values it writes. */
  readonly bytes: number;
  readonly load: Load;
  /** It only deletes. */
  readonly frees: boolean;
  apply(changes: TreeChanges): void;
}

/** A transaction reclaims at most this many nodes: a few milliseconds of the event loop. */
const SLICE_NODES = 256;
/** Of a garbage record, or what is left of it. */
const RECORD_BYTES = 1024;
/** A few nodes may wait for those of the next commits, so that not every commit is followed by a flush of its own. */
const LINGER_MS = 20;
/** When the writer refused, for lack of room perhaps. */
const RETRY_MS = 1000;

/** A record whose nodes are to be reclaimed. */
interface Leftover {
  readonly key: Buffer;
  /** Answers how much of the budget it took; less than all of it: nothing is left. */
  readonly reclaim: (changes: TreeChanges, key: Buffer, budget: number) => number;
  mayBeRead(): boolean;
}

/**
 * Takes away, soon after the commits, what nothing names any more and nobody reads, in slices through the writer. A crash
 * leaves the records, and the next start goes on with them.
 */
export class Reclaimer {
  private waiting: Leftover[] = [];
  private running: Promise<boolean> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private dueAt = Infinity;
  private isClosed = false;

  constructor(
    private readonly environment: Environment,
    private readonly leases: Leases,
    /** Resolves when the chore is durable. */
    private readonly perform: (chore: MaintenanceTask) => Promise<void>,
  ) {}

  /** Takes up what an earlier process left. */
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

  /** What a commit dropped; to be called when it is durable. */
  addGarbage(records: readonly GarbageRecord[]): void {
    const view = this.leases.upcomingView;
    const leftovers = records.map(({ key, runtimeId, sequence }) => ({
      key,
      reclaim: reclaimGarbage,
      mayBeRead: () => this.leases.mayBeRead(runtimeId, sequence, view),
    }));
    this.add(leftovers, records.some(({ isLarge }) => isLarge) ? 0 : LINGER_MS);
  }

  /** A staging record whose document will never be committed. */
  addStaging(key: Buffer): void {
    this.add([{ key, reclaim: reclaimStaging, mayBeRead: () => false }], 0);
  }

  /** A reader has ended. */
  readerEnded(): void {
    if (this.waiting.length > 0) this.wake(LINGER_MS);
  }

  /** Resolves when nothing is left but what somebody reads, or when the writer refuses. */
  async reclaimed(): Promise<void> {
    while (this.running ?? this.ready().length > 0) {
      if (!(await (this.running ?? this.run()))) return;
    }
  }

  /** Waits for the slice that is being written; the rest is for the next start. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private add(leftovers: readonly Leftover[], delayMs: number): void {
    if (leftovers.length === 0) return;
    for (const leftover of leftovers) this.waiting.push(leftover);
    this.wake(delayMs);
  }

  private wake(delayMs: number): void {
    const dueAt = Date.now() + delayMs;
    if (this.isClosed || this.running || dueAt >= this.dueAt) return;
    clearTimeout(this.timer);
    this.dueAt = dueAt;
    this.timer = setTimeout(() => void this.run(), delayMs).unref();
  }

  /** Answers whether the writer took it. */
  private run(): Promise<boolean> {
    clearTimeout(this.timer);
    this.dueAt = Infinity;
    this.running = this.reclaimReady();
    void this.running.then((isWell) => {
      this.running = undefined;
      if (!isWell) this.wake(RETRY_MS);
      else if (this.ready().length > 0) this.wake(LINGER_MS);
      // Looked at again when a reader ends, or when it turns out that there was none.
      else if (this.waiting.length > 0) this.wake(LEASE_STALE_MS);
    });
    return this.running;
  }

  /** What comes meanwhile waits for its own turn. */
  private async reclaimReady(): Promise<boolean> {
    try {
      for (let ready = this.ready(); ready.length > 0;) {
        const done = await this.reclaimSlice(ready);
        ready = ready.filter((one) => !done.has(one));
      }
      return true;
    } catch {
      // The writer has told whoever must know.
      return false;
    }
  }

  private async reclaimSlice(ready: readonly Leftover[]): Promise<ReadonlySet<Leftover>> {
    const done = new Set<Leftover>();
    await this.perform({
      bytes: 0,
      // Counts of nodes that live on lie among those of nodes that go.
      load: { values: ready.map(() => RECORD_BYTES), parts: [], dropped: SLICE_NODES },
      frees: true,
      apply: (changes) => {
        let left = SLICE_NODES;
        for (const one of ready) {
          left -= one.reclaim(changes, one.key, left);
          if (left === 0) break;
          done.add(one);
        }
      },
    });
    this.waiting = this.waiting.filter((one) => !done.has(one));
    return done;
  }

  private ready(): Leftover[] {
    return this.isClosed ? [] : this.waiting.filter((one) => !one.mayBeRead());
  }
}
