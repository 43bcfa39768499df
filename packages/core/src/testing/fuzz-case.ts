import { type TranscriptRewriteCommit } from "@bolthole/contract";
import { JsonError, readRewriteCommit, readSession } from "@bolthole/json";
import { checkFully } from "../transcript/full-check.js";
import { transcriptMessagesDigest } from "../transcript/transcript.js";
import type { Random } from "./random.js";
import { readVectors } from "./vectors.js";

/** The documents of one check, which a fuzz case starts from. */
export interface Seed {
  readonly incoming: Buffer;
  readonly previous: Buffer | undefined;
  readonly commit: string | undefined;
}

const TIME = `{"secs_since_epoch":1,"nanos_since_epoch":2}`;
const AT = `"created_at":"2026-05-28T15:31:27.5Z"`;
const MESSAGES = [
  `{"role":"system","content":"s",${AT}}`,
  `{"role":"user","content":[{"type":"image","media_type":"image/png","source":"inline","data":"x"}],${AT}}`,
  `{"role":"block_assistant","blocks":[{"block_type":"tool_use","data":{"id":"i","name":"n","args":{"b":1.50,"a":[null]},` +
    `"meta":{"provider":"gemini","thoughtSignature":"t"}}}],"stop_reason":"tool_use",${AT}}`,
  `{"role":"tool_results","results":[{"tool_use_id":"i","content":"r","is_error":true}],${AT}}`,
  `{"role":"system_notice","kind":"mcp_pending","blocks":[{"type":"mcp","server_id":"s","persisted":false}],${AT}}`,
  `{"role":"assistant","content":"a","tool_calls":[],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2},${AT}}`,
];

const session = (count: number): Buffer =>
  Buffer.from(
    `{"version":2,"id":"0198f0a0-0000-7000-8000-000000000001","messages":[${MESSAGES.slice(0, count).join(",")}],` +
      `"created_at":${TIME},"updated_at":${TIME},"metadata":{},"usage":{"input_tokens":0,"output_tokens":0}}`,
  );

interface Vector {
  readonly incoming?: string;
  readonly input?: string;
  readonly previous?: string | null;
  readonly commit?: string | null;
}

/** Returns a small session of our own, and the recorded vectors if they are beside the project. */
export function fuzzSeeds(): readonly [Seed, ...Seed[]] {
  const seeds = ["guards.jsonl", "sessions.jsonl"].flatMap((file) =>
    ((readVectors(file) ?? []) as readonly Vector[]).map(({ incoming, input, previous, commit }): Seed => ({
      incoming: Buffer.from(incoming ?? input ?? ""),
      previous: previous === undefined || previous === null ? undefined : Buffer.from(previous),
      commit: commit ?? undefined,
    })),
  );
  const first: Seed = { incoming: session(6), previous: session(4), commit: undefined };
  return [first, ...seeds.filter(({ incoming }) => incoming.length < 200_000)];
}

/** Changes a random seed a little, checks the result, and returns it with the problem of the check, if there is one. */
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

/** The time limit of one small check, with room for a busy machine. */
const MAX_MS = 5_000;

/**
 * Checks that a check ends within a time limit with a verdict, and that canonical messages and other spellings of them are
 * read in the same way. Returns the problem, if there is one.
 */
export function problemOf({ incoming, previous, commit }: Seed): string | undefined {
  const start = performance.now();
  try {
    checkFully({ incoming, guard: { previous, commit: commit === undefined ? undefined : commitOf(commit) } });
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  if (performance.now() - start > MAX_MS) return `took ${String(Math.round(performance.now() - start))} ms`;
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

/**
 * Compares messages in canonical JSON, which the reader uses without parsing them to a value, with the same messages with a
 * space in them, which it must parse and write again. Returns the problem, if there is one.
 */
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
      : "messages that the reader used as canonical JSON are written differently";
  } catch (error) {
    return `a message cannot be read again: ${String(error)}`;
  }
}

const BYTES = Buffer.from('{}[]",:\\0123456789-+.eEtrufalsn \n\u0000\x7fé');
const TOKENS = [
  "null",
  "true",
  "{}",
  "[]",
  '""',
  "-0",
  "1e999",
  "1.0",
  "18446744073709551616",
  '"\\ud800"',
  '"\\u0000"',
  '"role":"user",',
  '"created_at":null,',
  '"x":[{"y":1}],',
  '{"type":"text","text":"x"}',
  '{"type":"mcp","persisted":false}',
  '{"secs_since_epoch":18446744073709551615,"nanos_since_epoch":4294967295}',
  "[".repeat(130),
  '{"a":'.repeat(130),
] as const;

/** Returns a document with one small random change. Some changes leave it valid, with another meaning. */
function mutated(bytes: Buffer, other: Buffer, random: Random): Buffer {
  const [start, end] = randomRange(bytes, random);
  switch (random.below(8)) {
    case 0:
      return spliced(
        bytes,
        start,
        Math.min(bytes.length, start + 1),
        Buffer.of(BYTES[random.below(BYTES.length)] ?? 0),
      );
    case 1:
      return spliced(bytes, start, end, Buffer.alloc(0));
    case 2:
      return spliced(bytes, start, start, bytes.subarray(start, end));
    case 3:
      return spliced(bytes, start, start, Buffer.from(random.pick(TOKENS)));
    case 4: {
      const [from, to] = randomRange(other, random);
      return spliced(bytes, start, end, other.subarray(from, to));
    }
    case 5:
      return spliced(bytes, start, Math.min(bytes.length, start + 1), Buffer.of(random.below(256)));
    default: {
      const found = strings(bytes);
      const [one, two] = [found[random.below(found.length)], found[random.below(found.length)]];
      return one && two ? spliced(bytes, one.index, one.index + one[0].length, Buffer.from(two[0], "latin1")) : bytes;
    }
  }
}

/** Returns a random byte range, which is more often short than long. */
function randomRange(bytes: Buffer, random: Random): [number, number] {
  const start = random.below(bytes.length + 1);
  const length = random.below(random.pick([2, 16, 200, bytes.length + 1]));
  return [start, Math.min(bytes.length, start + length)];
}

const spliced = (bytes: Buffer, start: number, end: number, inserted: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, start), inserted, bytes.subarray(end)]);

/** Returns the string literals of a text: names, digests and values, which a mutation exchanges with one another. */
function strings(bytes: Buffer): RegExpExecArray[] {
  return [...bytes.toString("latin1").matchAll(/"(?:[^"\\]|\\.)*"/g)];
}
