import { LogOutput } from "./log-output.js";

const failure = (code: string): Error => Object.assign(new Error(code), { code });

/** A reader that takes as many bytes as it has room for, like a pipe. */
class Reader {
  room = 0;
  received = "";
  failure: Error | undefined;
  attempts = 0;

  readonly take = (bytes: Uint8Array): number => {
    this.attempts += 1;
    if (this.failure) throw this.failure;
    if (this.room === 0) throw failure("EAGAIN");
    const taken = Math.min(this.room, bytes.length);
    this.room -= taken;
    this.received += Buffer.from(bytes.subarray(0, taken)).toString();
    return taken;
  };
}

const note = (dropped: number): string => `(${String(dropped)} dropped)\n`;
const outputTo = (reader: Reader, maxBytes = 100): LogOutput => new LogOutput(reader.take, note, maxBytes);

test("a line is written at once while somebody reads", () => {
  const reader = new Reader();
  reader.room = 1000;
  outputTo(reader).write("one\n");
  expect(reader.received).toBe("one\n");
});

test("without a reader the newest lines are kept, and the number of the others is written in their place", async () => {
  const reader = new Reader();
  const output = outputTo(reader);
  reader.room = 2;
  for (let line = 0; line < 1000; line += 1) output.write(`line ${String(line).padStart(4, "0")}\n`);
  expect(output.dropped).toBeGreaterThan(900);
  reader.room = Infinity;
  await output.drained();
  // The line that was written in part comes to its end first.
  expect(reader.received).toBe(
    `line 0000\n(${String(output.dropped)} dropped)\n` +
      Array.from({ length: 999 - output.dropped }, (_, index) => {
        const number = index + 1 + output.dropped;
        return `line ${String(number).padStart(4, "0")}\n`;
      }).join(""),
  );
  expect(reader.received).toMatch(/line 0999\n$/);
  reader.received = "";
  output.write("next\n");
  expect(reader.received).toBe("next\n");
});

test("a reader that stalls is not asked at every line", () => {
  const reader = new Reader();
  const output = outputTo(reader);
  for (let line = 0; line < 100; line += 1) output.write("a line\n");
  expect(reader.attempts).toBe(1);
});

test("the number of dropped lines is complete when the reader stalls for long", async () => {
  const reader = new Reader();
  const output = outputTo(reader);
  for (let round = 0; round < 3; round += 1) {
    const { attempts } = reader;
    for (let line = 0; line < 50; line += 1) output.write("a line\n");
    while (reader.attempts === attempts) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  reader.room = Infinity;
  await output.drained();
  expect(reader.received).toMatch(new RegExp(`^\\(${String(output.dropped)} dropped\\)\n(a line\n)+$`));
  expect(reader.received.match(/a line/g)).toHaveLength(150 - output.dropped);
});

test("a line that is longer than the limit is written whole", async () => {
  const reader = new Reader();
  const output = outputTo(reader, 10);
  output.write(`${"x".repeat(50)}\n`);
  reader.room = 7;
  await new Promise((resolve) => setTimeout(resolve, 1));
  reader.room = Infinity;
  await output.drained();
  expect(reader.received).toBe(`${"x".repeat(50)}\n`);
});

test("the end of the process does not wait for ever, nor for a reader that has gone", async () => {
  const reader = new Reader();
  const stalled = outputTo(reader);
  stalled.write("a line\n");
  await stalled.drained();
  expect(reader.received).toBe("");

  reader.failure = failure("EPIPE");
  const gone = outputTo(reader);
  gone.write("a line\n");
  await gone.drained();
  reader.failure = undefined;
  reader.room = Infinity;
  gone.write("another\n");
  expect(reader.received).toBe("");
});

test("the end of the process waits for a slow reader, also when only the timer meets its free room", async () => {
  const reader = new Reader();
  let lastTakenMs = performance.now();
  const output = new LogOutput(
    (bytes) => {
      // Room comes back only some time after it was taken.
      reader.room = performance.now() - lastTakenMs >= 40 ? 4 : 0;
      const taken = reader.take(bytes);
      lastTakenMs = performance.now();
      return taken;
    },
    note,
    1000,
  );
  const line = `${"x".repeat(220)}\n`;
  output.write(line);
  await output.drained();
  expect(reader.received).toBe(line);
});

test("lines wait for a disk that is full", async () => {
  const reader = new Reader();
  reader.failure = failure("ENOSPC");
  const output = outputTo(reader);
  output.write("a line\n");
  reader.failure = undefined;
  reader.room = Infinity;
  await output.drained();
  expect(reader.received).toBe("a line\n");
});
