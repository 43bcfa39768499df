/** How a client reaches its daemon. */
export interface ConnectOptions {
  /** The bearer token of a TCP endpoint; the daemon keeps it in the file `token` of its data folder. */
  readonly token?: string | undefined;
  /** Milliseconds for each call with its retries, unless the call says otherwise. Default: 10,000. */
  readonly timeoutMs?: number | undefined;
  /** Bytes that one message may have, both ways. Default: 33 MiB, above what the daemon takes. */
  readonly maxMessageBytes?: number | undefined;
  /**
   * Milliseconds of silence under a call after which the connection is tried, and as many again until it is given up for a
   * new one. Default: 20,000.
   */
  readonly keepAliveMs?: number | undefined;
}

export interface ResolvedOptions {
  readonly token: string | undefined;
  readonly timeoutMs: number;
  readonly maxMessageBytes: number;
  readonly keepAliveMs: number;
}

export function resolveOptions(options: ConnectOptions): ResolvedOptions {
  const { token, timeoutMs = 10_000, maxMessageBytes = 33 * 1024 * 1024, keepAliveMs = 20_000 } = options;
  if (!(timeoutMs > 0)) throw new TypeError(`timeoutMs: expected a positive number, got ${String(timeoutMs)}`);
  if (!(keepAliveMs > 0)) throw new TypeError(`keepAliveMs: expected a positive number, got ${String(keepAliveMs)}`);
  return { token, timeoutMs, maxMessageBytes, keepAliveMs };
}
