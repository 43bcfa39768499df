import type { Random } from "./random.js";

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

/** A place between two tokens or inside one, and the end of a span from there: short more often than long. */
function span(bytes: Buffer, random: Random): [number, number] {
  const start = random.below(bytes.length + 1);
  const length = random.below(random.pick([2, 16, 200, bytes.length + 1]));
  return [start, Math.min(bytes.length, start + length)];
}

const spliced = (bytes: Buffer, start: number, end: number, inserted: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, start), inserted, bytes.subarray(end)]);

/** The strings of a text, by their places: good enough to exchange names, digests and values with one another. */
function strings(bytes: Buffer): RegExpExecArray[] {
  return [...bytes.toString("latin1").matchAll(/"(?:[^"\\]|\\.)*"/g)];
}

/** One small change of a document, some of which leave it sound and make it another one. */
export function mutated(bytes: Buffer, other: Buffer, random: Random): Buffer {
  const [start, end] = span(bytes, random);
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
      const [from, to] = span(other, random);
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
