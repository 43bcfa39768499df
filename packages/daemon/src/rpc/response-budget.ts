import type { Http2Session } from "node:http2";
import { readFailed } from "@bolthole/contract";
import { type ByteBudget, type ConnectionShare, SMALL_BYTES } from "./byte-budget.js";

/** How long a message waits for memory, in milliseconds. */
const WAIT_MS = 30_000;
/**
 * While others wait, a client that receives no message for this time is cut off, in milliseconds: one that receives less than 200 KiB in
 * a second, because a message has up to 1 MiB.
 */
const STALL_MS = 5_000;
const CHECK_INTERVAL_MS = 250;

/** Memory that was taken from a budget. */
export class TakenMemory {
  constructor(
    private readonly budget: ResponseBudget,
    private readonly share: ConnectionShare,
    private bytes: number,
  ) {}

  /** Counts more memory, which is used already. */
  growTo(bytes: number): void {
    if (bytes <= this.bytes) return;
    this.share.add(bytes - this.bytes);
    this.bytes = bytes;
  }

  /** Gives back what is above this amount. */
  shrinkTo(bytes: number): void {
    const rest = this.bytes - bytes;
    if (rest <= 0) return;
    this.bytes = bytes;
    this.budget.giveBack(this.share, rest);
  }

  /** Gives the memory back. A second call does nothing. */
  giveBack(): void {
    const { bytes } = this;
    this.bytes = 0;
    if (bytes > 0) this.budget.giveBack(this.share, bytes);
  }
}

interface Waiter {
  readonly bytes: number;
  readonly resolve: (isTaken: boolean) => void;
}

/** A client that does not receive its message. */
interface Stalled {
  readonly since: number;
  readonly cutOff: () => void;
}

/** Where a waiting call keeps the function that ends its wait. */
export interface Wait {
  cancel?: (() => void) | undefined;
}

/**
 * The memory of the messages that are on their way to clients. A message waits while there is none. The connections of the waiting
 * messages take turns, so that many readers on one connection do not delay the others, and clients that receive nothing are cut off then.
 */
export class ResponseBudget {
  private readonly waiting = new Map<ConnectionShare, Waiter[]>();
  private readonly stalled = new Set<Stalled>();
  private checks: NodeJS.Timeout | undefined;

  constructor(
    private readonly budget: ByteBudget,
    private readonly stallMs = STALL_MS,
  ) {}

  get bytes(): number {
    return this.budget.bytes;
  }

  /** Takes memory without a wait. Returns undefined when there is none, except for memory that is taken in any case. */
  takeNow(session: Http2Session | undefined, bytes: number, inAnyCase = false): TakenMemory | undefined {
    const share = this.shareOf(session);
    if (this.waiting.has(share) || !share.take(bytes, bytes <= SMALL_BYTES)) {
      if (!inAnyCase) return undefined;
      share.add(bytes);
    }
    return new TakenMemory(this, share, bytes);
  }

  /** Takes memory when there is some. Resolves to undefined when `wait.cancel` was called, and fails with BUSY after WAIT_MS. */
  async take(session: Http2Session | undefined, bytes: number, wait: Wait): Promise<TakenMemory | undefined> {
    const share = this.shareOf(session);
    return (
      this.takeNow(session, bytes) ??
      ((await this.turn(share, bytes, wait)) ? new TakenMemory(this, share, bytes) : undefined)
    );
  }

  giveBack(share: ConnectionShare, bytes: number): void {
    share.giveBack(bytes);
    if (this.waiting.size > 0) this.serveWaiting();
  }

  /**
   * Notes that a client does not receive. `cutOff` is called when this lasts while others wait for memory. Returns the function that
   * ends this.
   */
  noteStall(cutOff: () => void): () => void {
    const stalled = { since: Date.now(), cutOff };
    this.stalled.add(stalled);
    return () => this.stalled.delete(stalled);
  }

  /** Returns the share of a connection. Calls whose session is not known have one share together. */
  private shareOf(session: Http2Session | undefined): ConnectionShare {
    return this.budget.shareOf(session ?? this);
  }

  private async turn(share: ConnectionShare, bytes: number, wait: Wait): Promise<boolean> {
    const waiters = this.waiting.get(share) ?? [];
    this.waiting.set(share, waiters);
    this.watchStalled();
    let timeout: NodeJS.Timeout | undefined;
    try {
      return await new Promise<boolean>((resolve, reject) => {
        const waiter = { bytes, resolve };
        waiters.push(waiter);
        const leave = (): void => {
          const place = waiters.indexOf(waiter);
          if (place >= 0) waiters.splice(place, 1);
          if (waiters.length === 0 && this.waiting.get(share) === waiters) this.waiting.delete(share);
        };
        wait.cancel = () => {
          leave();
          resolve(false);
        };
        timeout = setTimeout(() => {
          leave();
          reject(readFailed("BUSY", "responses that clients do not receive hold too much memory; retry after a pause"));
        }, WAIT_MS);
      });
    } finally {
      clearTimeout(timeout);
      wait.cancel = undefined;
    }
  }

  private serveWaiting(): void {
    for (const [share, waiters] of [...this.waiting]) {
      const [first] = waiters;
      if (!first || !share.take(first.bytes, first.bytes <= SMALL_BYTES)) continue;
      waiters.shift();
      // The connection waits behind the others now.
      this.waiting.delete(share);
      if (waiters.length > 0) this.waiting.set(share, waiters);
      first.resolve(true);
    }
  }

  private watchStalled(): void {
    this.checks ??= setInterval(() => {
      if (this.waiting.size === 0) {
        clearInterval(this.checks);
        this.checks = undefined;
        return;
      }
      // The one that stands for the longest time. The next one has until the next check.
      const [oldest] = this.stalled;
      if (!oldest || Date.now() - oldest.since < this.stallMs) return;
      // Also when its stream is not closed by that, the next one is cut off next.
      this.stalled.delete(oldest);
      oldest.cutOff();
    }, CHECK_INTERVAL_MS).unref();
  }
}
