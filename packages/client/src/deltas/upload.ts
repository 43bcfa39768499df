import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Call, RuntimeId, VersionedStore } from "@bolthole/contract";

const CHUNK_BYTES = 256 * 1024;
/** Digested before the event loop has its turn: a few milliseconds. */
const BYTES_A_TURN = 4 * 1024 * 1024;

/** Brings a whole document, in messages of limited size, and answers the id under which a mutation may name it. */
export async function uploadDocument(
  store: VersionedStore,
  runtimeId: RuntimeId,
  document: Uint8Array,
  maxChunkBytes: number,
  call: Call,
): Promise<string> {
  const sha256 = await sha256InTurns(document);
  const chunks = { [Symbol.asyncIterator]: () => chunksOf(document, Math.min(CHUNK_BYTES, maxChunkBytes)) };
  return store.uploadSessionSnapshot({ runtimeId, length: document.length, sha256, chunks }, call);
}

// eslint-disable-next-line @typescript-eslint/require-await -- a chunk is cut when it is asked for
async function* chunksOf(document: Uint8Array, length: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < document.length; at += length) yield document.subarray(at, at + length);
}

async function sha256InTurns(document: Uint8Array): Promise<Uint8Array> {
  const digest = createHash("sha256");
  for await (const chunk of chunksOf(document, BYTES_A_TURN)) {
    digest.update(chunk);
    await nextTurn();
  }
  return digest.digest();
}
