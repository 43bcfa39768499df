import { COLON, MINUS, OPEN_LIST, POINT, ZERO } from "../text/characters.js";
import { JsonError } from "../text/json-error.js";
import type { JsonReader } from "../text/reader.js";
import { valueForm } from "./form.js";
import { U32, U64, integerForm, spelledString } from "./scalar.js";
import type { Shape } from "./shape.js";
import { closedStruct, required } from "./struct.js";

/** An instant as RFC 3339 text in UTC with 0, 3, 6 or 9 fractional digits (contract 9.9). */
export type Timestamp = string;

/** The reference's `SystemTime`: seconds since 1970-01-01, and 0 to 999,999,999 nanoseconds. */
export interface SystemTime {
  /** 0 to 2^63-1. */
  readonly seconds: bigint;
  readonly nanos: number;
}

/** The range of the reference's clock. */
const MIN_YEAR = -262143;
const MAX_YEAR = 262142;
const SECONDS_PER_DAY = 86400;
const NANOS_PER_SECOND = 1_000_000_000;
const I64_MAX = 0x7fffffffffffffffn;
const U64_MAX = 0xffffffffffffffffn;

const LETTER_T = 0x54;
const LETTER_Z = 0x5a;

// The characters of Unicode's White_Space. They differ from those of \s in a regular expression. The pattern has the characters
// themselves: it is part of the JSON Schemas, and not every language knows the escapes of JavaScript.
const WHITE_SPACE = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]";
const MINUTES = "[0-5]?[0-9]";
const number = (pattern: string) => `${WHITE_SPACE}*(${pattern})`;
const PATTERN =
  `^${number("[0-9]{1,4}|[-+][0-9]+")}${WHITE_SPACE}*-${number("0?[1-9]|1[0-2]")}${WHITE_SPACE}*-${number("0?[1-9]|[12][0-9]|3[01]")}[tT ]` +
  `${number("[01]?[0-9]|2[0-3]")}${WHITE_SPACE}*:${number(MINUTES)}${WHITE_SPACE}*:${number(`${MINUTES}|60`)}(?:\\.([0-9]+))?` +
  `${WHITE_SPACE}*(?:[zZ]|[uU][tT][cC]|([-+\u2212])([01][0-9]|2[0-3])(?::|${WHITE_SPACE})*([0-5][0-9]))${WHITE_SPACE}*$`;
const ACCEPTED = new RegExp(PATTERN);

export const TIMESTAMP: Shape<Timestamp> = spelledString(
  "an RFC 3339 timestamp",
  canonicalTimestampLength,
  canonicalTimestamp,
  valueForm(
    {
      description: "An RFC 3339 timestamp. The store writes it in UTC, with a fraction of 0, 3, 6 or 9 digits.",
      $comment: "Not in this schema: the day must exist in its month, and the year is from -262143 to 262142.",
      type: "string",
      pattern: PATTERN,
    },
    "2026-05-28T15:31:27Z",
    "Timestamp",
  ),
);

/**
 * Returns the canonical form of a timestamp (contract 9.9) in any spelling that the reference accepts (contract 9.9).
 * Undefined for any other text.
 */
export function canonicalTimestamp(text: string): Timestamp | undefined {
  const match = ACCEPTED.exec(text);
  if (match === null) return undefined;
  const [, year = "", month = "", day = "", hour = "", minute = "", second = "", fraction = ""] = match;
  const [, , , , , , , , sign, offsetHour, offsetMinute] = match;
  if (!isDate(Number(year), Number(month), Number(day))) return undefined;
  const offset = sign === undefined ? 0 : Number(offsetHour) * 3600 + Number(offsetMinute) * 60;
  const local = Number(hour) * 3600 + Number(minute) * 60;
  const utc = sign === "+" ? local - offset : local + offset;
  const days = daysFromCivil(Number(year), Number(month), Number(day)) + Math.floor(utc / SECONDS_PER_DAY);
  const date = civilFromDays(days);
  if (date.year < MIN_YEAR || date.year > MAX_YEAR) return undefined;
  const time = ((utc % SECONDS_PER_DAY) + SECONDS_PER_DAY) % SECONDS_PER_DAY;
  return (
    `${yearText(date.year)}-${two(date.month)}-${two(date.day)}` +
    `T${two(Math.floor(time / 3600))}:${two(Math.floor(time / 60) % 60)}:${two(Number(second))}${fractionText(fraction)}Z`
  );
}

/** Returns the length of the canonical timestamp from `at` on, with a year from 0 to 9999; otherwise 0. */
function canonicalTimestampLength(bytes: Uint8Array, at: number): number {
  const year = digits(bytes, at, 4);
  const isCanonical =
    year >= 0 &&
    isDate(year, digits(bytes, at + 5, 2), digits(bytes, at + 8, 2)) &&
    isTime(digits(bytes, at + 11, 2), digits(bytes, at + 14, 2), digits(bytes, at + 17, 2)) &&
    bytes[at + 4] === MINUS &&
    bytes[at + 7] === MINUS &&
    bytes[at + 10] === LETTER_T &&
    bytes[at + 13] === COLON &&
    bytes[at + 16] === COLON;
  if (!isCanonical) return 0;
  let end = at + 19;
  if (bytes[end] === POINT) {
    end++;
    let group = digits(bytes, end, 3);
    for (end += 3; group >= 0 && bytes[end] !== LETTER_Z && end < at + 29; end += 3) group = digits(bytes, end, 3);
    // Canonical form omits a last group of zeros.
    if (group <= 0) return 0;
  }
  return bytes[end] === LETTER_Z ? end + 1 - at : 0;
}

/** Returns the value of `count` digits, or -1. */
function digits(bytes: Uint8Array, start: number, count: number): number {
  let value = 0;
  for (let i = start; i < start + count; i++) {
    const digit = (bytes[i] ?? 0) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

function isDate(year: number, month: number, day: number): boolean {
  if (!(year >= MIN_YEAR && year <= MAX_YEAR && month >= 1 && month <= 12 && day >= 1)) return false;
  if (month === 2) return day <= (year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28);
  return day <= (month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31);
}

/** A second of 60 is a leap second. The reference accepts it in any minute. */
function isTime(hour: number, minute: number, second: number): boolean {
  return hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59 && second >= 0 && second <= 60;
}

/** Returns the fraction to nine digits, in the fewest groups of three digits that represent it. */
function fractionText(fraction: string): string {
  let kept = fraction.slice(0, 9).padEnd(9, "0");
  while (kept.endsWith("000")) kept = kept.slice(0, -3);
  return kept === "" ? "" : `.${kept}`;
}

function yearText(year: number): string {
  if (year >= 0 && year <= 9999) return String(year).padStart(4, "0");
  return (year < 0 ? "-" : "+") + String(Math.abs(year)).padStart(4, "0");
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

/** Returns the days since 1970-01-01 (proleptic Gregorian calendar). Years begin in March here, so that a leap day is the last day. */
function daysFromCivil(year: number, month: number, day: number): number {
  const marchYear = month <= 2 ? year - 1 : year;
  const era = Math.floor(marchYear / 400);
  const yearOfEra = marchYear - era * 400;
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
  return era * 146097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719468;
}

function civilFromDays(days: number): { year: number; month: number; day: number } {
  const shifted = days + 719468;
  const era = Math.floor(shifted / 146097);
  const dayOfEra = shifted - era * 146097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36524) - Math.floor(dayOfEra / 146096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1,
  };
}

// The nanoseconds only add to the seconds, so the limit of their sum is also a limit of the seconds.
const SECONDS: Shape<bigint> = { ...U64, form: () => integerForm(I64_MAX) };

const SYSTEM_TIME_FIELDS = closedStruct<SystemTime>("a system time", {
  seconds: required("secs_since_epoch", SECONDS),
  nanos: required("nanos_since_epoch", U32),
});

const PAIR = valueForm(
  {
    title: "system time as a pair",
    type: "array",
    prefixItems: [integerForm(I64_MAX).schema, integerForm(0xffffffff).schema],
    items: false,
    minItems: 2,
  },
  [0, 0],
);

/** An object of two numbers. Reading also accepts a list of the two, and carries nanoseconds above the limit (contract 7.2). */
export const SYSTEM_TIME: Shape<SystemTime> = {
  label: SYSTEM_TIME_FIELDS.label,
  read: (reader) => carryNanos(reader.peek() === OPEN_LIST ? readPair(reader) : SYSTEM_TIME_FIELDS.read(reader)),
  write(value, out) {
    if (typeof value === "object" && value !== null && !(value.nanos < NANOS_PER_SECOND)) {
      throw JsonError.at("expected less than 1000000000 nanoseconds", undefined, "nanos_since_epoch");
    }
    if (typeof value === "object" && value !== null && value.seconds > I64_MAX) {
      throw JsonError.at("expected at most 2^63-1 seconds", undefined, "secs_since_epoch");
    }
    SYSTEM_TIME_FIELDS.write(value, out);
  },
  form: () => ({ kind: "choice", name: "SystemTimeOrPair", options: [SYSTEM_TIME_FIELDS.form(), PAIR] }),
};

function readPair(reader: JsonReader): SystemTime {
  reader.openList();
  if (!reader.nextElement(true)) throw reader.error("expected seconds and nanoseconds", reader.position - 1);
  const seconds = U64.read(reader);
  if (!reader.nextElement(false)) throw reader.error("expected seconds and nanoseconds", reader.position - 1);
  const nanos = U32.read(reader);
  if (reader.nextElement(false)) throw reader.error("expected no more than seconds and nanoseconds");
  return { seconds, nanos };
}

function carryNanos({ seconds, nanos }: SystemTime): SystemTime {
  const total = seconds + BigInt(Math.floor(nanos / NANOS_PER_SECOND));
  if (total > U64_MAX) throw JsonError.rule("overflow deserializing SystemTime epoch offset");
  if (total > I64_MAX) throw JsonError.rule("overflow deserializing SystemTime");
  return { seconds: total, nanos: nanos % NANOS_PER_SECOND };
}
