import type { Random } from "@bolthole/core/testing";
import { denseText } from "./dense-text.js";
import { sortedJson } from "./sorted-json.js";

const FIRST_SECOND = 1779982287;

/** A message in its two written forms: among a session's messages, and in a history's body, where members are sorted. */
export interface Message {
  readonly typed: Buffer;
  readonly sorted: Buffer;
}

const message = (value: object): Message => ({
  typed: Buffer.from(JSON.stringify(value)),
  sorted: Buffer.from(sortedJson(value)),
});

const timestamp = (turn: number): string =>
  new Date((FIRST_SECOND + turn * 60) * 1000).toISOString().replace(".000Z", "Z");

export const systemMessage = (random: Random, bytes: number): Message =>
  message({ role: "system", content: denseText(random, bytes), created_at: timestamp(0) });

/** What stands in the place of messages that a rewrite took out. */
export const summaryMessage = (random: Random, turn: number, bytes: number): Message =>
  message({ role: "user", content: denseText(random, bytes), created_at: timestamp(turn) });

/** A question, a file that was read for it, and the answer: about that many bytes together. */
export function turnMessages(random: Random, turn: number, bytes: number): readonly Message[] {
  const created_at = timestamp(turn);
  const id = `toolu_${String(turn)}`;
  const text = Math.max(bytes - 700, 100);
  return [
    { role: "user", content: denseText(random, text * 0.1), created_at },
    {
      role: "block_assistant",
      blocks: [
        { block_type: "text", data: { text: denseText(random, text * 0.1) } },
        {
          block_type: "tool_use",
          data: { id, name: "read_file", args: { limit: 2000, offset: random.below(1000), path: "/src/main.ts" } },
        },
      ],
      stop_reason: "tool_use",
      created_at,
    },
    {
      role: "tool_results",
      results: [{ tool_use_id: id, content: denseText(random, text * 0.5), is_error: false }],
      created_at,
    },
    {
      role: "block_assistant",
      blocks: [{ block_type: "text", data: { text: denseText(random, text * 0.3) } }],
      stop_reason: "end_turn",
      created_at,
    },
  ].map(message);
}
