import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import bytes from "bytes";
import ms from "ms";
import { z } from "zod";
import {
  DEFAULT_CHECK_OPTIONS,
  DEFAULT_DOCUMENT_MEMORY,
  DEFAULT_LIMITS,
  DEFAULT_RETENTION,
  MAX_INPUT_ROW_BYTES,
} from "@bolthole/core";
import { EXIT, StartupError } from "./exit-code.js";

/** The version of the daemon's package. */
export const VERSION = (
  JSON.parse(readFileSync(join(__dirname, "..", "package.json"), "utf8")) as { readonly version: string }
).version;

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const mebibytes = (value: number): string => `${String(value / MIB)}MiB`;

/** The ids of an upload are kept in memory. */
const MAX_UPLOAD_ROWS = 1_000_000;

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

const size = z.string().transform((text, context) => {
  const value = /^\d+(\.\d+)?\s*([kmg]i?)?b?$/i.test(text) ? bytes.parse(text.replace(/i(?=b?$)/i, "")) : null;
  if (value !== null && value >= 0) return value;
  context.addIssue({ code: "custom", message: `expected a size such as 32MB or 1GiB, found ${text}` });
  return z.NEVER;
});

/** A size that must not exceed what the stored form and the memory of one message can hold. */
const sizeUpTo = (most: number) =>
  size.refine((value) => value > 0 && value <= most, {
    message: `expected a size above 0 and up to ${most < MIB ? `${String(most / KIB)}KiB` : mebibytes(most)}`,
  });

/** A message is one block of memory, which is copied while it is decoded. */
const requestSize = sizeUpTo(GIB);

/** The stored form of a row has two bytes for the length of its runtime id. */
const runtimeIdSize = sizeUpTo(32 * KIB);

/** All uploads together have this limit, so that a larger document could not be uploaded. */
const documentSize = sizeUpTo(DEFAULT_LIMITS.uploadBytes);

const rate = z.preprocess((value) => (value === "off" ? "0" : value), size);

const duration = z.string().transform((text, context) => {
  const value = /^\d+(\.\d+)?\s*(ms|s|m|h|d)$/i.test(text) ? ms(text as ms.StringValue) : undefined;
  if (value !== undefined) return value;
  context.addIssue({ code: "custom", message: `expected a duration such as 500ms, 10s or 24h, found ${text}` });
  return z.NEVER;
});

/** Node's timers end at once when they are longer than this. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const timer = duration.refine((value) => value <= LONGEST_TIMER_MS, { message: "expected a duration of at most 24d" });

const count = z.string().transform((text, context) => {
  if (/^\d{1,9}$/.test(text) && Number(text) > 0) return Number(text);
  context.addIssue({ code: "custom", message: `expected a whole number above 0, found ${text}` });
  return z.NEVER;
});

const flag = z.union([z.boolean(), z.string()]).transform((value, context) => {
  if (value === true || value === "true" || value === "1") return true;
  if (value === false || value === "false" || value === "0") return false;
  context.addIssue({ code: "custom", message: `expected true or false, found ${value}` });
  return z.NEVER;
});

const address = z.string().transform((text, context) => {
  const [, host = "", port = ""] = /^(.*):(\d{1,5})$/.exec(text) ?? [];
  if (LOOPBACK.test(host) && Number(port) <= 65535) return { host: host.replace(/[[\]]/g, ""), port: Number(port) };
  context.addIssue({
    code: "custom",
    message: `expected a loopback address such as 127.0.0.1:7117 (other addresses need TLS, which is not supported yet), found ${text}`,
  });
  return z.NEVER;
});

/**
 * The settings of `bolthole serve`. The flag of a setting is its name with hyphens (`--log-level`), its variable is its name in
 * capitals after BOLTHOLE_ (`BOLTHOLE_LOG_LEVEL`).
 */
export const SETTINGS = {
  data: {
    schema: z.string().min(1),
    fallback: defaultDataFolder,
    help: "data folder; for the engine sqlite, the database file",
  },
  engine: {
    schema: z.enum(["lmdb", "sqlite", "memory"]),
    fallback: () => "lmdb",
    help: "storage engine: lmdb, sqlite (a Meerkat database) or memory (keeps nothing after a stop)",
  },
  listen: {
    schema: address,
    fallback: () => undefined,
    help: "loopback TCP address to listen on in addition to the socket, such as 127.0.0.1:7117",
  },
  tcpInsecure: {
    schema: flag,
    fallback: () => "false",
    help: "accept TCP calls without the token: every local user then has full access",
  },
  logLevel: {
    schema: z.enum(["debug", "info", "warn", "error", "silent"]),
    fallback: () => "info",
    help: "least severe log level that is written: debug, info, warn, error or silent",
  },
  quota: {
    schema: size,
    fallback: () => undefined,
    help: "largest size of the stored data; above it, clears still work and other changes are refused",
  },
  check: {
    schema: z.enum(["auto", "full", "quick"]),
    fallback: () => "auto",
    help: "when the whole store is checked before it is opened: auto (after an unclean stop), full (always) or quick (never)",
  },
  checkMaxSize: {
    schema: size,
    fallback: () => "256MiB",
    help: "largest data file whose rows are checked before it is opened; in a larger one only the pages are checked",
  },
  scrubRate: {
    schema: rate,
    fallback: () => "256KiB",
    help: "bytes per second that the scrub reads in the background to find damage; off disables the scrub",
  },
  scrubInterval: {
    schema: duration,
    fallback: () => "6h",
    help: "shortest time from the start of one scrub pass to the start of the next",
  },
  maxRequestSize: {
    schema: requestSize,
    fallback: () => mebibytes(DEFAULT_LIMITS.requestBytes),
    help: "largest size of one request, at most 1GiB",
  },
  maxRequestsSize: {
    schema: size,
    fallback: () => mebibytes(DEFAULT_LIMITS.requestBytesInFlight),
    help: "largest total size of the requests in flight",
  },
  maxRequests: {
    schema: count,
    fallback: () => String(DEFAULT_LIMITS.requestsInFlight),
    help: "largest number of requests in flight",
  },
  maxConnections: {
    schema: count,
    fallback: () => "1024",
    help: "largest number of open connections, counted separately for the socket and for TCP",
  },
  maxStreams: {
    schema: count,
    fallback: () => "1024",
    help: "largest number of concurrent calls on one connection",
  },
  maxDocumentSize: {
    schema: documentSize,
    fallback: () => mebibytes(DEFAULT_LIMITS.documentBytes),
    help: "largest size of a session snapshot, at most 512MiB",
  },
  maxOpsSnapshotSize: {
    schema: documentSize,
    fallback: () => mebibytes(DEFAULT_LIMITS.operationSnapshotBytes),
    help: "largest size of the JSON of an operation snapshot, at most 512MiB",
  },
  maxTypedOpsSnapshotSize: {
    schema: sizeUpTo(3 * MIB),
    fallback: () => mebibytes(DEFAULT_LIMITS.typedOpsSnapshotBytes),
    help: "largest operation snapshot that is sent or loaded as a message and not as JSON, at most 3MiB",
  },
  maxInputRowSize: {
    schema: sizeUpTo(MAX_INPUT_ROW_BYTES),
    fallback: () => mebibytes(DEFAULT_LIMITS.inputRowBytes),
    help: "largest size of one input row in its canonical JSON, up to 256MiB",
  },
  maxInputUploadRows: {
    schema: count.refine((value) => value <= MAX_UPLOAD_ROWS, {
      message: `expected at most ${String(MAX_UPLOAD_ROWS)} rows`,
    }),
    fallback: () => String(DEFAULT_LIMITS.inputUploadRows),
    help: "largest number of input rows in one upload, up to 1000000",
  },
  maxInputUploadSize: {
    schema: size,
    fallback: () => undefined,
    help: "largest total size of the uploaded input rows that no commit has used yet; unless set, 16GiB, or 1GiB with the engines sqlite and memory",
  },
  maxRuntimeIdSize: {
    schema: runtimeIdSize,
    fallback: () => "8KiB",
    help: "largest size of a runtime id, at most 32KiB",
  },
  incrementalChecks: {
    schema: flag,
    fallback: () => "true",
    help: "check only the changed messages of a patched session; false: check every session completely",
  },
  checkMemory: {
    schema: size,
    fallback: () => mebibytes(DEFAULT_CHECK_OPTIONS.memoryBytes),
    help: "memory for the session indexes that incremental checks reuse",
  },
  documentMemory: {
    schema: size,
    fallback: () => mebibytes(DEFAULT_DOCUMENT_MEMORY),
    help: "memory for whole documents that are being committed; more of them wait",
  },
  outcomeMaxAge: {
    schema: duration,
    fallback: () => `${String(DEFAULT_RETENTION.maxAgeSeconds / 3600)}h`,
    help: "how long the outcomes of requests are kept",
  },
  outcomeMaxCount: {
    schema: count,
    fallback: () => String(DEFAULT_RETENTION.maxCount),
    help: "how many outcomes of requests are kept",
  },
  drainTimeout: {
    schema: timer,
    fallback: () => "10s",
    help: "how long a stop waits for calls in progress",
  },
  closeTimeout: {
    schema: timer,
    fallback: () => "60s",
    help: "how long a stop then waits for the store to be closed; after it the process ends as after a crash",
  },
} as const;

type Settings = typeof SETTINGS;
export type SettingName = keyof Settings;
/** The settings that have no default. */
type Optional = "listen" | "quota" | "maxInputUploadSize";

/** The settings after checks and defaults. Sizes are in bytes, durations in milliseconds. */
export type Config = { readonly [K in Exclude<SettingName, Optional>]: z.output<Settings[K]["schema"]> } & {
  readonly [K in Optional]: z.output<Settings[K]["schema"]> | undefined;
};

type RawValues = Partial<Record<SettingName, string | boolean>>;

/** Returns the flag of a setting without its hyphens in front, such as `log-level`. */
export const flagOf = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** Returns the environment variable of a setting, such as `BOLTHOLE_LOG_LEVEL`. */
export const variableOf = (name: string): string => `BOLTHOLE_${flagOf(name).replaceAll("-", "_").toUpperCase()}`;

/**
 * Returns the configuration. A flag overrides a variable, and a variable overrides the default. Throws one StartupError that names
 * every value that cannot be used, with the flag or variable that it came from.
 */
export function resolveConfig(flags: RawValues, environment: NodeJS.ProcessEnv): Config {
  const problems: string[] = [];
  const config: Record<string, unknown> = {};
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const { schema, fallback } = SETTINGS[name];
    const variable = environment[variableOf(name)];
    const raw = flags[name] ?? variable ?? fallback();
    if (raw === undefined) continue;
    const result = schema.safeParse(raw);
    if (result.success) config[name] = result.data;
    else {
      const source = flags[name] === undefined ? variableOf(name) : `--${flagOf(name)}`;
      problems.push(...result.error.issues.map((issue) => `${source}: ${issue.message}`));
    }
  }
  for (const variable of Object.keys(environment)) {
    const isKnown = (Object.keys(SETTINGS) as SettingName[]).some((name) => variableOf(name) === variable);
    if (variable.startsWith("BOLTHOLE_") && !isKnown)
      problems.push(`${variable}: there is no setting of this name; see bolthole serve --help`);
  }
  if (config.engine === "sqlite" && flags.data === undefined && environment[variableOf("data")] === undefined) {
    problems.push(`--${flagOf("data")}: the engine sqlite needs the path of a database file`);
  }
  const { maxRequestSize, maxRequestsSize } = config as Partial<Config>;
  if (maxRequestSize !== undefined && maxRequestsSize !== undefined && maxRequestsSize < maxRequestSize) {
    problems.push(`--${flagOf("maxRequestsSize")}: expected at least --${flagOf("maxRequestSize")}, found less`);
  }
  if (problems.length > 0) throw new StartupError(EXIT.USAGE, problems.join("\n"));
  return Object.freeze({
    listen: undefined,
    quota: undefined,
    maxInputUploadSize: undefined,
    ...config,
    data: resolve(String(config.data)),
  }) as unknown as Config;
}

/** Returns the data folder when none is configured. */
export function defaultDataFolder(): string {
  const state = process.env.XDG_STATE_HOME;
  return state ? join(state, "bolthole") : join(homedir(), ".local", "state", "bolthole");
}
