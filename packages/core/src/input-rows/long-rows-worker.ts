import { parentPort } from "node:worker_threads";
import type { StoredInputState } from "@bolthole/contract";
import { InvalidArgumentError, decodeInputState } from "@bolthole/contract/wire";
import { JsonError, readInputState, readStoredInputState, writeInputState } from "@bolthole/json";

/** A conversion of one long row: to its value, from the row or from its message, or from its value to the row. */
export type LongRowJob =
  | { readonly state: StoredInputState }
  | { readonly message: Uint8Array }
  | { readonly value: Uint8Array; readonly isExternal: boolean };

/** What a rule needs of a row beside its value. The long parts stay in the worker. */
export type RowFacts = Pick<
  StoredInputState,
  "inputId" | "currentState" | "terminalOutcome" | "recoveryLane" | "attemptCount"
>;

type InvalidField = readonly [field: string, expected: string, actual: string | undefined];

/** The result of a conversion, or the fields of the error that it threw. */
export type LongRowReply =
  | { readonly value: Uint8Array; readonly facts: RowFacts }
  | { readonly state: StoredInputState }
  | { readonly error: ConstructorParameters<typeof JsonError> }
  | { readonly invalid: InvalidField[] };

/** The program of a worker thread: it converts one row after the other. */
parentPort?.on("message", (job: LongRowJob) => {
  const reply = replyTo(job);
  parentPort?.postMessage(reply, "value" in reply ? [reply.value.buffer as ArrayBuffer] : []);
});

function replyTo(job: LongRowJob): LongRowReply {
  try {
    if ("state" in job) return written(job.state);
    if ("message" in job) return written(decodeInputState(job.message, ""));
    const bytes = Buffer.from(job.value.buffer, job.value.byteOffset, job.value.length);
    return { state: job.isExternal ? readInputState(bytes) : readStoredInputState(bytes) };
  } catch (error) {
    if (error instanceof InvalidArgumentError) return { invalid: [error, ...error.others].map(invalidField) };
    if (!(error instanceof JsonError)) throw error;
    const { message, reason, path, offset, isRule, problems } = error;
    return { error: [message, reason, path, offset, isRule, problems] };
  }
}

const invalidField = ({ field, expected, actual }: InvalidArgumentError): InvalidField => [field, expected, actual];

function written(state: StoredInputState): LongRowReply {
  const { inputId, currentState, terminalOutcome, recoveryLane, attemptCount } = state;
  // A copy, because the writer may share its memory with other values.
  const value = new Uint8Array(writeInputState(state));
  return { value, facts: { inputId, currentState, terminalOutcome, recoveryLane, attemptCount } };
}
