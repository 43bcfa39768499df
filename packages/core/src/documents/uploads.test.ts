import { createHash } from "node:crypto";
import { DEFAULT_LIMITS } from "../engine-store.js";
import { ArrivedBytes } from "./arrived-bytes.js";
import { DocumentMemory } from "./document-memory.js";
import { Uploads } from "./uploads.js";

const MEBIBYTE = 1 << 20;
const LIMITS = { ...DEFAULT_LIMITS, documentBytes: 8 * MEBIBYTE, uploadBytes: 16 * MEBIBYTE };

let memory: DocumentMemory;
let uploads: Uploads;
beforeEach(() => {
  memory = new DocumentMemory({ boundBytes: 24 * MEBIBYTE, longestWaitMs: 60_000 });
  uploads = new Uploads(LIMITS, new ArrivedBytes(LIMITS.uploadBytes), memory, false);
});

const documentOf = (bytes: number): Buffer => Buffer.alloc(bytes, "0123456789");
const sha256Of = (document: Buffer): Buffer => createHash("sha256").update(document).digest();

/** Yields a document in chunks, and rests after `rest` bytes until the function that is returned is called. */
function resting(
  document: Buffer,
  rest: number,
): { chunks: AsyncGenerator<Uint8Array>; rested: Promise<void>; goOn: () => void } {
  let goOn = (): void => undefined;
  const paused = new Promise<void>((resolve) => (goOn = resolve));
  let atRest = (): void => undefined;
  const rested = new Promise<void>((resolve) => (atRest = resolve));
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < document.length; at += 100_000) {
      if (at >= rest) {
        atRest();
        await paused;
      }
      yield document.subarray(at, at + 100_000);
    }
  }
  return { chunks: chunks(), rested, goOn };
}

const receive = (document: Buffer, chunks: AsyncIterable<Uint8Array>): Promise<string> =>
  uploads.receive({ runtimeId: "rt", length: document.length, sha256: sha256Of(document), chunks });

async function* whole(document: Buffer): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(document);
}

test.each([0, 1, 99_999, MEBIBYTE - 1, MEBIBYTE, MEBIBYTE + 1, 8 * MEBIBYTE])(
  "a document of %i bytes is received",
  async (bytes) => {
    const document = documentOf(bytes);
    const id = await receive(document, resting(document, Infinity).chunks);
    expect(uploads.read("rt", "session_snapshot", id).bytes.equals(document)).toBe(true);
    uploads.use(id);
    expect(memory.size).toBeLessThanOrEqual(8 * MEBIBYTE);
  },
);

test("an upload of which less than its beginning has arrived takes no memory from others", async () => {
  const document = documentOf(8 * MEBIBYTE);
  const slow = Array.from({ length: 5 }, () => resting(document, 300_000));
  const slowOnes = slow.map(({ chunks }) => receive(document, chunks));
  await Promise.all(slow.map(({ rested }) => rested));
  // It would wait for a minute.
  for (let count = 0; count < 2; count += 1) uploads.use(await receive(document, whole(document)));
  for (const [index, { goOn }] of slow.entries()) {
    goOn();
    uploads.use((await slowOnes[index]) as string);
  }
});

test("an upload whose bytes exceed the budget of all uploads is refused, and releases its bytes", async () => {
  const document = documentOf(8 * MEBIBYTE);
  const ids = [await receive(document, whole(document))];
  const late = resting(document, 5_900_000);
  const refused = receive(document, late.chunks);
  await late.rested;
  // Nothing is refused for what the other one has not sent yet.
  const small = documentOf(MEBIBYTE);
  ids.push(await receive(small, whole(small)), await receive(small, whole(small)));
  await expect(receive(small, whole(small))).rejects.toMatchObject({ reason: "BUSY", applied: "no" });
  late.goOn();
  await expect(refused).rejects.toMatchObject({ reason: "BUSY", applied: "no" });
  ids.push(await receive(small, whole(small)));
  for (const id of ids) uploads.use(id);
  const again = [await receive(document, whole(document)), await receive(document, whole(document))];
  expect(again).toHaveLength(2);
});
