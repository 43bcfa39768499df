import { INPUT_LIFECYCLE_STATES, MAX_STAGE_ATTEMPTS, TERMINAL_INPUT_STATES } from "../records/input-state.js";
import type { JsonObject } from "../shapes/form.js";

const NULL: JsonObject = { type: "null" };

const stateIs = (schema: JsonObject): JsonObject => ({
  properties: { current_state: schema },
  required: ["current_state"],
});

/**
 * The seed rules of an input row (contract 5.4) that JSON Schema can express: all but the equality of the two numbers of attempts.
 * A store checks them when a row is written. Reading a row does not.
 */
export const SEED_RULES: readonly JsonObject[] = [
  {
    if: stateIs({ enum: INPUT_LIFECYCLE_STATES.filter((state) => !TERMINAL_INPUT_STATES.includes(state)) }),
    then: { properties: { terminal_outcome: NULL } },
  },
  ...TERMINAL_INPUT_STATES.map((state) => ({
    if: stateIs({ const: state }),
    then: {
      properties: {
        terminal_outcome: {
          type: "object",
          properties: { outcome_type: { const: state } },
          required: ["outcome_type"],
        },
        recovery_lane: NULL,
      },
      required: ["terminal_outcome"],
    },
  })),
  {
    if: {
      properties: {
        terminal_outcome: {
          type: "object",
          properties: {
            reason: {
              type: "object",
              properties: { max_attempts_exhausted: { type: "object" } },
              required: ["max_attempts_exhausted"],
            },
          },
          required: ["reason"],
        },
      },
      required: ["terminal_outcome"],
    },
    then: {
      properties: { attempt_count: { type: "integer", minimum: MAX_STAGE_ATTEMPTS } },
      required: ["attempt_count"],
    },
  },
];
