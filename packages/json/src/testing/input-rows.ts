import { JsonError, readInputState, writeInputState } from "../index.js";
import type { StoredInputState } from "../model.js";

export const ID = "0198f0a0-0000-7000-8000-0000000000bb";
export const TIME = "2026-05-28T15:31:27.100Z";

const HEADER =
  `"header":{"id":"${ID}","timestamp":"${TIME}","source":{"type":"operator"},"durability":"durable",` +
  `"visibility":{"transcript_eligible":true,"operator_eligible":true}}`;

/** A small payload in canonical form. */
export const PROMPT = `{"input_type":"prompt",${HEADER},"text":"hello"}`;

/** Returns `PROMPT` with further members. */
export function promptWith(members: string): string {
  return PROMPT.replace(/}$/, `,${members}}`);
}

export function stateWith(changes: Partial<StoredInputState>): StoredInputState {
  return {
    inputId: ID,
    currentState: "queued",
    attemptCount: 0,
    recoveryCount: 0,
    history: [],
    createdAt: TIME,
    updatedAt: TIME,
    ...changes,
  };
}

/** Returns the JSON of a row with further members. */
export function rowWith(members: string): string {
  return `{"input_id":"${ID}","current_state":"queued","created_at":"${TIME}","updated_at":"${TIME}"${members}}`;
}

/** Writes a row with a payload and reads it again. Returns the payload. */
export function payloadAfterWriting(persistedInput: string): string | undefined {
  return readInputState(writeInputState(stateWith({ persistedInput }))).persistedInput;
}

/** Returns the `JsonError` that `run` throws. */
export function errorOf(run: () => unknown): JsonError {
  try {
    run();
  } catch (error) {
    if (error instanceof JsonError) return error;
    throw error;
  }
  throw new Error("expected a JsonError, but nothing was thrown");
}
