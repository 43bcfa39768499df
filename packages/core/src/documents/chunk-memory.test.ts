import { createHash } from "node:crypto";
import type { VersionedStore } from "@bolthole/contract";
import { createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";

const RUNTIME = "a runtime";
const BYTES = 1 << 20;

const chunkOf = (letter: string): Buffer => Buffer.from(new Uint8Array(BYTES).fill(letter.charCodeAt(0)).buffer);

async function* each(chunks: readonly Buffer[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield await Promise.resolve(chunk);
}

/** Uploads a document in these chunks and commits it. A store that reuses chunk buffers releases their memory. */
async function commitUploaded(store: VersionedStore, chunks: readonly Buffer[]): Promise<void> {
  const document = Buffer.concat(chunks);
  const sha256 = createHash("sha256").update(document).digest();
  const upload = { runtimeId: RUNTIME, length: document.length, sha256, chunks: each(chunks) };
  const uploadId = await store.uploadSessionSnapshot(upload);
  await store.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: { uploadId, profile: "opaque" } });
  const loaded = await store.loadSessionSnapshot({ runtimeId: RUNTIME });
  const digest = createHash("sha256");
  for await (const chunk of loaded?.chunks ?? []) digest.update(chunk);
  expect(digest.digest().equals(sha256)).toBe(true);
}

test("a store that reuses chunk buffers releases the memory of uploaded chunks", async () => {
  const chunks = [chunkOf("a"), chunkOf("b"), Buffer.from("the end")];
  await commitUploaded(createEngineStore(new MemoryEngine(), { reusesChunkBuffers: true }), chunks);
  expect(chunks.map(({ length }) => length)).toEqual([0, 0, 7]);
});

test("memory that a chunk shares with other data is not released", async () => {
  const memory = chunkOf("a");
  await commitUploaded(createEngineStore(new MemoryEngine(), { reusesChunkBuffers: true }), [
    memory.subarray(0, BYTES / 2),
    memory.subarray(BYTES / 2),
  ]);
  expect(memory.every((byte) => byte === "a".charCodeAt(0))).toBe(true);
});

test("any other store does not release the chunks of its callers", async () => {
  const chunks = [chunkOf("a"), chunkOf("b")];
  await commitUploaded(createEngineStore(new MemoryEngine()), chunks);
  expect(chunks.map(({ length }) => length)).toEqual([BYTES, BYTES]);
});
