import type { Random } from "../random.js";

const WORDS =
  "the of session token file path on return function import error value result await stream message test build".split(
    " ",
  );

export function prose(random: Random, length: number): string {
  let text = "";
  while (text.length < length) text += (WORDS[random.below(WORDS.length)] ?? "") + (random.oneIn(12) ? ".\n" : " ");
  return text;
}

const INSTANT = "2026-05-28T15:31:27Z";
const TIME = { secs_since_epoch: 1779982287, nanos_since_epoch: 123456789 };
const USAGE = { input_tokens: 0, output_tokens: 0, cache_creation_tokens: null, cache_read_tokens: null };

/** One exchange, as an agent that reads files leaves it. */
function turn(random: Random, nonce: string): string[] {
  const messages: object[] = [
    { role: "user", content: `${nonce} ${prose(random, 80 + random.below(300))}`, created_at: INSTANT },
  ];
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
  return messages.map((message) => JSON.stringify(message));
}

/** A session that grows turn by turn: each document continues the one before, as the transcript rules ask. */
export class SessionScript {
  private messages: readonly string[];

  constructor(
    private readonly id: string,
    firstMessageBytes: number,
    random: Random,
  ) {
    this.messages = [
      JSON.stringify({ role: "system", content: prose(random, firstMessageBytes), created_at: INSTANT }),
    ];
  }

  get length(): number {
    return this.messages.length;
  }

  /** The messages with one turn more; `adopt` them once they are known to be stored. */
  next(random: Random, nonce: string): readonly string[] {
    return [...this.messages, ...turn(random, nonce)];
  }

  adopt(messages: readonly string[]): void {
    this.messages = messages;
  }

  document(messages: readonly string[]): Buffer {
    const rest = JSON.stringify({ created_at: TIME, updated_at: TIME, metadata: {}, usage: USAGE }).slice(1);
    return Buffer.from(`{"version":2,"id":"${this.id}","messages":[${messages.join()}],${rest}`);
  }
}
