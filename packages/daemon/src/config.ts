import { homedir } from "node:os";
import { join, resolve } from "node:path";
import bytes from "bytes";
import ms from "ms";
import { z } from "zod";
import { DEFAULT_CHECK_OPTIONS, DEFAULT_DOCUMENT_MEMORY, DEFAULT_LIMITS, DEFAULT_RETENTION } from "@bolthole/core";
import { EXIT, StartupError } from "./exit-code.js";

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

const size = z.string().transform((text, context) => {
  const value = /^\d+(\.\d+)?\s*([kmg]i?)?b?$/i.test(text) ? bytes.parse(text.replace(/i(?=b?$)/i, "")) : null;
  if (value !== null && value >= 0) return value;
  context.addIssue({ code: "custom", message: `expected a size such as 32MB or 1GiB, got ${text}` });
  return z.NEVER;
});

const rate = z.preprocess((value) => (value === "off" ? "0" : value), size);

const duration = z.string().transform((text, context) => {
  const value = /^\d+(\.\d+)?\s*(ms|s|m|h|d)$/i.test(text) ? ms(text as ms.StringValue) : undefined;
  if (value !== undefined) return value;
  context.addIssue({ code: "custom", message: `expected a duration such as 500ms, 10s or 24h, got ${text}` });
  return z.NEVER;
});

const count = z.string().transform((text, context) => {
  if (/^\d{1,9}$/.test(text) && Number(text) > 0) return Number(text);
  context.addIssue({ code: "custom", message: `expected a whole number above 0, got ${text}` });
  return z.NEVER;
});

const flag = z.union([z.boolean(), z.string()]).transform((value, context) => {
  if (value === true || value === "true" || value === "1") return true;
  if (value === false || value === "false" || value === "0") return false;
  context.addIssue({ code: "custom", message: `expected true or false, got ${value}` });
  return z.NEVER;
});

const address = z.string().transform((text, context) => {
  const [, host = "", port = ""] = /^(.*):(\d{1,5})$/.exec(text) ?? [];
  if (LOOPBACK.test(host) && Number(port) <= 65535) return { host: host.replace(/[[\]]/g, ""), port: Number(port) };
  context.addIssue({
    code: "custom",
    message: `expected a loopback address such as 127.0.0.1:7117 (other hosts need TLS, which is not there yet), got ${text}`,
  });
  return z.NEVER;
});

const mebibytes = (value: number): string => `${String(value / (1024 * 1024))}MiB`;

/** Every setting of `bolthole serve`: its flag is the name with hyphens, its variable BOLTHOLE_ and the name in capitals. */
export const SETTINGS = {
  data: {
    schema: z.string().min(1),
    fallback: defaultDataFolder,
    help: "data folder; with the engine sqlite, the database file",
  },
  engine: {
    schema: z.enum(["lmdb", "sqlite", "memory"]),
    fallback: () => "lmdb",
    help: "lmdb, sqlite (a database of Meerkat's), or memory (keeps nothing)",
  },
  listen: {
    schema: address,
    fallback: () => undefined,
    help: "also listen on this loopback TCP address, such as 127.0.0.1:7117",
  },
  tcpInsecure: {
    schema: flag,
    fallback: () => "false",
    help: "TCP without the token: every local user may do everything",
  },
  logLevel: {
    schema: z.enum(["debug", "info", "warn", "error", "silent"]),
    fallback: () => "info",
    help: "debug, info, warn, error or silent",
  },
  quota: {
    schema: size,
    fallback: () => undefined,
    help: "how much the store may hold; clears go on beyond it",
  },
  check: {
    schema: z.enum(["auto", "full", "quick"]),
    fallback: () => "auto",
    help: "read the whole store before it is opened: auto (after an unclean end), full (always) or quick (never)",
  },
  checkMaxSize: {
    schema: size,
    fallback: () => "256MiB",
    help: "of a larger data file only the pages are checked before it is opened",
  },
  scrubRate: {
    schema: rate,
    fallback: () => "256KiB",
    help: "how much of the store is read in a second to find damage, beside all other work; off: nothing",
  },
  scrubInterval: {
    schema: duration,
    fallback: () => "6h",
    help: "such a reading begins so long after the last one began, at the earliest",
  },
  maxRequestSize: { schema: size, fallback: () => mebibytes(DEFAULT_LIMITS.requestBytes), help: "largest request" },
  maxRequestsSize: {
    schema: size,
    fallback: () => mebibytes(DEFAULT_LIMITS.requestBytesInFlight),
    help: "all requests in flight together",
  },
  maxRequests: { schema: count, fallback: () => String(DEFAULT_LIMITS.requestsInFlight), help: "requests in flight" },
  maxConnections: { schema: count, fallback: () => "1024", help: "open connections, for each way in" },
  maxStreams: { schema: count, fallback: () => "1024", help: "calls at one time on one connection" },
  maxDocumentSize: {
    schema: size,
    fallback: () => mebibytes(DEFAULT_LIMITS.documentBytes),
    help: "largest session snapshot",
  },
  maxRuntimeIdSize: { schema: size, fallback: () => "8KiB", help: "longest runtime id" },
  incrementalChecks: {
    schema: flag,
    fallback: () => "true",
    help: "check of a patched session only what changed; false: always the whole",
  },
  checkMemory: {
    schema: size,
    fallback: () => mebibytes(DEFAULT_CHECK_OPTIONS.memoryBytes),
    help: "what is remembered of sessions for these checks",
  },
  documentMemory: {
    schema: size,
    fallback: () => mebibytes(DEFAULT_DOCUMENT_MEMORY),
    help: "whole session snapshots on their way in, all together; more of them wait for room",
  },
  outcomeMaxAge: {
    schema: duration,
    fallback: () => `${String(DEFAULT_RETENTION.maxAgeSeconds / 3600)}h`,
    help: "how long outcomes of requests are kept",
  },
  outcomeMaxCount: {
    schema: count,
    fallback: () => String(DEFAULT_RETENTION.maxCount),
    help: "how many outcomes of requests are kept",
  },
  drainTimeout: { schema: duration, fallback: () => "10s", help: "how long a stop waits for calls under way" },
} as const;

type Settings = typeof SETTINGS;
export type SettingName = keyof Settings;
/** Without a default. */
type Optional = "listen" | "quota";

/** A configuration without a missing value. Sizes in bytes, durations in milliseconds. */
export type Config = { readonly [K in Exclude<SettingName, Optional>]: z.output<Settings[K]["schema"]> } & {
  readonly [K in Optional]: z.output<Settings[K]["schema"]> | undefined;
};

type RawValues = Partial<Record<SettingName, string | boolean>>;

export const flagOf = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
export const variableOf = (name: string): string => `BOLTHOLE_${flagOf(name).replaceAll("-", "_").toUpperCase()}`;

/** Flags over variables over defaults. Throws once, naming every setting that cannot be used, and where it came from. */
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
    if (variable.startsWith("BOLTHOLE_") && !isKnown) problems.push(`${variable}: there is no such setting`);
  }
  if (config.engine === "sqlite" && flags.data === undefined && environment[variableOf("data")] === undefined) {
    problems.push(`--${flagOf("data")}: the engine sqlite needs the name of a database file`);
  }
  if (problems.length > 0) throw new StartupError(EXIT.USAGE, problems.join("\n"));
  return Object.freeze({
    listen: undefined,
    quota: undefined,
    ...config,
    data: resolve(String(config.data)),
  }) as unknown as Config;
}

export function defaultDataFolder(): string {
  const state = process.env.XDG_STATE_HOME;
  return state ? join(state, "bolthole") : join(homedir(), ".local", "state", "bolthole");
}
