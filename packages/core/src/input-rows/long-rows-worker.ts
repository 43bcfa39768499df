import { parentPort } from "node:worker_threads";
import type { StoredInputState } from "@bolthole/contract";
import { JsonError, readInputState, readStoredInputState, writeInputState } from "@bolthole/json";

/** A conversion of one long row. */
export type LongRowJob =
  { readonly state: StoredInputState } | { readonly value: Uint8Array; readonly isExternal: boolean };

/** The result of a conversion, or the fields of the `JsonError` that it threw. */
export type LongRowReply =
  | { readonly value: Uint8Array }
  | { readonly state: StoredInputState }
  | { readonly error: ConstructorParameters<typeof JsonError> };

/** The program of a worker thread: it converts one row after the other. */
parentPort?.on("message", (job: LongRowJob) => {
  const reply = replyTo(job);
  parentPort?.postMessage(reply, "value" in reply ? [reply.value.buffer as ArrayBuffer] : []);
});

function replyTo(job: LongRowJob): LongRowReply {
  try {
    // A copy, because the writer may share its memory with other values.
    if ("state" in job) return { value: new Uint8Array(writeInputState(job.state)) };
    const bytes = Buffer.from(job.value.buffer, job.value.byteOffset, job.value.length);
    return { state: job.isExternal ? readInputState(bytes) : readStoredInputState(bytes) };
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    const { message, reason, path, offset, isRule } = error;
    return { error: [message, reason, path, offset, isRule] };
  }
}
