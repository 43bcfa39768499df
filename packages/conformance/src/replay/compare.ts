import { isDeepStrictEqual } from "node:util";
import { STORE_ERROR_VARIANTS } from "@bolthole/contract";
import type { TraceError, TraceResult } from "./trace.js";

/** Whether an answer is the expected one, by the rules of TRACES.md and section 14. */
export function matches(expected: TraceResult, got: TraceResult): boolean {
  if (!isDeepStrictEqual([expected.calls, expected.seen], [got.calls, got.seen])) return false;
  if (expected.err) return got.err !== undefined && sameError(expected.err, got.err);
  return got.err === undefined && isDeepStrictEqual(expected.ok, got.ok);
}

function sameError(expected: TraceError, got: TraceError): boolean {
  // The reference could not even build such a call; the daemon refuses it (section 14.11).
  if (expected.variant === "RecordRejected") {
    return got.variant === "WriteFailed" && got.text === STORE_ERROR_VARIANTS.WriteFailed + expected.text;
  }
  if (expected.variant !== got.variant) return false;
  for (const fact of ["expected", "actual"] as const) {
    if (expected[fact] !== undefined && expected[fact] !== got[fact]) return false;
  }
  return sameText(expected.text, got.text);
}

/** How the texts of the reference's JSON reader end, and how those of them and of SQLite begin that have no place. */
const PLACE = / at line \d+ column \d+$/;
const FOREIGN =
  /^(?:invalid (?:type|value|length|number|escape|unicode)|missing field|unknown (?:variant|field)|duplicate field|expected |EOF while|trailing |key must be|number out of range|recursion limit|control character|lone |unexpected end|data did not match|UUID parsing failed|input contains|premature end|overflow deserializing|UNIQUE constraint)/;

/**
 * The texts of rules are equal to the letter. Where the reference's JSON reader or SQLite speaks, only what stands before
 * it counts (section 14.18); a revision that varies from run to run is left out.
 */
export function sameText(expected: string, got: string): boolean {
  const fixed = fixedPart(expected);
  if (fixed !== undefined) return got.startsWith(fixed);
  const [before, after] = expected.split("sha256:<varies>");
  if (after !== undefined) return got.startsWith(before ?? "") && got.endsWith(after);
  return got === expected;
}

/** What of a text is the rule's, when its end is another voice; undefined: all of it. */
function fixedPart(text: string): string | undefined {
  const starts = [...text.matchAll(/(?:^Store (?:write|read) failed: |malformed: )/g)];
  const last = starts.at(-1);
  if (last === undefined) return undefined;
  const fixed = text.slice(0, last.index + last[0].length);
  const tail = text.slice(fixed.length);
  return PLACE.test(tail) || FOREIGN.test(tail) ? fixed : undefined;
}
