import { parentPort } from "node:worker_threads";
import { type OpsVerdict, checkOps } from "../documents/ops-check.js";
import { type FullCheck, type TranscriptVerdict, checkFully } from "./full-check.js";
import { ResumableSha256 } from "./incremental/resumable-sha256.js";

/** The work of a worker: the check of a session document, or of the JSON of an operation snapshot. */
export type WorkerCheck = { readonly session: FullCheck } | { readonly ops: Uint8Array };

export interface WorkerResult {
  readonly verdict: TranscriptVerdict | OpsVerdict;
  /** The memory of the documents, the incoming one's first, which is transferred back. */
  readonly memory: readonly ArrayBuffer[];
}

/** The program of a worker thread: it runs one check after the other. */
parentPort?.on("message", (check: WorkerCheck) => {
  void run(check);
});

async function run(check: WorkerCheck): Promise<void> {
  if ("ops" in check) {
    send(checkOps(check.ops), [check.ops]);
    return;
  }
  const { incoming, guard, buildsIndex } = check.session;
  const sha256 = buildsIndex ? await ResumableSha256.load() : undefined;
  send(checkFully(check.session, { sha256 }), [incoming, guard?.previous]);
}

function send(verdict: WorkerResult["verdict"], documents: readonly (Uint8Array | undefined)[]): void {
  const memory = documents.flatMap((bytes) => (bytes ? [bytes.buffer as ArrayBuffer] : []));
  parentPort?.postMessage({ verdict, memory } satisfies WorkerResult, memory);
}
