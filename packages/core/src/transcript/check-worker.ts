import { parentPort } from "node:worker_threads";
import { type TranscriptVerdict, type TranscriptCheck, checkTranscript } from "./check.js";
import { ResumableSha256 } from "./resumable-sha256.js";

export interface WorkerAnswer {
  readonly finding: TranscriptVerdict;
  /** Of the documents, the incoming one first: it is handed back. */
  readonly memory: readonly ArrayBuffer[];
}

/** The program of a worker thread: one check after the other. */
parentPort?.on("message", (check: TranscriptCheck) => {
  void answer(check);
});

async function answer(check: TranscriptCheck): Promise<void> {
  const sha256 = check.remembers ? await ResumableSha256.load() : undefined;
  const finding = checkTranscript(check, { sha256 });
  const { incoming, guard } = check;
  const memory = [incoming, guard?.previous].flatMap((bytes) => (bytes ? [bytes.buffer as ArrayBuffer] : []));
  parentPort?.postMessage({ finding, memory } satisfies WorkerAnswer, memory);
}
