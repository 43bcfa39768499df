import type { Seed } from "./fuzz-case.js";
import { readVectors } from "./vectors.js";

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

/** The golden vectors where they are, and otherwise a few documents of our own. */
export function fuzzSeeds(): readonly [Seed, ...Seed[]] {
  const seeds = ["guards.jsonl", "sessions.jsonl"].flatMap((file) =>
    ((readVectors(file) ?? []) as readonly Vector[]).map(({ incoming, input, previous, commit }): Seed => ({
      incoming: Buffer.from(incoming ?? input ?? ""),
      previous: previous === undefined || previous === null ? undefined : Buffer.from(previous),
      commit: commit ?? undefined,
    })),
  );
  const own: Seed = { incoming: session(6), previous: session(4), commit: undefined };
  return [own, ...seeds.filter(({ incoming }) => incoming.length < 200_000)];
}
