import { isIPv4 } from "node:net";
import bytes from "bytes";
import ms from "ms";
import { z } from "zod";

/*
 * The forms of the values of settings. Each form has a smallest and a largest value, which its description names: a setting
 * outside of them could not work, or could not be shown as it is.
 */

/** The form of a setting that is a number, and is written as text. */
type NumberForm = z.ZodType<number, string>;

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** No disk and no memory is larger, and every size up to it is exact in every message. */
const LARGEST_SIZE = 1024 * 1024 * GIB;

/** Returns a size as settings are written. */
export function sizeText(value: number): string {
  for (const [unit, name] of [
    [GIB, "GiB"],
    [MIB, "MiB"],
    [KIB, "KiB"],
  ] as const) {
    if (value > 0 && value % unit === 0) return `${String(value / unit)}${name}`;
  }
  return String(value);
}

/** A size in bytes, from `least` to `most`. `words` are values with another form. */
export function size(least: number, most = LARGEST_SIZE, words: Readonly<Record<string, number>> = {}): NumberForm {
  const range = `from ${sizeText(least)} to ${sizeText(most)}`;
  const names = Object.keys(words);
  const description = [range, ...names].join(", or ");
  return z
    .string()
    .transform((text, context) => {
      const word = Object.hasOwn(words, text) ? words[text] : undefined;
      if (word !== undefined) return word;
      // A number of bytes has no fraction.
      const isSize = /^(\d+\s*b?|\d+(\.\d+)?\s*[kmg]i?b?)$/i.test(text);
      const value = isSize ? bytes.parse(text.replace(/i(?=b?$)/i, "")) : null;
      if (value !== null && value >= least && value <= most) return value;
      const form = isSize ? "a size" : "a size such as 32MB or 1GiB";
      context.addIssue({ code: "custom", message: `expected ${form} ${description}, found ${text}` });
      return z.NEVER;
    })
    .describe(description);
}

const SECOND = 1000;
export const DAY = 24 * 60 * 60 * SECOND;

/** Node's timers end at once when they are longer than 24.8 days. */
export const LONGEST_TIMER = 24 * DAY;

const durationText = (value: number): string => (value === 0 ? "0s" : ms(value));

/** A duration in milliseconds, from `least` to `most`, in steps of `step`. */
export function duration(least: number, most: number, step: 1 | 1000 = 1): NumberForm {
  const description = `from ${durationText(least)} to ${durationText(most)}${step === SECOND ? ", in whole seconds" : ""}`;
  return z
    .string()
    .transform((text, context) => {
      const isDuration = /^\d+(\.\d+)?\s*(ms|s|m|h|d)$/i.test(text);
      const value = isDuration ? ms(text as ms.StringValue) : Number.NaN;
      if (value >= least && value <= most && value % step === 0) return value;
      const form = isDuration ? "a duration" : "a duration such as 500ms, 10s or 24h";
      context.addIssue({ code: "custom", message: `expected ${form} ${description}, found ${text}` });
      return z.NEVER;
    })
    .describe(description);
}

/** A whole number from `least` to `most`. */
export function count(most: number, least = 1): NumberForm {
  const description = `from ${String(least)} to ${String(most)}`;
  return z
    .string()
    .transform((text, context) => {
      const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
      if (value >= least && value <= most) return value;
      context.addIssue({ code: "custom", message: `expected a whole number ${description}, found ${text}` });
      return z.NEVER;
    })
    .describe(description);
}

export const flag = z.union([z.boolean(), z.string()]).transform((value, context) => {
  if (value === true || value === "true" || value === "1") return true;
  if (value === false || value === "false" || value === "0") return false;
  context.addIssue({ code: "custom", message: `expected true or false, found ${value}` });
  return z.NEVER;
});

/** One of these words, which are written in small letters. */
export const oneOf = <const T extends string>(...words: readonly T[]): z.ZodEnum<{ [K in T]: K }> =>
  z.enum(words, {
    error: ({ input }) => `expected ${words.slice(0, -1).join(", ")} or ${words.at(-1) ?? ""}, found ${String(input)}`,
  });

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "[::1]" || (host.startsWith("127.") && isIPv4(host));

const MAX_PORT = 65535;

/** A loopback address and a port. Port 0 selects a free one. */
export const address = z.string().transform((text, context) => {
  const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(text) ?? [];
  if (isLoopback(host) && Number(port) <= MAX_PORT) return { host: host.replace(/[[\]]/g, ""), port: Number(port) };
  const message = isLoopback(host)
    ? `expected a port from 0 to ${String(MAX_PORT)}, found ${port}`
    : `expected a loopback address such as 127.0.0.1:7117 (other addresses need TLS, which is not supported yet), found ${text}`;
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});
