/** How a run ends. */
export const EXIT = {
  /** Nothing was found; a control was caught. */
  fine: 0,
  /** Something was found; a control was not caught. */
  found: 1,
  usage: 2,
  cannotRun: 3,
  /** The harness itself failed: nothing is said about the store. */
  failed: 4,
} as const;
