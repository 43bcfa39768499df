import type { StoredInputState } from "@bolthole/contract";
import { Random } from "@bolthole/core/testing";
import { denseText } from "./dense-text.js";

const INSTANT = "2026-05-28T15:31:27.123456789Z";
const PROMPT_BYTES = 550;

export const inputIdOf = (index: number): string => `0198f0a0-0001-7000-8000-${index.toString(16).padStart(12, "0")}`;

/** A consumed prompt of about 1.2 KB as it is stored; every attempt makes another row. */
export function ledgerRow(index: number, attemptCount: number): StoredInputState {
  const inputId = inputIdOf(index);
  return {
    inputId,
    currentState: "consumed",
    terminalOutcome: { kind: "consumed" },
    durability: "durable",
    attemptCount,
    recoveryCount: 0,
    history: [
      { timestamp: INSTANT, from: "accepted", to: "queued" },
      { timestamp: INSTANT, from: "queued", to: "staged" },
    ],
    persistedInput: JSON.stringify({
      input_type: "prompt",
      header: {
        id: inputId,
        timestamp: INSTANT,
        source: { type: "operator" },
        durability: "durable",
        visibility: { transcript_eligible: true, operator_eligible: true },
      },
      text: denseText(new Random(index), PROMPT_BYTES),
    }),
    createdAt: INSTANT,
    updatedAt: INSTANT,
  };
}
