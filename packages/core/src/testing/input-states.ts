import type { StoredInputState } from "@bolthole/contract";

const NOW = "2026-05-28T15:31:27Z";

/** Returns an input id. A larger serial number sorts later. */
export const inputId = (serial: number): string => `0198f01a-0000-7000-8000-${String(serial).padStart(12, "0")}`;

/** Returns a valid input state. */
export const inputState = (serial: number, attemptCount = 0): StoredInputState => ({
  inputId: inputId(serial),
  currentState: "accepted",
  attemptCount,
  recoveryCount: 0,
  history: [],
  createdAt: NOW,
  updatedAt: NOW,
});
