import { parentPort } from "node:worker_threads";
import { type FullCheck, type TranscriptVerdict, checkFully } from "./full-check.js";
import { ResumableSha256 } from "./incremental/resumable-sha256.js";

export interface WorkerResult {
  readonly verdict: TranscriptVerdict;
  /** The memory of the documents, the incoming one's first, which is transferred back. */
  readonly memory: readonly ArrayBuffer[];
}

/** The program of a worker thread: it runs one check after the other. */
parentPort?.on("message", (check: FullCheck) => {
  void run(check);
});

async function run(check: FullCheck): Promise<void> {
  const sha256 = check.buildsIndex ? await ResumableSha256.load() : undefined;
  const verdict = checkFully(check, { sha256 });
  const { incoming, guard } = check;
  const memory = [incoming, guard?.previous].flatMap((bytes) => (bytes ? [bytes.buffer as ArrayBuffer] : []));
  parentPort?.postMessage({ verdict, memory } satisfies WorkerResult, memory);
}
