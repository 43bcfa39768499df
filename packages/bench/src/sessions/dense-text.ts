import type { Random } from "@bolthole/core/testing";

const LONGEST_WORD = 12;

/** Text of that many bytes that hardly compresses and hardly repeats itself: words and lines of random letters. */
export function denseText(random: Random, length: number): string {
  const bytes = Buffer.allocUnsafe(Math.ceil(length / 4) * 3 + 4);
  for (let at = 0; at + 4 <= bytes.length; at += 4) bytes.writeUInt32LE(random.below(2 ** 32), at);
  const text = bytes.toString("base64");
  const words: string[] = [];
  for (let at = 0; at < length;) {
    const end = Math.min(length, at + 2 + random.below(LONGEST_WORD));
    // The separator stands in the place of the word's last letter.
    words.push(text.slice(at, end - 1), random.below(10) === 0 ? "\n" : " ");
    at = end;
  }
  return words.join("");
}
