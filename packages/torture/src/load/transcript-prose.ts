import type { Random } from "../random.js";

export const INSTANT = "2026-05-28T15:31:27Z";

const WORDS =
  "the of session token file path on return function import error value result await stream message test build".split(
    " ",
  );

export function prose(random: Random, length: number): string {
  let text = "";
  while (text.length < length) text += (WORDS[random.below(WORDS.length)] ?? "") + (random.oneIn(12) ? ".\n" : " ");
  return text;
}

export const userMessage = (content: string): string => JSON.stringify({ role: "user", content, created_at: INSTANT });

/** One exchange in its written form, as an agent that reads files leaves it. */
export function exchange(random: Random, nonce: string): string[] {
  const messages: object[] = [];
  for (let call = random.below(3); call > 0; call -= 1) {
    const id = `toolu_${nonce}_${String(call)}`;
    messages.push(
      {
        role: "block_assistant",
        blocks: [
          { block_type: "text", data: { text: prose(random, 40 + random.below(200)) } },
          {
            block_type: "tool_use",
            data: { id, name: "read_file", args: { limit: 2000, offset: random.below(1000), path: "/src/main.ts" } },
          },
        ],
        stop_reason: "tool_use",
        created_at: INSTANT,
      },
      {
        role: "tool_results",
        results: [{ tool_use_id: id, content: prose(random, 200 + random.below(3000)), is_error: false }],
        created_at: INSTANT,
      },
    );
  }
  const blocks = [{ block_type: "text", data: { text: `${prose(random, 100 + random.below(800))} naïve ✓` } }];
  messages.push({ role: "block_assistant", blocks, stop_reason: "end_turn", created_at: INSTANT });
  const question = userMessage(`${nonce} ${prose(random, 80 + random.below(300))}`);
  return [question, ...messages.map((message) => JSON.stringify(message))];
}
