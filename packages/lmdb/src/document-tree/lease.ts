import { type RuntimeId, readFailed } from "@bolthole/contract";

/** Readers are ended by their handlers long before; this is for documents that nobody ever began to read. */
const STALE_MS = 120_000;

/** The right to read one document for as long as it takes. */
export class Lease {
  private usedAt: number;
  private isOver = false;

  constructor(
    /** Of the snapshot row that the document went with. */
    readonly sequence: number,
    private readonly leases: Leases,
    private readonly runtimeId: RuntimeId,
  ) {
    this.usedAt = leases.now();
  }

  /** To be called before each read: fails when the document may be gone. */
  use(): void {
    if (this.isOver) {
      throw readFailed("BUSY", "the document was not read for two minutes and may be gone; load it again", {
        runtimeId: this.runtimeId,
      });
    }
    this.usedAt = this.leases.now();
  }

  get isStale(): boolean {
    return this.leases.now() - this.usedAt > STALE_MS;
  }

  end(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.leases.forget(this.runtimeId, this);
  }
}

/**
 * Who may still read what commits have dropped, in memory only: after a crash nobody reads. A document is found in a view,
 * which is short, and then read under a lease, which may be long but is of one runtime's documents alone.
 */
export class Leases {
  private readonly views = new Set<number>();
  private readonly held = new Map<RuntimeId, Set<Lease>>();
  private nextView = 0;

  constructor(
    /** Called when something may have become free. */
    private readonly onEnd: () => void,
    readonly now: () => number = Date.now,
  ) {}

  /** To be called before a view's state is fixed. */
  enterView(): number {
    this.views.add(this.nextView);
    return this.nextView++;
  }

  leaveView(view: number): void {
    this.views.delete(view);
    this.onEnd();
  }

  /** Views from this one on see every commit that is durable now. */
  get upcomingView(): number {
    return this.nextView;
  }

  /** To be called inside a view that saw the document. */
  hold(runtimeId: RuntimeId, sequence: number): Lease {
    const lease = new Lease(sequence, this, runtimeId);
    const held = this.held.get(runtimeId);
    if (held) held.add(lease);
    else this.held.set(runtimeId, new Set([lease]));
    return lease;
  }

  /** Whether someone may still read what was dropped by a commit that every view from `view` on sees. */
  mayBeRead(runtimeId: RuntimeId, sequence: number, view: number): boolean {
    const [oldest] = this.views;
    if (oldest !== undefined && oldest < view) return true;
    for (const lease of this.held.get(runtimeId) ?? []) {
      if (lease.sequence >= sequence) continue;
      if (!lease.isStale) return true;
      lease.end();
    }
    return false;
  }

  forget(runtimeId: RuntimeId, lease: Lease): void {
    const held = this.held.get(runtimeId);
    held?.delete(lease);
    if (held?.size === 0) this.held.delete(runtimeId);
    this.onEnd();
  }
}

export { STALE_MS as LEASE_STALE_MS };
