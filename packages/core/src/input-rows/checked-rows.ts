import type { InputId, Limits, RuntimeId, StoredInputState } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { inside } from "@bolthole/contract/wire";
import { MAX_STAGE_ATTEMPTS, TERMINAL_INPUT_STATES, writeInputState } from "@bolthole/json";
import type { KeyOf } from "../engine.js";
import { checkSize, parseUuid, shapeError, shaped, tooLarge } from "../validate.js";
import { YieldBudget } from "../yield-budget.js";
import { type LongRows, isLongRow } from "./long-rows.js";
import type { RowFacts } from "./long-rows-worker.js";

/** What the check of the input rows of one runtime needs. */
export interface RowRules {
  readonly runtimeId: RuntimeId;
  readonly limits: Limits;
  readonly longRows: LongRows;
}

/** A checked row in canonical JSON. */
export interface InputRow {
  readonly key: KeyOf<"input">;
  readonly value: Uint8Array;
}

/** The input rows of one request: checked, in canonical JSON, each id once. */
export interface InputRows {
  readonly rows: readonly InputRow[];
  /** The total size of the values. */
  readonly bytes: number;
}

/** Checks one row, and returns a promise only for a long one. `field` names the row in errors. */
export function checkedRow(rules: RowRules, state: StoredInputState, field: string): InputRow | Promise<InputRow> {
  if (isLongRow(state)) return checkedLongRow(rules, state, field);
  return rowOf(
    rules,
    state,
    field,
    shaped(field, writeFailed, () => writeInputState(state)),
  );
}

async function checkedLongRow(rules: RowRules, state: StoredInputState, field: string): Promise<InputRow> {
  let value: Uint8Array;
  try {
    value = await rules.longRows.write(state);
  } catch (error) {
    throw shapeError(field, writeFailed, error);
  }
  return rowOf(rules, state, field, value);
}

/**
 * Checks a row that was received as the bytes of its message, on the worker. Throws an `InvalidArgumentError` for bytes that are
 * not a row.
 */
export async function checkedMessage(
  rules: RowRules,
  message: Uint8Array<ArrayBuffer>,
  field: string,
): Promise<InputRow> {
  let converted: Awaited<ReturnType<LongRows["writeMessage"]>>;
  try {
    converted = await rules.longRows.writeMessage(message);
  } catch (error) {
    throw shapeError(field, writeFailed, inside(field, error));
  }
  const { value, facts } = converted;
  return rowOf(rules, facts, field, value);
}

function rowOf({ runtimeId, limits }: RowRules, state: RowFacts, field: string, value: Uint8Array): InputRow {
  const inputId = parseUuid(state.inputId, `${field}.input_id`, writeFailed);
  checkSize(value.length, limits.inputRowBytes, field, writeFailed, "bytes", ROW_REMEDY);
  checkSeed(inputId === state.inputId ? state : { ...state, inputId }, runtimeId, field);
  return { key: { table: "input", runtimeId, inputId }, value };
}

const ROW_REMEDY = "store a shorter payload, or raise the daemon's --max-input-row-size";

/** Checks the only input row of a request. Returns a promise only for a long one. */
export function singleInputRow(
  rules: RowRules,
  state: StoredInputState,
  field: string,
): InputRows | Promise<InputRows> {
  const row = checkedRow(rules, state, field);
  return row instanceof Promise ? row.then(only) : only(row);
}

const only = (row: InputRow): InputRows => ({ rows: [row], bytes: row.value.length });

/**
 * Checks the input rows of a request, and returns each id once. One invalid row refuses the request. Lets the event loop run
 * while it works on many rows.
 */
export async function inputRowsYielding(
  rules: RowRules,
  states: readonly StoredInputState[],
  fieldOf: (index: number) => string,
): Promise<InputRows> {
  const { batchRows } = rules.limits;
  if (states.length > batchRows) {
    throw tooLarge(writeFailed, fieldOf(0).replace(/\[0\]$/, ""), batchRows, states.length, "rows");
  }
  const rows = new DistinctRows();
  const budget = new YieldBudget();
  for (const [index, state] of states.entries()) {
    const row = checkedRow(rules, state, fieldOf(index));
    rows.add(row instanceof Promise ? await row : row);
    const wait = budget.spend();
    if (wait) await wait;
  }
  return rows.result();
}

/** Collects rows. Of two rows with one id the last wins (contract 2.6). */
class DistinctRows {
  private readonly rows = new Map<InputId, InputRow>();
  private bytes = 0;

  add(row: InputRow): void {
    const { inputId } = row.key;
    this.bytes += row.value.length - (this.rows.get(inputId)?.value.length ?? 0);
    this.rows.set(inputId, row);
  }

  result(): InputRows {
    return { rows: [...this.rows.values()], bytes: this.bytes };
  }
}

/** Whether phase, terminal outcome, recovery lane and attempts of a row agree (contract 5.4). Nothing else is checked. */
export function isValidSeed(state: RowFacts): boolean {
  const { currentState, terminalOutcome, recoveryLane, attemptCount } = state;
  if (!TERMINAL_INPUT_STATES.includes(currentState)) return terminalOutcome === undefined;
  if (terminalOutcome?.kind !== currentState || recoveryLane !== undefined) return false;
  if (terminalOutcome.kind !== "abandoned" || terminalOutcome.reason.kind !== "max_attempts_exhausted") return true;
  return terminalOutcome.reason.attempts === attemptCount && attemptCount >= MAX_STAGE_ATTEMPTS;
}

/** Refuses a row that contradicts itself, with the text that the reference has for all such rows (contract 5.4). */
function checkSeed(state: RowFacts, runtimeId: RuntimeId, field: string): void {
  if (isValidSeed(state)) return;
  throw writeFailed(
    "RECORD_REJECTED",
    `MeerkatMachine rejected stored input-state seed for '${state.inputId}': ` +
      "guard rejected transition from phase Idle for input::AuthorizeStoredInputStateSeed",
    { runtimeId, record: field },
  );
}
