import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { distance } from "fastest-levenshtein";
import { z } from "zod";
import {
  DEFAULT_CHECK_OPTIONS,
  DEFAULT_DOCUMENT_MEMORY,
  DEFAULT_LIMITS,
  DEFAULT_RETENTION,
  MAX_INPUT_ROW_BYTES,
  MAX_RUNTIME_ID_BYTES,
} from "@bolthole/core";
import { EXIT, StartupError } from "./exit-code.js";
import {
  DAY,
  GIB,
  KIB,
  LONGEST_TIMER,
  MIB,
  address,
  count,
  duration,
  flag,
  oneOf,
  size,
  sizeText,
} from "./setting-values.js";

/** The version of the daemon's package. */
export const VERSION = (
  JSON.parse(readFileSync(join(__dirname, "..", "package.json"), "utf8")) as { readonly version: string }
).version;

/** The ids of an upload are kept in memory. */
const MAX_UPLOAD_ROWS = 1_000_000;

/** The smallest `maxMessageBytes` of the client. */
const LEAST_SIZE = 64 * KIB;

/** A command that works through the daemon needs so many, for example an import: one for the store, and one for `AdminService`. */
const COMMAND_CONNECTIONS = 2;

/** All uploads together have this limit, so that a larger document could not be uploaded. */
const documentSize = size(LEAST_SIZE, DEFAULT_LIMITS.uploadBytes);

const EMPTY_PATH = "expected a path, found nothing";

/**
 * The settings of `bolthole serve`. The flag of a setting is its name with hyphens (`--log-level`), its variable is its name in
 * capitals after BOLTHOLE_ (`BOLTHOLE_LOG_LEVEL`).
 */
export const SETTINGS = {
  data: {
    schema: z.string().min(1, { error: EMPTY_PATH }),
    fallback: stateFolder,
    help: "data folder; for the engine sqlite, the database file",
  },
  engine: {
    schema: oneOf("lmdb", "sqlite", "memory"),
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
    schema: oneOf("debug", "info", "warn", "error", "silent"),
    fallback: () => "info",
    help: "least severe log level that is written: debug, info, warn, error or silent",
  },
  quota: {
    schema: size(MIB),
    fallback: () => undefined,
    help: "largest size of the stored data; above it, clears still work and changes that grow the store are refused",
  },
  check: {
    schema: oneOf("auto", "full", "quick"),
    fallback: () => "auto",
    help: "when the whole store is checked before it is opened: auto (after an unclean stop), full (always) or quick (never)",
  },
  checkMaxSize: {
    schema: size(0),
    fallback: () => "256MiB",
    help: "largest data file whose rows are checked before it is opened; in a larger one only the pages are checked",
  },
  scrubRate: {
    schema: size(KIB, GIB, { off: 0 }),
    fallback: () => "256KiB",
    help: "bytes per second that the scrub reads in the background to find damage",
  },
  scrubInterval: {
    schema: duration(1000, 365 * DAY),
    fallback: () => "6h",
    help: "shortest time from the start of one scrub pass to the start of the next",
  },
  maxRequestSize: {
    schema: size(LEAST_SIZE, GIB),
    fallback: () => sizeText(DEFAULT_LIMITS.requestBytes),
    help: "largest size of one request",
  },
  maxRequestsSize: {
    schema: size(LEAST_SIZE),
    fallback: () => sizeText(DEFAULT_LIMITS.requestBytesInFlight),
    help: "largest total size of the requests in flight",
  },
  maxRequests: {
    schema: count(1_000_000),
    fallback: () => String(DEFAULT_LIMITS.requestsInFlight),
    help: "largest number of requests in flight",
  },
  maxResponsesSize: {
    schema: size(4 * MIB),
    fallback: () => "128MiB",
    help: "largest total size of the responses that clients have not received yet",
  },
  maxConnections: {
    schema: count(1_000_000, COMMAND_CONNECTIONS),
    fallback: () => "1024",
    help: "largest number of open connections, counted separately for the socket and for TCP",
  },
  maxStreams: {
    schema: count(1_000_000),
    fallback: () => "1024",
    help: "largest number of concurrent calls on one connection",
  },
  maxDocumentSize: {
    schema: documentSize,
    fallback: () => sizeText(DEFAULT_LIMITS.documentBytes),
    help: "largest size of a session snapshot",
  },
  maxOpsSnapshotSize: {
    schema: documentSize,
    fallback: () => sizeText(DEFAULT_LIMITS.operationSnapshotBytes),
    help: "largest size of the JSON of an operation snapshot",
  },
  maxTypedOpsSnapshotSize: {
    schema: size(LEAST_SIZE, 3 * MIB),
    fallback: () => sizeText(DEFAULT_LIMITS.typedOpsSnapshotBytes),
    help: "largest operation snapshot that is sent or loaded as a message and not as JSON",
  },
  maxInputRowSize: {
    schema: size(LEAST_SIZE, MAX_INPUT_ROW_BYTES),
    fallback: () => sizeText(DEFAULT_LIMITS.inputRowBytes),
    help: "largest size of one input row in its canonical JSON",
  },
  maxInputUploadRows: {
    schema: count(MAX_UPLOAD_ROWS),
    fallback: () => String(DEFAULT_LIMITS.inputUploadRows),
    help: "largest number of input rows in one upload",
  },
  maxInputUploadSize: {
    schema: size(MIB),
    fallback: () => undefined,
    help: "largest total size of the uploaded input rows that no commit has used yet; unless set, 16GiB, or 1GiB with the engine memory",
  },
  maxRuntimeIdSize: {
    schema: size(64, MAX_RUNTIME_ID_BYTES),
    fallback: () => "8KiB",
    help: "largest size of a runtime id",
  },
  incrementalChecks: {
    schema: flag,
    fallback: () => "true",
    help: "check only the changed messages of a patched session; false: check every session completely",
  },
  checkMemory: {
    schema: size(0),
    fallback: () => sizeText(DEFAULT_CHECK_OPTIONS.memoryBytes),
    help: "memory for the session indexes that incremental checks reuse",
  },
  documentMemory: {
    schema: size(MIB),
    fallback: () => sizeText(DEFAULT_DOCUMENT_MEMORY),
    help: "memory for whole documents that are being committed; more of them wait",
  },
  outcomeMaxAge: {
    schema: duration(1000, 3650 * DAY, 1000),
    fallback: () => `${String(DEFAULT_RETENTION.maxAgeSeconds / 3600)}h`,
    help: "how long the outcomes of requests are kept",
  },
  outcomeMaxCount: {
    schema: count(10_000_000),
    fallback: () => String(DEFAULT_RETENTION.maxCount),
    help: "how many outcomes of requests are kept, and a tenth as many sealed ids",
  },
  drainTimeout: {
    schema: duration(0, LONGEST_TIMER),
    fallback: () => "10s",
    help: "how long a stop waits for calls in progress",
  },
  closeTimeout: {
    schema: duration(100, LONGEST_TIMER),
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

/** Returns the help text of a setting, with the values that it may have. */
export function helpOf(name: SettingName): string {
  const { schema, help } = SETTINGS[name];
  return schema.description === undefined ? help : `${help}; ${schema.description}`;
}

/**
 * Returns the configuration. A flag overrides a variable, and a variable overrides the default; an empty variable counts as unset.
 * Throws one StartupError that names every value that cannot be used, with the flag or variable that it came from.
 */
export function resolveConfig(flags: RawValues, environment: NodeJS.ProcessEnv): Config {
  const problems: string[] = [];
  const config: Record<string, unknown> = {};
  const isDefault = (name: SettingName): boolean => flags[name] === undefined && !environment[variableOf(name)];
  /** Returns where a value came from, or the flag that would change a default. */
  const sourceOf = (name: SettingName): string =>
    flags[name] === undefined && environment[variableOf(name)] ? variableOf(name) : `--${flagOf(name)}`;
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const { schema, fallback } = SETTINGS[name];
    const variable = environment[variableOf(name)];
    const raw = flags[name] ?? (variable === "" ? undefined : variable) ?? fallback();
    if (raw === undefined) continue;
    const result = schema.safeParse(raw);
    if (result.success) config[name] = result.data;
    else problems.push(...result.error.issues.map((issue) => `${sourceOf(name)}: ${issue.message}`));
  }
  for (const { variable, meant } of unknownVariables(environment)) {
    if (meant !== undefined) problems.push(`${variable}: there is no setting of this name; did you mean ${meant}?`);
  }
  if (config.data === undefined && problems.length === 0) problems.push(NO_HOME);
  if (config.engine === "sqlite" && flags.data === undefined && !environment[variableOf("data")]) {
    problems.push(`--${flagOf("data")}: the engine sqlite needs the path of a database file`);
  }
  const { maxRequestSize, maxRequestsSize } = config as Partial<Config>;
  if (maxRequestSize !== undefined && maxRequestsSize !== undefined && maxRequestsSize < maxRequestSize) {
    const most = `${sizeText(maxRequestsSize)}${isDefault("maxRequestsSize") ? ", its default" : ""}`;
    problems.push(
      `${sourceOf("maxRequestSize")}: expected at most ${sourceOf("maxRequestsSize")} (${most}), found ${sizeText(maxRequestSize)}`,
    );
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

/**
 * Returns how many letters a variable may differ from a setting that it was meant to be. A short name has few, because it is near to other
 * words: BOLTHOLE_LISTENER of another program is not a misspelt BOLTHOLE_LISTEN.
 */
const typingErrors = (name: string): number => (name.length < "BOLTHOLE_".length + 8 ? 1 : 2);

/** Whether so many typing errors make one text of the other. Two letters in exchanged order are one error. */
function isNear(a: string, b: string, errors: number): boolean {
  const letters = (text: string): string => Array.from(text).sort().join("");
  const isExchange = distance(a, b) === 2 && letters(a) === letters(b);
  return isExchange || distance(a, b) <= errors;
}

/** A variable of the environment that has the prefix of settings and is none. */
export interface UnknownVariable {
  readonly variable: string;
  /** The variable of the setting that was probably meant. */
  readonly meant: string | undefined;
}

/**
 * Returns the variables that look like settings and are none. Some are made by others: beside a service of the name "bolthole",
 * Kubernetes and Docker set BOLTHOLE_PORT, BOLTHOLE_SERVICE_HOST and more in every container.
 */
export function unknownVariables(environment: NodeJS.ProcessEnv): UnknownVariable[] {
  const known = (Object.keys(SETTINGS) as SettingName[]).map(variableOf);
  const plain = (variable: string): string => variable.replaceAll("_", "");
  return Object.keys(environment)
    .filter((variable) => variable.startsWith("BOLTHOLE_") && !known.includes(variable))
    .map((variable) => ({
      variable,
      meant: known.find((name) => isNear(plain(name), plain(variable), typingErrors(name))),
    }));
}

/** Returns the data folder of a command: that of its flag, or of the variable, or the default one. */
export const dataFolderOf = (flag: string | undefined): string => chosenDataFolder(flag) ?? defaultDataFolder();

/**
 * Returns the data folder of the flag, or of the variable, and undefined without both. An empty variable counts as unset. Throws a
 * StartupError for an empty flag, as from `--data "$UNSET"`: the path would be that of the working directory.
 */
export function chosenDataFolder(flag: string | undefined): string | undefined {
  if (flag === "") throw new StartupError(EXIT.USAGE, `--${flagOf("data")}: ${EMPTY_PATH}`);
  return flag ?? (process.env[variableOf("data")] || undefined);
}

/** Returns the data folder when none is configured. Throws a StartupError when the user has no home folder. */
export function defaultDataFolder(): string {
  const folder = stateFolder();
  if (folder === undefined) throw new StartupError(EXIT.USAGE, NO_HOME);
  return folder;
}

const NO_HOME = "--data: this user has no home folder (HOME is not set), so there is no default; choose a data folder";

function stateFolder(): string | undefined {
  const state = process.env.XDG_STATE_HOME;
  // The rules of XDG: a relative path is not valid and is ignored.
  if (state && isAbsolute(state)) return join(state, "bolthole");
  try {
    const home = homedir();
    return isAbsolute(home) ? join(home, ".local", "state", "bolthole") : undefined;
  } catch {
    // A user without an entry in the list of users, as in a container.
    return undefined;
  }
}
