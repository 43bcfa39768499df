import type { DocumentPart } from "@bolthole/contract";
import { runBackward, runForward } from "./common-run.js";
import { Matches } from "./matches.js";
import { type PatchLimits, Pieces } from "./pieces.js";

/**
 * The new document as stretches of the base and new bytes, which alias it. Undefined: it would need more than the limits
 * allow. What both have at their beginnings and ends costs one comparison of memory; in between it is found where it
 * stays near its old place, and in long gaps also anywhere else.
 */
export function diff(base: Buffer, next: Buffer, limits: PatchLimits): readonly DocumentPart[] | undefined {
  const prefix = runForward(base, 0, next, 0, Math.min(base.length, next.length));
  const suffix = runBackward(base, base.length, next, next.length, Math.min(base.length, next.length - prefix));
  const end = next.length - suffix;
  const matches = new Matches(base, next);
  const pieces = new Pieces(next, limits);
  pieces.copy(0, prefix);
  let at = prefix;
  let from = prefix;
  while (at < end) {
    const match = matches.find({ at, end, from, fromEnd: base.length - suffix });
    pieces.insert(at, match ? match.at : end);
    if (match) {
      pieces.copy(match.from, match.length);
      from = match.from + match.length;
    }
    at = match ? match.at + match.length : end;
    if (pieces.areTooMany) return undefined;
  }
  pieces.copy(base.length - suffix, suffix);
  return pieces.areTooMany ? undefined : pieces.parts;
}
