import { hash } from "node:crypto";
import { readSession } from "@bolthole/contract/json";
import { checkTranscript } from "../transcript/check.js";
import { Random } from "./random.js";
import { transcriptMessagesDigest } from "../transcript/transcript.js";
import { typicalSession } from "./typical-session.js";

const SECONDS = 1.5;

/** Megabytes per second: the median of what fits into a time. */
function speed(bytes: number, run: () => unknown): string {
  const times: number[] = [];
  const end = performance.now() + SECONDS * 1000;
  while (performance.now() < end || times.length < 5) {
    const start = performance.now();
    run();
    times.push(performance.now() - start);
  }
  times.sort((left, right) => left - right);
  return String(Math.round(bytes / 1000 / (times[times.length >> 1] ?? 1)));
}

/** The same content with the members of everything sorted, as a session's metadata holds it, so that nothing is in its form. */
function respelled(document: Buffer): Buffer {
  const sorted = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sorted);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .sort()
        .map(([name, item]) => [name, sorted(item)]),
    );
  };
  return Buffer.from(JSON.stringify(sorted(JSON.parse(document.toString()))));
}

/** `node packages/core/dist/trials/speed.js`: how fast sessions are read and digested, beside what the runtime itself can do. */
for (const size of [10_000, 1_000_000, 10_000_000]) {
  const document = typicalSession(new Random(1), size);
  const other = respelled(document);
  const bytes = document.length;
  console.table({
    [`${String(bytes)} bytes`]: {
      "read + digest": speed(bytes, () => transcriptMessagesDigest(readSession(document).messages)),
      read: speed(bytes, () => readSession(document)),
      "respelled, read + digest": speed(bytes, () => transcriptMessagesDigest(readSession(other).messages)),
      "boundary check of two": speed(2 * bytes, () =>
        checkTranscript({ incoming: document, guard: { previous: document, commit: undefined } }),
      ),
      "JSON.parse": speed(bytes, () => JSON.parse(document.toString()) as unknown),
      "SHA-256": speed(bytes, () => hash("sha256", document, "buffer")),
    },
  });
}
