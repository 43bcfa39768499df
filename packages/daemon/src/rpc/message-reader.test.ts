import { Random } from "@bolthole/core/testing";
import { ByteBudget } from "./byte-budget.js";
import { LONG_MESSAGE_BYTES, LongMessage } from "./long-message.js";
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

/** Returns the messages in the bytes that were delivered, as they were sent. */
async function contentOf(delivered: Buffer): Promise<Buffer> {
  const message = LongMessage.find(delivered.subarray(5));
  return message ? framed(await message.assemble(() => undefined)) : Buffer.from(delivered);
}

test("messages are the same however their bytes are divided, and hold little more than what has arrived", async () => {
  const random = new Random(17);
  for (let round = 0; round < 100; round += 1) {
    const budget = newBudget();
    const reader = new MessageReader(MAX, budget.shareOf({}));
    const sizes = Array.from({ length: 1 + random.below(6) }, () => random.below(random.pick([3, 100, 5000, 100_000])));
    const sent = Buffer.concat(sizes.map((size) => framed(Buffer.alloc(size, random.below(256)))));
    const received: Promise<Buffer>[] = [];
    const longest = Math.max(random.pick([1, 7, 1000, 16_384, 70_000]), Math.floor(sent.length / 300));
    let messages = 0;
    let most = 0;
    for (let at = 0; at < sent.length;) {
      const end = Math.min(sent.length, at + 1 + random.below(longest));
      reader.read(Buffer.from(sent.subarray(at, end)), (bytes) => received.push(contentOf(bytes)));
      if (reader.arrivedBytes === undefined) messages = sizes.length;
      at = end;
      most = Math.max(most, budget.bytes - (at + 3 * 17 * 1024 + sizes.length * MESSAGE_OVERHEAD));
    }
    expect(messages).toBe(sizes.length);
    expect(most).toBe(0);
    expect(Buffer.concat(await Promise.all(received)).equals(sent)).toBe(true);
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

test("a long message is delivered as a token, pauses while it is put together, and is released with its reader", async () => {
  const budget = newBudget(16 << 20);
  const reader = new MessageReader(3_000_000, budget.shareOf({}));
  const sent = framed(Buffer.alloc(2_500_000, "long"));
  const tokens: Buffer[] = [];
  const read = (): void => {
    for (let at = 0; at < sent.length; at += 60_000)
      reader.read(sent.subarray(at, at + 60_000), (bytes) => tokens.push(bytes));
  };
  read();
  read();
  const [first, second] = tokens.map((token) => LongMessage.find(token.subarray(5)));
  expect([tokens.length, first?.bytes, tokens[0]?.equals(tokens[1] as Buffer)]).toEqual([2, 2_500_000, false]);
  const pause = jest.fn(() => Promise.resolve());
  expect((await first?.assemble(pause))?.equals(sent.subarray(5))).toBe(true);
  expect(pause.mock.calls.length).toBeGreaterThanOrEqual(2);
  await expect(first?.assemble(pause)).rejects.toMatchObject({ reason: "CANCELLED" });
  expect(budget.bytes).toBeGreaterThan(2 * sent.length);
  reader.close();
  expect([second?.isWaiting, budget.bytes]).toEqual([false, 0]);
  await expect(second?.assemble(pause)).rejects.toMatchObject({ reason: "CANCELLED" });
  expect(tokens.map((token) => LongMessage.find(token.subarray(5))?.isWaiting)).toEqual([false, false]);
});

test("what a client sends is never taken for a token", () => {
  const reader = new MessageReader(MAX, newBudget().shareOf({}));
  const tokens: Buffer[] = [];
  const long = framed(Buffer.alloc(LONG_MESSAGE_BYTES));
  reader.read(long.subarray(0, 10), (bytes) => tokens.push(bytes));
  reader.read(long.subarray(10), (bytes) => tokens.push(bytes));
  const token = Buffer.from(tokens[0]?.subarray(5) ?? []);
  expect(LongMessage.find(token)).toBeDefined();
  token.writeUInt8(token.readUInt8(0) ^ 1, 0);
  expect(LongMessage.find(token)).toBeUndefined();
  expect(LongMessage.find(token.subarray(1))).toBeUndefined();
  reader.close();
});

test("long messages that nobody takes are released with their memory", () => {
  const budget = newBudget(4 << 20);
  const reader = new MessageReader(MAX, budget.shareOf({}));
  const found: (LongMessage | undefined)[] = [];
  const sent = framed(Buffer.alloc(200_000));
  for (let count = 0; count < 50; count += 1) {
    for (let at = 0; at < sent.length; at += 60_000) {
      reader.read(sent.subarray(at, at + 60_000), (bytes) => found.push(LongMessage.find(bytes.subarray(5))));
    }
  }
  expect(found.filter((message) => message?.isWaiting)).toHaveLength(2);
  reader.close();
  expect([budget.bytes, found.some((message) => message?.isWaiting)]).toEqual([0, false]);
});

test("what follows a long message and is refused leaves the message to its receiver", async () => {
  const budget = newBudget(4 << 20);
  const reader = new MessageReader(MAX, budget.shareOf({}));
  const sent = framed(Buffer.alloc(200_000, "long"));
  const tokens: Buffer[] = [];
  reader.read(sent.subarray(0, 100_000), (bytes) => tokens.push(bytes));
  const rest = Buffer.concat([sent.subarray(100_000), Buffer.of(1, 0, 0, 0, 9)]);
  expect(() => reader.read(rest, (bytes) => tokens.push(bytes))).toThrow(RefusedMessage);
  reader.dropUnfinished();
  const message = LongMessage.find(tokens[0]?.subarray(5) ?? Buffer.alloc(0));
  expect((await message?.assemble(() => undefined))?.equals(sent.subarray(5))).toBe(true);
  reader.close();
  expect(budget.bytes).toBe(0);
});
