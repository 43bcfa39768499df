import type { Random } from "./random.js";

const WORDS =
  "the of session token file path on return function import error value result await stream message test build".split(
    " ",
  );

const word = (random: Random): string => WORDS[random.below(WORDS.length)] ?? "";

function prose(random: Random, length: number): string {
  let text = "";
  while (text.length < length) text += word(random) + (random.below(12) === 0 ? ".\n" : " ");
  return text;
}

function code(random: Random, length: number): string {
  let text = "";
  while (text.length < length)
    text += `${"  ".repeat(random.below(4))}${word(random)}(${word(random)}, "${word(random)}");\n`;
  return text;
}

const time = (random: Random, turn: number): string =>
  new Date(1779982287000 + turn * 60_000 + random.below(60_000)).toISOString();

function turn(random: Random, index: number): object[] {
  const created_at = time(random, index);
  const messages: object[] = [{ role: "user", content: prose(random, 80 + random.below(600)), created_at }];
  for (let call = random.below(4); call >= 0; call--) {
    const id = `toolu_${String(index)}_${String(call)}`;
    const meta = { provider: "anthropic", signature: Buffer.from(prose(random, 200)).toString("base64") };
    messages.push(
      {
        role: "block_assistant",
        blocks: [
          { block_type: "reasoning", data: { text: prose(random, 100 + random.below(400)), meta } },
          { block_type: "text", data: { text: prose(random, 40 + random.below(300)) } },
          {
            block_type: "tool_use",
            data: {
              id,
              name: "read_file",
              args: { limit: 2000, offset: random.below(1000), path: `/src/${word(random)}.ts` },
            },
          },
        ],
        stop_reason: "tool_use",
        created_at,
      },
      {
        role: "tool_results",
        results: [{ tool_use_id: id, content: code(random, 200 + random.below(3000)), is_error: false }],
        created_at,
      },
    );
  }
  const answer = prose(random, 200 + random.below(1500)) + (random.below(5) === 0 ? " naïve – ünïcode ✓" : "");
  const blocks = [{ block_type: "text", data: { text: answer } }];
  return [...messages, { role: "block_assistant", blocks, stop_reason: "end_turn", created_at }];
}

/** Returns a session of about `bytes` bytes in canonical JSON, as an agent that reads files produces it. */
export function typicalSession(random: Random, bytes: number): Buffer {
  const messages: object[] = [
    { role: "system", content: prose(random, Math.min(4000, bytes / 4)), created_at: time(random, 0) },
  ];
  for (let length = 0, index = 1; length < bytes; index++) {
    const added = turn(random, index);
    messages.push(...added);
    length += JSON.stringify(added).length;
  }
  return Buffer.from(
    JSON.stringify({
      version: 2,
      id: "0198f0a0-0000-7000-8000-000000000001",
      messages,
      created_at: { secs_since_epoch: 1779982287, nanos_since_epoch: 123456789 },
      updated_at: { secs_since_epoch: 1779982288, nanos_since_epoch: 5 },
      metadata: {},
      usage: { input_tokens: 0, output_tokens: 0, cache_creation_tokens: null, cache_read_tokens: null },
    }),
  );
}
