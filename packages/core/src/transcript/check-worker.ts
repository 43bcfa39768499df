import { parentPort } from "node:worker_threads";
import { type TranscriptCheck, checkTranscript } from "./check.js";
import { ResumableSha256 } from "./resumable-sha256.js";

/** The program of a worker thread: one check after the other. */
parentPort?.on("message", (check: TranscriptCheck) => {
  void answer(check);
});

async function answer(check: TranscriptCheck): Promise<void> {
  const sha256 = check.remembers ? await ResumableSha256.load() : undefined;
  parentPort?.postMessage(checkTranscript(check, { sha256 }));
}
