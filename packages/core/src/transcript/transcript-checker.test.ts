import { monitorEventLoopDelay } from "node:perf_hooks";
import { DocumentMemory } from "../documents/document-memory";
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

const unread = (bytes: Buffer): CheckRequest["incoming"] => ({
  length: bytes.length,
  document: [bytes],
  bytes: () => Promise.resolve(bytes),
  readInto: (target) => {
    target.set(bytes);
    return Promise.resolve();
  },
});

const stored = (bytes: Buffer): NonNullable<CheckRequest["guard"]> => ({
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
])("a %s document is checked alone and against a stored one", async (_title, size) => {
  const checker = new TranscriptChecker(new DocumentMemory());
  const previous = document(size);
  const longer = document(size, "more");
  expect(await checker.check({ incoming: unread(previous) })).toEqual({ kind: "accepted", id: ID });
  expect(await checker.check({ incoming: unread(longer), guard: stored(previous) })).toEqual({
    kind: "accepted",
    id: ID,
  });
  expect(await checker.check({ incoming: unread(previous), guard: stored(longer) })).toMatchObject({
    kind: "refused",
    refusal: { variant: "MonotonicityViolation" },
  });
  expect(await checker.check({ incoming: unread(previous.subarray(1)) })).toMatchObject({ kind: "unreadable" });
  expect(await checker.check({ incoming: unread(longer), guard: stored(previous.subarray(1)) })).toMatchObject({
    kind: "unreadable previous",
  });
  // What was handed in is still there.
  expect(longer.subarray(0, 12).toString()).toBe('{"version":2');
});

test("many large documents wait for one another, and a failing one does not stop the rest", async () => {
  const checker = new TranscriptChecker(new DocumentMemory());
  const large = document(1_000_000);
  const broken: CheckRequest["guard"] = {
    previous: {
      runtimeId: "a runtime",
      row: { sequence: 1 },
      facts: { length: large.length },
      bytes: () => Promise.reject(new Error("the disk is gone")),
      readInto: () => Promise.reject(new Error("the disk is gone")),
      readRanges: () => Promise.reject(new Error("the disk is gone")),
    },
  };
  const results = await Promise.allSettled([
    ...Array.from({ length: 5 }, () => checker.check({ incoming: unread(large), guard: stored(large) })),
    checker.check({ incoming: unread(large), guard: broken }),
    ...Array.from({ length: 5 }, () => checker.check({ incoming: unread(large) })),
  ]);
  expect(
    results.map((result) => (result.status === "fulfilled" ? result.value.kind : (result.reason as unknown))),
  ).toEqual([
    ...Array.from({ length: 5 }, () => "accepted"),
    new Error("the disk is gone"),
    ...Array.from({ length: 5 }, () => "accepted"),
  ]);
});

test("documents of 10 MB do not hold the event loop for 30 ms", async () => {
  const checker = new TranscriptChecker(new DocumentMemory());
  const previous = document(10_000_000);
  const incoming = document(10_000_000, "more");
  await checker.check({ incoming: unread(incoming) });
  const holds: number[] = [];
  // Other work on the machine holds the loop too: the quietest of a few rounds tells what the check itself does.
  for (let round = 0; round < 5; round++) {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const finding = await checker.check({ incoming: unread(incoming), guard: stored(previous) });
    delay.disable();
    expect(finding.kind).toBe("accepted");
    holds.push(delay.max / 1e6);
  }
  expect(Math.min(...holds)).toBeLessThan(30);
});
