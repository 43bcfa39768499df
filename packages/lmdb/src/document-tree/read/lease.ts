import { type RuntimeId, readFailed } from "@bolthole/contract";
import { SYSTEM_CLOCK } from "@bolthole/core";

/**
 * A lease without a read for this long may be ended. The daemon ends slow readers much earlier; this limit is for callers
 * that requested a document and never began to read it.
 */
export const LEASE_STALE_MS = 120_000;

/** Keeps one document of a runtime readable until the lease ends, even when later commits replace the document. */
export class Lease {
  private usedAt: number;
  private hasEnded = false;

  constructor(
    /** The sequence of the row that the document belongs to. */
    readonly sequence: number,
    private readonly leases: Leases,
    private readonly runtimeId: RuntimeId,
  ) {
    this.usedAt = leases.now();
  }

  /** Renews the lease. Call it before each read. Throws BUSY when the lease has ended and the document may be gone. */
  use(): void {
    if (this.hasEnded) {
      throw readFailed("BUSY", "the document was not read for two minutes and may be gone; load it again", {
        runtimeId: this.runtimeId,
      });
    }
    this.usedAt = this.leases.now();
  }

  get isStale(): boolean {
    return this.leases.now() - this.usedAt > LEASE_STALE_MS;
  }

  end(): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.leases.forget(this.runtimeId, this);
  }
}

/**
 * The readers that may still need nodes which commits have dropped. A document is looked up in a view, which is short, and
 * then read under a lease, which may last long but protects the documents of one runtime only. All of this is in memory:
 * after a crash there are no readers.
 */
export class Leases {
  private readonly views = new Set<number>();
  private readonly held = new Map<RuntimeId, Set<Lease>>();
  private nextView = 0;

  constructor(
    /** Called when a view or lease has ended, because dropped nodes may now be unused. */
    private readonly onEnd: () => void,
    /** Returns milliseconds of a clock that never jumps. */
    readonly now: () => number = SYSTEM_CLOCK.monotonic,
  ) {}

  /** Registers a view and returns its number. Call it before the state that the view reads can change. */
  enterView(): number {
    this.views.add(this.nextView);
    return this.nextView++;
  }

  leaveView(view: number): void {
    this.views.delete(view);
    this.onEnd();
  }

  /** The number of the next view. That view and all later ones see every commit that is durable now. */
  get upcomingView(): number {
    return this.nextView;
  }

  /** Takes a lease on the document of the row with this sequence. Call it inside a view that read the row. */
  hold(runtimeId: RuntimeId, sequence: number): Lease {
    const lease = new Lease(sequence, this, runtimeId);
    const held = this.held.get(runtimeId);
    if (held) held.add(lease);
    else this.held.set(runtimeId, new Set([lease]));
    return lease;
  }

  /**
   * Whether a reader may still need what the commit `sequence` dropped. `view` is the number of the first view that
   * certainly sees that commit. Ends stale leases.
   */
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

  /** Removes a lease that has ended. */
  forget(runtimeId: RuntimeId, lease: Lease): void {
    const held = this.held.get(runtimeId);
    held?.delete(lease);
    if (held?.size === 0) this.held.delete(runtimeId);
    this.onEnd();
  }
}
