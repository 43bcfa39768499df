import { parentPort } from "node:worker_threads";
import { type TranscriptCheck, checkTranscript } from "./check.js";

/** The program of a worker thread: one check after the other. */
parentPort?.on("message", (check: TranscriptCheck) => {
  parentPort?.postMessage(checkTranscript(check));
});
