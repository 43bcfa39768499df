import type { InputId, Limits, RuntimeId, StoredInputState } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { writeInputState } from "@bolthole/json";
import type { RowEdit } from "../commit/committer.js";
import type { RowKey } from "../engine.js";
import { checkSize, parseUuid, shaped, tooLarge } from "../validate.js";
import { checkSeed } from "./input-seed.js";

/** Input rows of one request, checked, in normal form, each id once. */
export interface InputRows {
  readonly keys: readonly RowKey[];
  readonly values: readonly Uint8Array[];
  readonly bytes: number;
}

/** Refuses the whole batch for one bad row. Of two rows with one id the last wins (section 9.4). */
export function inputRows(
  runtimeId: RuntimeId,
  states: readonly StoredInputState[],
  fieldOf: (index: number) => string,
  limits: Limits,
): InputRows {
  if (states.length > limits.batchRows) {
    throw tooLarge(writeFailed, fieldOf(0).replace(/\[0\]$/, ""), limits.batchRows, states.length, "rows");
  }
  const rows = new Map<InputId, Uint8Array>();
  states.forEach((state, index) => {
    const field = fieldOf(index);
    const inputId = parseUuid(state.inputId, `${field}.input_id`, writeFailed);
    const value = shaped(field, writeFailed, () => writeInputState(state));
    checkSize(value.length, limits.inputRowBytes, field, writeFailed);
    checkSeed(inputId === state.inputId ? state : { ...state, inputId }, runtimeId, field);
    rows.set(inputId, value);
  });
  const values = [...rows.values()];
  return {
    keys: [...rows.keys()].map((inputId) => ({ table: "input", runtimeId, inputId })),
    values,
    bytes: values.reduce((total, value) => total + value.length, 0),
  };
}

/** Puts each row, whatever was stored: any phase may overwrite any other (section 5.5). */
export const putInputs = ({ values }: InputRows, firstRow: number): RowEdit[] =>
  values.map((value, index) => ({ row: firstRow + index, value }));
