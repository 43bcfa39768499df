import type { InputId, Limits, RuntimeId, StoredInputState, UnchangedInputs } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { writeInputState } from "@bolthole/json";
import type { RowEdit } from "../commit/committer.js";
import { type Argument, argumentsOf } from "../commit/fingerprint.js";
import type { ReadSet } from "../commit/read-set.js";
import type { KeyOf } from "../engine.js";
import { checkSize, parseUuid, shaped, tooLarge } from "../validate.js";
import { checkSeed } from "./input-seed.js";

/** The input rows of one request: checked, in canonical JSON, each id once. */
export interface InputRows {
  readonly rows: readonly { readonly key: KeyOf<"input">; readonly value: Uint8Array }[];
  /** About how many bytes of values they are. */
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
  let bytes = 0;
  for (const value of rows.values()) bytes += value.length;
  return { rows: [...rows].map(([inputId, value]) => ({ key: { table: "input", runtimeId, inputId }, value })), bytes };
}

export const unchangedArguments = (unchanged: UnchangedInputs | undefined): Argument[] =>
  argumentsOf<UnchangedInputs>({ inputsVersion: unchanged?.inputsVersion });

/** Replaces each row, whatever is stored: any phase may overwrite any other (section 5.5). */
export const putInputs = ({ rows }: InputRows, reads: ReadSet): RowEdit[] =>
  rows.map(({ key, value }) => ({ handle: reads.add(key), value }));
