/** An amount up to this one is small, and may use the reserve of a budget. */
export const SMALL_BYTES = 64 * 1024;

/** The limits of a budget, in bytes. */
export interface BudgetLimits {
  /** What all connections together may hold. */
  readonly total: number;
  /** What one connection may hold. */
  readonly connection: number;
  /** What small amounts may use above both limits, so that large ones do not use up all of it. */
  readonly reserve: number;
}

/** Counts the memory that calls hold, and refuses what is above the limits. */
export class ByteBudget {
  bytes = 0;
  private readonly shares = new WeakMap<object, ConnectionShare>();

  constructor(readonly limits: BudgetLimits) {}

  /** Returns the share of a connection. */
  shareOf(connection: object): ConnectionShare {
    const share = this.shares.get(connection) ?? new ConnectionShare(this);
    this.shares.set(connection, share);
    return share;
  }
}

/** The part of a budget that one connection holds. */
export class ConnectionShare {
  bytes = 0;

  constructor(private readonly budget: ByteBudget) {}

  get limits(): BudgetLimits {
    return this.budget.limits;
  }

  /** Takes an amount and returns true, or returns false when it is above a limit. The caller gives back what it has taken. */
  take(bytes: number, isSmall: boolean): boolean {
    const { total, connection, reserve } = this.budget.limits;
    const margin = isSmall ? reserve : 0;
    // Half of the reserve, so that one connection does not keep the others out of it.
    if (this.budget.bytes + bytes > total + margin || this.bytes + bytes > connection + margin / 2) return false;
    this.add(bytes);
    return true;
  }

  /** Counts an amount that is used already, also above the limits. */
  add(bytes: number): void {
    this.budget.bytes += bytes;
    this.bytes += bytes;
  }

  giveBack(bytes: number): void {
    this.budget.bytes -= bytes;
    this.bytes -= bytes;
  }
}
