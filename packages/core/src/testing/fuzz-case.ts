import { type TranscriptRewriteCommit } from "@bolthole/contract";
import { JsonError, readRewriteCommit, readSession } from "@bolthole/json";
import { checkTranscript } from "../transcript/check.js";
import { mutated } from "./mutation.js";
import type { Random } from "./random.js";
import { transcriptMessagesDigest } from "../transcript/transcript.js";

/** A check to start from. */
export interface Seed {
  readonly incoming: Buffer;
  readonly previous: Buffer | undefined;
  readonly commit: string | undefined;
}

/** Longer than any of these small checks may take, on a busy machine too. */
const MOST_MS = 5_000;

/** Changes a seed a little and says what is wrong with the answer, if anything is. */
export function fuzzCase(seeds: readonly [Seed, ...Seed[]], random: Random): { problem?: string; seed: Seed } {
  const start = random.pick(seeds);
  const other = random.pick(seeds);
  const isPreviousChanged = random.below(4) === 0;
  const changed = (bytes: Buffer): Buffer => {
    let result = bytes;
    for (let count = 1 + random.below(3); count > 0; count--) result = mutated(result, other.incoming, random);
    return result;
  };
  const seed = {
    incoming: isPreviousChanged ? start.incoming : changed(start.incoming),
    previous: isPreviousChanged && start.previous ? changed(start.previous) : start.previous,
    commit: random.below(3) === 0 ? (other.commit ?? start.commit) : start.commit,
  };
  const problem = problemOf(seed);
  return problem === undefined ? { seed } : { problem, seed };
}

/** Whether a check ends, soon, with a finding, and whether both ways of reading agree. */
export function problemOf({ incoming, previous, commit }: Seed): string | undefined {
  const start = performance.now();
  try {
    checkTranscript({ incoming, guard: { previous, commit: commit === undefined ? undefined : commitOf(commit) } });
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  if (performance.now() - start > MOST_MS) return `took ${String(Math.round(performance.now() - start))} ms`;
  return readingProblem(incoming);
}

function commitOf(text: string): TranscriptRewriteCommit | undefined {
  try {
    return readRewriteCommit(text);
  } catch (error) {
    if (error instanceof JsonError) return undefined;
    throw error;
  }
}

/** Messages that are taken as they stand must be those that reading and writing them gives. */
function readingProblem(bytes: Buffer): string | undefined {
  let messages: Buffer[];
  try {
    const read = readSession(bytes).messages;
    messages = Array.from({ length: read.length }, (_, index) => read.at(index));
  } catch (error) {
    return error instanceof JsonError ? undefined : String(error);
  }
  const digestWith = (space: string): string => {
    const texts = messages.map((message) => `{${space}${message.toString().slice(1)}`);
    const time = `{"secs_since_epoch":0,"nanos_since_epoch":0}`;
    const text =
      `{"id":"0198f0a0-0000-7000-8000-000000000001","messages":[${texts.join(",")}],` +
      `"created_at":${time},"updated_at":${time}}`;
    return transcriptMessagesDigest(readSession(text).messages);
  };
  try {
    return digestWith("") === digestWith(" ")
      ? undefined
      : "messages that stand in their written form are written otherwise";
  } catch (error) {
    return `a message cannot be read again: ${String(error)}`;
  }
}
