import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Call, RuntimeId, VersionedStore } from "@bolthole/contract";

const CHUNK_BYTES = 1024 * 1024;
/** So many chunks are digested before the event loop has its turn: a few milliseconds. */
const CHUNKS_A_TURN = 4;

/** Brings a whole document, and answers the id under which a mutation may name it. */
export async function uploadDocument(
  store: VersionedStore,
  runtimeId: RuntimeId,
  document: Uint8Array,
  call: Call,
): Promise<string> {
  const sha256 = await sha256InTurns(document);
  const chunks = { [Symbol.asyncIterator]: () => chunksOf(document) };
  return store.uploadSessionSnapshot({ runtimeId, length: document.length, sha256, chunks }, call);
}

// eslint-disable-next-line @typescript-eslint/require-await -- a chunk is cut when it is asked for
async function* chunksOf(document: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < document.length; at += CHUNK_BYTES) yield document.subarray(at, at + CHUNK_BYTES);
}

async function sha256InTurns(document: Uint8Array): Promise<Uint8Array> {
  const digest = createHash("sha256");
  let chunks = 0;
  for await (const chunk of chunksOf(document)) {
    digest.update(chunk);
    chunks += 1;
    if (chunks % CHUNKS_A_TURN === 0) await nextTurn();
  }
  return digest.digest();
}
