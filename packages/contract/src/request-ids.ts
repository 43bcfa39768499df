/** The times that a new request id may have, in milliseconds since the Unix epoch (contract 12.3). */
export interface RequestIdTimes {
  /** The horizon. An id with an earlier time is refused as REQUEST_ID_EXPIRED, unless its outcome is kept. */
  readonly horizonMs: number;
  /** The present time as the store knows it. It is not below the horizon. */
  readonly storeTimeMs: number;
  /** An id with a later time is refused as INVALID_ARGUMENT, unless its outcome is kept. */
  readonly latestMs: number;
}

export interface SetHorizon {
  /** Milliseconds since the Unix epoch. */
  readonly horizonMs: number;
}

/** The control of an operator over the times of request ids. */
export interface HorizonControl {
  /**
   * Sets the horizon and returns the times after the change. A lower horizon gives up a promise: a request id between the two
   * may be executed although it was executed, sealed or refused as REQUEST_ID_EXPIRED before. A higher one refuses ids that
   * could still be executed. Throws INVALID_ARGUMENT for a time above `latestMs`.
   */
  setHorizon(request: SetHorizon): Promise<RequestIdTimes>;
}
