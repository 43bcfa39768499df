/** How a client reaches its daemon. */
export interface ConnectOptions {
  /** The bearer token of a TCP endpoint; the daemon keeps it in the file `token` of its data folder. */
  readonly token?: string | undefined;
  /** Milliseconds for each call with its retries, unless the call says otherwise. Default: 10,000. */
  readonly timeoutMs?: number | undefined;
  /** Bytes that one message may have, both ways; 64 KiB at least. Default: 33 MiB, above what the daemon takes. */
  readonly maxMessageBytes?: number | undefined;
  /** Bytes of session documents that are held to send only what changed of the next ones; 0 for none. Default: 256 MiB.
   * As much again may be held for requests whose outcome is unknown, until they are repeated. */
  readonly heldDocumentBytes?: number | undefined;
  /** About how many bytes of input rows are known, so that they are not sent again; 0 for none. Default: 64 MiB. */
  readonly knownInputBytes?: number | undefined;
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
  readonly heldDocumentBytes: number;
  readonly knownInputBytes: number;
  readonly keepAliveMs: number;
}

const MIB = 1024 * 1024;

export function resolveOptions(options: ConnectOptions): ResolvedOptions {
  const { token, timeoutMs = 10_000, keepAliveMs = 20_000, maxMessageBytes = 33 * MIB } = options;
  const { heldDocumentBytes = 256 * MIB, knownInputBytes = 64 * MIB } = options;
  for (const [name, milliseconds] of Object.entries({ timeoutMs, keepAliveMs })) {
    if (!(milliseconds > 0)) throw new TypeError(`${name}: expected a positive number, got ${String(milliseconds)}`);
  }
  for (const [name, bytes, least] of [
    ["heldDocumentBytes", heldDocumentBytes, 0],
    ["knownInputBytes", knownInputBytes, 0],
    ["maxMessageBytes", maxMessageBytes, 64 * 1024],
  ] as const) {
    if (Number.isSafeInteger(bytes) && bytes >= least) continue;
    throw new TypeError(`${name}: expected a whole number of bytes, ${String(least)} or more, got ${String(bytes)}`);
  }
  return { token, timeoutMs, keepAliveMs, maxMessageBytes, heldDocumentBytes, knownInputBytes };
}
