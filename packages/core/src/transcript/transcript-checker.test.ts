import { DocumentMemory } from "../documents/document-memory.js";
import { IterationCounter } from "../testing/iteration-counter.js";
import { type CheckRequest, TranscriptChecker } from "./transcript-checker.js";

const TIME = `{"secs_since_epoch":1,"nanos_since_epoch":2}`;
const ID = "0198f0a0-0000-7000-8000-000000000001";

function document(bytes: number, last = ""): Buffer {
  const text = "some words of a transcript, \\n and a few more; ".repeat(40);
  const message = `{"role":"user","content":"${text}","created_at":"2026-05-28T15:31:27Z"}`;
  const messages: string[] = Array.from({ length: Math.ceil(bytes / message.length) }, () => message);
  if (last !== "") messages.push(message.replace("some", last));
  return Buffer.from(
    `{"version":2,"id":"${ID}","messages":[${messages.join(",")}],"created_at":${TIME},"updated_at":${TIME},` +
      `"metadata":{},"usage":{"input_tokens":0,"output_tokens":0}}`,
  );
}

const incomingOf = (bytes: Buffer): CheckRequest["incoming"] => ({
  length: bytes.length,
  document: [bytes],
  bytes: () => Promise.resolve(bytes),
  readInto: (target) => {
    target.set(bytes);
    return Promise.resolve();
  },
});

const storedAs = (bytes: Buffer): NonNullable<CheckRequest["guard"]> => ({
  previous: {
    runtimeId: "a runtime",
    row: { sequence: 1 },
    facts: { length: bytes.length },
    bytes: () => Promise.resolve(bytes),
    readInto: (target) => {
      target.set(bytes);
      return Promise.resolve();
    },
    readRanges: (ranges) =>
      Promise.resolve(ranges.map(({ offset, length }) => bytes.subarray(offset, offset + length))),
  },
});

test.each([
  ["small", 10_000],
  ["large", 2_000_000],
])("a %s document is checked by itself and against a stored one", async (_title, size) => {
  const checker = new TranscriptChecker(new DocumentMemory());
  const previous = document(size);
  const longer = document(size, "more");
  expect(await checker.check({ incoming: incomingOf(previous) })).toEqual({ kind: "accepted", id: ID });
  expect(await checker.check({ incoming: incomingOf(longer), guard: storedAs(previous) })).toEqual({
    kind: "accepted",
    id: ID,
  });
  expect(await checker.check({ incoming: incomingOf(previous), guard: storedAs(longer) })).toMatchObject({
    kind: "refused",
    refusal: { variant: "MonotonicityViolation" },
  });
  expect(await checker.check({ incoming: incomingOf(previous.subarray(1)) })).toMatchObject({ kind: "unreadable" });
  expect(await checker.check({ incoming: incomingOf(longer), guard: storedAs(previous.subarray(1)) })).toMatchObject({
    kind: "unreadable previous",
  });
  // The caller's bytes were not transferred to a worker.
  expect(longer.subarray(0, 12).toString()).toBe('{"version":2');
});

test("many large documents wait for a worker, and one that fails does not affect the others", async () => {
  const checker = new TranscriptChecker(new DocumentMemory());
  const large = document(1_000_000);
  const broken: CheckRequest["guard"] = {
    previous: {
      runtimeId: "a runtime",
      row: { sequence: 1 },
      facts: { length: large.length },
      bytes: () => Promise.reject(new Error("the disk failed")),
      readInto: () => Promise.reject(new Error("the disk failed")),
      readRanges: () => Promise.reject(new Error("the disk failed")),
    },
  };
  const results = await Promise.allSettled([
    ...Array.from({ length: 5 }, () => checker.check({ incoming: incomingOf(large), guard: storedAs(large) })),
    checker.check({ incoming: incomingOf(large), guard: broken }),
    ...Array.from({ length: 5 }, () => checker.check({ incoming: incomingOf(large) })),
  ]);
  expect(
    results.map((result) => (result.status === "fulfilled" ? result.value.kind : (result.reason as unknown))),
  ).toEqual([
    ...Array.from({ length: 5 }, () => "accepted"),
    new Error("the disk failed"),
    ...Array.from({ length: 5 }, () => "accepted"),
  ]);
});

test("the event loop runs while documents of 10 MB are checked", async () => {
  const checker = new TranscriptChecker(new DocumentMemory());
  const previous = document(10_000_000);
  const incoming = document(10_000_000, "more");
  const iterations = new IterationCounter();
  const verdict = await checker.check({ incoming: incomingOf(incoming), guard: storedAs(previous) });
  const count = iterations.end();
  expect(verdict.kind).toBe("accepted");
  // A check on the event loop itself takes only a few iterations. The benchmark measures how long an iteration lasts.
  expect(count).toBeGreaterThan(50);
});
