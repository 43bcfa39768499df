import type { TranscriptRewriteCommit } from "@bolthole/contract";
import type { Transcript } from "./transcript.js";

/** The messages of a rewritten transcript that stand in the place of the selected ones. */
export interface ReplacedSpan {
  isBeforeKept(): boolean;
  isAfterKept(): boolean;
  replacementDigest(): string;
}

/**
 * Where a rewrite's replacement lies, for a commit whose counts are those of the two transcripts and whose selection lies
 * in the first. Undefined: fewer messages are left than should have stayed.
 */
export function replacedSpan(
  { selection }: TranscriptRewriteCommit,
  before: Transcript,
  after: Transcript,
): ReplacedSpan | undefined {
  const start = Number(selection.start);
  const end = Number(selection.end);
  const replacementEnd = after.length - (before.length - end);
  if (replacementEnd < start) return undefined;
  return {
    isBeforeKept: () => after.equals(0, before, 0, start),
    isAfterKept: () => after.equals(replacementEnd, before, end, before.length - end),
    replacementDigest: () => after.digest(start, replacementEnd),
  };
}
