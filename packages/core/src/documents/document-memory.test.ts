import { type DocumentBlock, DocumentMemory } from "./document-memory.js";

const MIB = 1 << 20;
const LONGEST_WAIT_MS = 100;
const A_MINUTE = 60_000;

const memoryOf = (mebibytes: number): DocumentMemory =>
  new DocumentMemory({ boundBytes: mebibytes * MIB, longestWaitMs: LONGEST_WAIT_MS });

/** Those who wait, and how many of them have what they waited for, in the order of their letters. */
function line(memory: DocumentMemory): { readonly got: string[]; enter(name: string, mebibytes: number): void } {
  const got: string[] = [];
  return {
    got,
    enter: (name, mebibytes) => {
      void memory.take(mebibytes * MIB).then(() => got.push(name));
    },
  };
}

const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
};

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

test("documents beyond the bound wait, and come in the order in which they arrived", async () => {
  const memory = memoryOf(20);
  const blocks = [await memory.take(10 * MIB), await memory.take(10 * MIB)] as [DocumentBlock, DocumentBlock];
  const { got, enter } = line(memory);
  enter("large", 15);
  // There would be room for it soon, but not before the one that came first.
  enter("less", 2);
  await settled();
  expect(got).toEqual([]);
  memory.giveBack(blocks[0]);
  await settled();
  expect(got).toEqual([]);
  memory.giveBack(blocks[1]);
  await settled();
  expect(got).toEqual(["large", "less"]);
  expect(memory.size).toBeLessThanOrEqual(20 * MIB);
});

test("one document alone may be larger than the bound, and small ones never wait", async () => {
  const memory = memoryOf(4);
  const large = await memory.take(50 * MIB);
  expect(large.bytes).toHaveLength(50 * MIB);
  expect((await memory.take(1000)).bytes).toHaveLength(1000);
  const { got, enter } = line(memory);
  enter("next", 1);
  await settled();
  expect(got).toEqual([]);
  memory.giveBack(large);
  await settled();
  expect(got).toEqual(["next"]);
  expect(memory.size).toBeLessThanOrEqual(4 * MIB);
});

test("nobody waits for long behind a document that stands still", async () => {
  const memory = memoryOf(8);
  await memory.take(8 * MIB);
  const { got, enter } = line(memory);
  enter("a", 8);
  await jest.advanceTimersByTimeAsync(LONGEST_WAIT_MS / 2);
  enter("b", 8);
  await jest.advanceTimersByTimeAsync(LONGEST_WAIT_MS / 2);
  expect(got).toEqual(["a"]);
  await jest.advanceTimersByTimeAsync(LONGEST_WAIT_MS / 2);
  expect(got).toEqual(["a", "b"]);
});

test("memory is used again, and goes back to the system when nobody needs it", async () => {
  const memory = memoryOf(24);
  const first = await memory.take(10 * MIB);
  const { memory: bytes } = first;
  memory.giveBack(first);
  const second = await memory.take(3 * MIB);
  expect(second.memory).toBe(bytes);
  expect(second.bytes).toHaveLength(3 * MIB);
  memory.giveBack(second);
  expect(memory.size).toBe(10 * MIB);
  await jest.advanceTimersByTimeAsync(A_MINUTE);
  expect(memory.size).toBe(0);
  expect(bytes.byteLength).toBe(0);
});

test("what a worker did not hand back, and what somebody may still look at, is not used again", async () => {
  const memory = memoryOf(24);
  const lost = await memory.take(10 * MIB);
  structuredClone(lost.memory, { transfer: [lost.memory] });
  expect(lost.isLost).toBe(true);
  memory.giveBack(lost);
  const seen = await memory.take(10 * MIB);
  memory.forget(seen);
  expect(memory.size).toBe(0);
  expect((await memory.take(10 * MIB)).memory).not.toBe(seen.memory);
});
