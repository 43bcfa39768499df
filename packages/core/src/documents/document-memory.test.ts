import { type DocumentBlock, DocumentMemory } from "./document-memory.js";

const MIB = 1 << 20;
const LONGEST_WAIT_MS = 100;
const A_MINUTE = 60_000;

const memoryOf = (mebibytes: number): DocumentMemory =>
  new DocumentMemory({ boundBytes: mebibytes * MIB, longestWaitMs: LONGEST_WAIT_MS });

/** Requests blocks under names. `served` lists the names in the order in which their blocks were returned. */
function waitingLine(memory: DocumentMemory): {
  readonly served: string[];
  enter(name: string, mebibytes: number): void;
} {
  const served: string[] = [];
  return {
    served,
    enter: (name, mebibytes) => {
      void memory.take(mebibytes * MIB).then(() => served.push(name));
    },
  };
}

const settled = async (): Promise<void> => {
  for (let count = 0; count < 5; count += 1) await Promise.resolve();
};

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

test("documents beyond the bound wait, and get memory in the order of their arrival", async () => {
  const memory = memoryOf(20);
  const blocks = [await memory.take(10 * MIB), await memory.take(10 * MIB)] as [DocumentBlock, DocumentBlock];
  const { served, enter } = waitingLine(memory);
  enter("large", 15);
  // There is space for it earlier than for the first one, but it has to wait for its turn.
  enter("less", 2);
  await settled();
  expect(served).toEqual([]);
  memory.giveBack(blocks[0]);
  await settled();
  expect(served).toEqual([]);
  memory.giveBack(blocks[1]);
  await settled();
  expect(served).toEqual(["large", "less"]);
  expect(memory.size).toBeLessThanOrEqual(20 * MIB);
});

test("one document alone may be larger than the bound, and small ones never wait", async () => {
  const memory = memoryOf(4);
  const large = await memory.take(50 * MIB);
  expect(large.bytes).toHaveLength(50 * MIB);
  expect((await memory.take(1000)).bytes).toHaveLength(1000);
  const { served, enter } = waitingLine(memory);
  enter("next", 1);
  await settled();
  expect(served).toEqual([]);
  memory.giveBack(large);
  await settled();
  expect(served).toEqual(["next"]);
  expect(memory.size).toBeLessThanOrEqual(4 * MIB);
});

test("a document waits only for a limited time for another one that makes no progress", async () => {
  const memory = memoryOf(8);
  await memory.take(8 * MIB);
  const { served, enter } = waitingLine(memory);
  enter("a", 8);
  await jest.advanceTimersByTimeAsync(LONGEST_WAIT_MS / 2);
  enter("b", 8);
  await jest.advanceTimersByTimeAsync(LONGEST_WAIT_MS / 2);
  expect(served).toEqual(["a"]);
  await jest.advanceTimersByTimeAsync(LONGEST_WAIT_MS / 2);
  expect(served).toEqual(["a", "b"]);
});

test("memory is reused, and returned to the system when no document needs it", async () => {
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

test("memory that a worker did not return, or that may still be read, is not reused", async () => {
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
