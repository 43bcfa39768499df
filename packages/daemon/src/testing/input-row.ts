import type { StoredInputState } from "@bolthole/contract";

const NOW = "2026-05-28T15:31:27Z";
export const INPUT_ID = "0198f01a-0000-7000-8000-000000000001";

/** Returns a small input row that contains the given text. */
export const inputRow = (idempotencyKey: string): StoredInputState => ({
  inputId: INPUT_ID,
  currentState: "accepted",
  idempotencyKey,
  attemptCount: 0,
  recoveryCount: 0,
  history: [],
  createdAt: NOW,
  updatedAt: NOW,
});
