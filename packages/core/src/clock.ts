/** The time that a store uses. A test or a simulation passes a clock of its own. */
export interface Clock {
  /** Returns the wall clock in milliseconds since the Unix epoch. It may jump in both directions. */
  now(): number;
  /** Returns milliseconds that never jump and have no meaning across processes. For durations, idle times and leases. */
  monotonic(): number;
}

export const SYSTEM_CLOCK: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};
