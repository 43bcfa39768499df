import { InvalidArgumentError } from "commander";

/** Parses the argument of an option as an instant in RFC 3339 format, or `now`. Returns milliseconds since the epoch. */
export function parseInstant(text: string): number {
  if (text === "now") return Date.now();
  const ms = /^\d{4}-\d{2}-\d{2}T.*(Z|[+-]\d{2}:\d{2})$/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(ms)) throw new InvalidArgumentError("Expected an instant such as 2026-05-28T15:31:27Z, or now.");
  return ms;
}

/** Returns a time in milliseconds since the epoch as an instant in RFC 3339 format. */
export const instantText = (ms: number): string => new Date(ms).toISOString();
