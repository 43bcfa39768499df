import { Random } from "@bolthole/core/testing";
import { ByteBudget } from "./byte-budget.js";
import { MESSAGE_OVERHEAD, MessageReader, RefusedMessage } from "./message-reader.js";

const MAX = 300_000;

const newBudget = (total = 1 << 20): ByteBudget => new ByteBudget({ total, connection: total, reserve: 0 });

function framed(message: Buffer, flag = 0): Buffer {
  const prefix = Buffer.alloc(5, flag);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** Returns why a reader refuses these chunks, and undefined when it accepts them. */
function problemOf(chunks: readonly Buffer[], budget = newBudget(), max = MAX): unknown {
  const reader = new MessageReader(max, budget.shareOf({}));
  try {
    for (const chunk of chunks) reader.read(chunk, () => undefined);
    return undefined;
  } catch (error) {
    if (error instanceof RefusedMessage) return error.problem;
    throw error;
  } finally {
    reader.close();
    expect(budget.bytes).toBe(0);
  }
}

test("messages are the same however their bytes are divided, and hold little more than what has arrived", () => {
  const random = new Random(17);
  for (let round = 0; round < 100; round += 1) {
    const budget = newBudget();
    const reader = new MessageReader(MAX, budget.shareOf({}));
    const sizes = Array.from({ length: 1 + random.below(6) }, () => random.below(random.pick([3, 100, 5000, 100_000])));
    const sent = Buffer.concat(sizes.map((size) => framed(Buffer.alloc(size, random.below(256)))));
    const received: Buffer[] = [];
    const longest = Math.max(random.pick([1, 7, 1000, 16_384, 70_000]), Math.floor(sent.length / 300));
    let messages = 0;
    let most = 0;
    for (let at = 0; at < sent.length;) {
      const end = Math.min(sent.length, at + 1 + random.below(longest));
      reader.read(Buffer.from(sent.subarray(at, end)), (bytes) => received.push(Buffer.from(bytes)));
      if (reader.arrivedBytes === undefined) messages = sizes.length;
      at = end;
      most = Math.max(most, budget.bytes - (at + 3 * 17 * 1024 + sizes.length * MESSAGE_OVERHEAD));
    }
    expect(messages).toBe(sizes.length);
    expect(most).toBe(0);
    expect(Buffer.concat(received).equals(sent)).toBe(true);
    reader.close();
    expect(budget.bytes).toBe(0);
  }
});

test.each([
  [20, true],
  [20_000, false],
])("whole messages of %i bytes have memory of their own: %s", (bytes, isCopied) => {
  const reader = new MessageReader(
    1 << 20,
    new ByteBudget({ total: 1 << 20, connection: 1 << 20, reserve: 0 }).shareOf({}),
  );
  // Long enough to have a buffer of its own.
  const whole = framed(Buffer.alloc(bytes));
  const chunk = Buffer.alloc(whole.length, whole);
  const deliver = jest.fn<undefined, [Buffer]>();
  reader.read(chunk, deliver);
  expect(deliver.mock.calls).toEqual([[chunk]]);
  expect(deliver.mock.calls[0]?.[0].buffer === chunk.buffer).toBe(!isCopied);
});

test("the bytes of an unfinished message do not keep the chunks that they arrived in", () => {
  const reader = new MessageReader(MAX, newBudget().shareOf({}));
  const message = framed(Buffer.alloc(900, "m"));
  const chunks = Array.from(message, (byte) => Buffer.alloc(65_536, byte).subarray(0, 1));
  const parts: Buffer[] = [];
  for (const chunk of chunks) reader.read(chunk, (bytes) => parts.push(bytes));
  expect(Buffer.concat(parts).equals(message)).toBe(true);
  const chunkMemory = new Set<unknown>(chunks.map(({ buffer }) => buffer));
  expect(parts.filter(({ buffer }) => chunkMemory.has(buffer))).toEqual([]);
});

test.each([
  ["a message above the limit", [framed(Buffer.alloc(301)).subarray(0, 5)], { kind: "too large", bytes: 301 }],
  [
    "a message above the limit after one within it",
    [framed(Buffer.alloc(1)), framed(Buffer.alloc(301))],
    { kind: "too large", bytes: 301 },
  ],
  ["a compressed message", [framed(Buffer.alloc(1), 1)], { kind: "compressed" }],
  ["the first byte of a compressed message", [Buffer.of(1)], { kind: "compressed" }],
  ["messages within the limit", [framed(Buffer.alloc(300)), framed(Buffer.alloc(300)).subarray(0, 200)], undefined],
])("%s is refused, or accepted, as soon as its prefix has arrived", (_name, chunks, problem) => {
  expect(problemOf(chunks, newBudget(), 300)).toEqual(problem);
});

test.each([
  ["an unfinished message", [framed(Buffer.alloc(100_000)).subarray(0, 50_000)]],
  ["whole messages in one chunk", [Buffer.concat(Array.from({ length: 100 }, () => framed(Buffer.alloc(0))))]],
])("%s is refused when there is no memory for it, and gives back what it has taken", (_name, chunks) => {
  expect(problemOf(chunks, newBudget(20_000))).toMatchObject({ kind: "no memory" });
});

test("a stream holds the memory of its last two messages", () => {
  const budget = newBudget();
  const reader = new MessageReader(MAX, budget.shareOf({}));
  for (let count = 0; count < 50; count += 1) reader.read(framed(Buffer.alloc(1000)), () => undefined);
  expect(budget.bytes).toBe(2 * (1005 + MESSAGE_OVERHEAD));
});

test("a message that arrives byte by byte is refused after a thousand parts, and one in larger parts is not", () => {
  const partsOf = (bytes: Buffer, size: number): Buffer[] =>
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
      bytes.subarray(index * size, (index + 1) * size),
    );
  const message = framed(Buffer.alloc(200_000));
  expect(problemOf(partsOf(message.subarray(0, 1000), 1))).toBeUndefined();
  expect(problemOf(partsOf(message.subarray(0, 1001), 1))).toEqual({ kind: "small parts", bytes: 1000 });
  expect(problemOf(partsOf(message, 100))).toBeUndefined();
});

test("the memory of a message is given back once when its receiver throws", () => {
  const budget = newBudget();
  const reader = new MessageReader(MAX, budget.shareOf({}));
  const message = framed(Buffer.alloc(1000));
  const fail = (): never => {
    throw new Error("the receiver failed");
  };
  reader.read(message.subarray(0, 500), fail);
  expect(() => reader.read(message.subarray(500), fail)).toThrow("the receiver failed");
  reader.close();
  expect(budget.bytes).toBe(0);
});
