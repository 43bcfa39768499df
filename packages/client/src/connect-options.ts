import { EXPECTED_TIMEOUT, isTimeout } from "@bolthole/contract";
import { shown } from "@bolthole/contract/wire";

const KIB = 1024;
const MIB = 1024 * KIB;

const MIN_MESSAGE_BYTES = 64 * KIB;

/** Options of `connect`. An option that is absent or undefined has its default. */
export interface ConnectOptions {
  /**
   * The bearer token for a TCP endpoint: the content of the file `token` in the daemon's data folder. White space
   * around it is ignored. A unix socket needs no token.
   *
   * Default: no token.
   *
   * @example
   * const token = readFileSync("/path/to/data/token", "utf8").trim();
   * const store = await connect("127.0.0.1:7117", { token });
   */
  readonly token?: string | undefined;

  /**
   * The time limit for one call in milliseconds, from the first attempt to the last retry, and for `connect` itself. A
   * call may set its own limit with `CallOptions.timeoutMs`. From 1 to 2,147,483,647 (24 days).
   *
   * Default: 10,000 (10 seconds).
   *
   * @example
   * await connect(target, { timeoutMs: 30_000 });
   */
  readonly timeoutMs?: number | undefined;

  /**
   * The size limit for one gRPC message in bytes, in both directions. A whole number, 65,536 (64 KiB) or more. A
   * document that needs more than half of it is uploaded in chunks. The default is above the daemon's own default limit
   * for a request (32 MiB): raise it when the daemon runs with a higher `--max-request-size`.
   *
   * Default: 34,603,008 (33 MiB).
   *
   * @example
   * await connect(target, { maxMessageBytes: 65 * 1024 * 1024 });
   */
  readonly maxMessageBytes?: number | undefined;

  /**
   * The budget of the document cache in bytes. The cache holds the last document of each runtime by reference, so that
   * the next one is sent as a patch; when the budget is used up, the least recently used document is dropped. 0 turns the
   * cache off: each document is sent in full. The retry cache, which holds the bases of patches whose outcome is
   * unknown, has a second budget of the same size.
   *
   * Default: 268,435,456 (256 MiB).
   *
   * @example
   * await connect(target, { documentCacheBytes: 32 * 1024 * 1024 });
   */
  readonly documentCacheBytes?: number | undefined;

  /**
   * The budget of the input row cache in bytes, by an estimate of the size of each row. The cache holds copies of input
   * rows, so that unchanged rows are not sent again; when the budget is used up, the rows of the least recently used
   * runtime are dropped. 0 turns the cache off: all rows are sent.
   *
   * Default: 67,108,864 (64 MiB).
   *
   * @example
   * await connect(target, { inputRowCacheBytes: 0 });
   */
  readonly inputRowCacheBytes?: number | undefined;

  /**
   * The keepalive interval in milliseconds. When the connection has been silent for this time during a call, the client
   * sends a ping. When no reply arrives within the same time again, the client opens a new connection and retries the
   * call. From 1 to 2,147,483,647.
   *
   * Default: 20,000 (20 seconds).
   *
   * @example
   * await connect(target, { keepAliveMs: 5_000 });
   */
  readonly keepAliveMs?: number | undefined;

  /**
   * The id of the user whose daemon is meant, when that is not this user. Nothing is sent to a unix socket that belongs to
   * another user than this one, root, or this one: another program may have taken the place of the daemon. Not for TCP.
   *
   * Default: this user and root.
   *
   * @example
   * await connect(target, { socketOwner: 1000 });
   */
  readonly socketOwner?: number | undefined;
}

/** `ConnectOptions` with every default applied and every value checked. */
export interface ResolvedOptions {
  readonly token: string | undefined;
  readonly timeoutMs: number;
  readonly maxMessageBytes: number;
  readonly documentCacheBytes: number;
  readonly inputRowCacheBytes: number;
  readonly keepAliveMs: number;
  readonly socketOwner: number | undefined;
}

const NAMES: readonly string[] = [
  "token",
  "timeoutMs",
  "maxMessageBytes",
  "documentCacheBytes",
  "inputRowCacheBytes",
  "keepAliveMs",
  "socketOwner",
] satisfies (keyof ConnectOptions)[];

/** Returns a token without the white space around it: a file of it ends with a line break. The error never has the token itself. */
function tokenOf(token: unknown): string | undefined {
  if (token === undefined) return undefined;
  if (typeof token !== "string")
    throw new TypeError(`token: expected text (a string), found a value of type ${typeof token}`);
  const text = token.trim();
  if (text === "")
    throw new TypeError("token: expected the content of the file `token` in the data folder, found no characters");
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  throw new TypeError(
    "token: expected printable ASCII characters without spaces, found others (the token is not shown)",
  );
}

/** Applies the defaults. Throws a `TypeError` that names the option when there is no such option, or when its value is not allowed. */
export function resolveOptions(options: ConnectOptions): ResolvedOptions {
  // Callers without types may pass anything.
  if (typeof (options as unknown) !== "object" || (options as unknown) === null) {
    throw new TypeError(`options: expected an object, found ${shown(options)}`);
  }
  const unknown = Object.keys(options).find((name) => !NAMES.includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`${unknown}: there is no such option; the options are ${NAMES.join(", ")}`);
  }
  const { token, timeoutMs = 10_000, keepAliveMs = 20_000, maxMessageBytes = 33 * MIB } = options;
  const { socketOwner } = options;
  const { documentCacheBytes = 256 * MIB, inputRowCacheBytes = 64 * MIB } = options;
  const secret = tokenOf(token);
  for (const [name, milliseconds] of Object.entries({ timeoutMs, keepAliveMs })) {
    if (isTimeout(milliseconds)) continue;
    throw new TypeError(`${name}: expected ${EXPECTED_TIMEOUT}, found ${shown(milliseconds)}`);
  }
  for (const [name, bytes, min] of [
    ["documentCacheBytes", documentCacheBytes, 0],
    ["inputRowCacheBytes", inputRowCacheBytes, 0],
    ["maxMessageBytes", maxMessageBytes, MIN_MESSAGE_BYTES],
  ] as const) {
    if (Number.isSafeInteger(bytes) && bytes >= min) continue;
    throw new TypeError(`${name}: expected a whole number of bytes, at least ${String(min)}, found ${shown(bytes)}`);
  }
  if (socketOwner !== undefined && !(Number.isSafeInteger(socketOwner) && socketOwner >= 0)) {
    throw new TypeError(`socketOwner: expected the id of a user, a whole number from 0, found ${shown(socketOwner)}`);
  }
  return {
    token: secret,
    timeoutMs,
    keepAliveMs,
    maxMessageBytes,
    documentCacheBytes,
    inputRowCacheBytes,
    socketOwner,
  };
}
