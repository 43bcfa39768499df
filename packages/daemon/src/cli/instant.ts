import { InvalidArgumentError } from "commander";
import { z } from "zod";

/** RFC 3339, of days that are in the calendar: `Date.parse` takes the 30th of February for the 2nd of March. */
const instant = z.iso.datetime({ offset: true });

/** Parses the argument of an option as an instant in RFC 3339 format, or `now`. Returns milliseconds since the epoch. */
export function parseInstant(text: string): number {
  if (text === "now") return Date.now();
  const ms = instant.safeParse(text).success ? Date.parse(text) : NaN;
  if (ms >= 0) return ms;
  throw new InvalidArgumentError(
    "Expected an instant that is in the calendar and not before 1970, such as 2026-05-28T15:31:27Z, or now.",
  );
}

/** Returns a time in milliseconds since the epoch as an instant in RFC 3339 format. */
export const instantText = (ms: number): string => new Date(ms).toISOString();
