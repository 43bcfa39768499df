import type {
  InputId,
  InputLifecycleState,
  Limits,
  RuntimeId,
  StoredInputState,
  UnchangedInputs,
  Versioned,
  VersionedStore,
} from "@bolthole/contract";
import { StoreError, readFailed, writeFailed } from "@bolthole/contract";
import { readInputState, readStoredInputState, writeInputState } from "@bolthole/json";
import type { RowEdit } from "../commit/committer.js";
import { isExternalRow } from "../commit/external-rows.js";
import { type Argument, argumentsOf } from "../commit/fingerprint.js";
import { EMPTY_RUNTIME_MANIFEST, type RuntimeManifest, decodeRuntimeManifest } from "../commit/manifests.js";
import { damaged, decodeRow, versionText, ReadSet } from "../commit/row.js";
import { type KeyOf, type Row, type RowEntry, type View, pagesOf } from "../engine.js";
import { type StoreContext, loadRow, versionOf } from "../store-context.js";
import { checkRuntimeId, checkSize, parseUuid, shaped, tooLarge } from "../validate.js";
import { YieldBudget } from "../yield-budget.js";

type InputOperations = Pick<VersionedStore, "persistInputState" | "loadInputState" | "loadInputStates">;
type InputEntry = RowEntry<KeyOf<"input">>;

export const inputOperations = (context: StoreContext): InputOperations => ({
  async persistInputState(request) {
    const runtimeId = checkRuntimeId(request.runtimeId, context.limits);
    const inputs = inputRows(runtimeId, [request.state], () => "state", context.limits);
    const reads = new ReadSet();
    const edits = replaceInputs(inputs, reads);
    return context.committer.commit({
      method: "PersistInputState",
      request,
      args: { state: inputArguments(inputs) },
      inputIds: inputIdsOf(inputs),
      reads,
      bytes: inputs.bytes,
      decide: () => edits,
    });
  },

  async loadInputState(request) {
    const runtimeId = checkRuntimeId(request.runtimeId, context.limits, readFailed);
    const inputId = parseUuid(request.inputId, "input_id", readFailed);
    return loadRow(context, { table: "input", runtimeId, inputId }, decodeInputState);
  },

  async loadInputStates(request) {
    const runtimeId = checkRuntimeId(request.runtimeId, context.limits, readFailed);
    const failures: StoreError[] = [];
    const attempt = request.eachOutcome === true ? collecting(failures) : throwing;
    const { manifest, entries } = await context.engine.view((view) => readInputs(view, runtimeId, attempt));
    return {
      inputsVersion: manifest ? versionText(context.engine.epoch, manifest.inputsSequence) : "",
      batches: batches(context, entries, attempt),
      failures,
    };
  },
});

/** Runs a step of a load. Damage ends the load, or is collected; then the step returns undefined. */
type Attempt = <T>(work: () => T) => T | undefined;

const throwing: Attempt = (work) => work();

/** Adds DAMAGED_RECORD errors to a list, and returns undefined instead of a result. */
const collecting =
  (failures: StoreError[]): Attempt =>
  (work) => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof StoreError) || error.reason !== "DAMAGED_RECORD") throw error;
      failures.push(error);
      return undefined;
    }
  };

/** Reads all input rows of a runtime, and compares them with the runtime manifest: a row that vanished is damage too. */
async function readInputs(
  view: View,
  runtimeId: RuntimeId,
  attempt: Attempt,
): Promise<{ manifest: RuntimeManifest | undefined; entries: InputEntry[] }> {
  const key = { table: "runtimeManifest", runtimeId } as const;
  const row = await view.get(key);
  const manifest = row ? attempt(() => decodeRow(key, row, decodeRuntimeManifest)) : EMPTY_RUNTIME_MANIFEST;
  const entries: InputEntry[] = [];
  let sum = 0;
  for await (const page of pagesOf(view, { table: "input", runtimeId })) {
    for (const entry of page) {
      sum = (sum + entry.row.checksum) >>> 0;
      entries.push(entry);
    }
  }
  if (manifest && (entries.length !== manifest.input.rows || sum !== manifest.input.sum)) {
    attempt(() => {
      const expected = `${String(manifest.input.rows)} (sum of checksums ${String(manifest.input.sum)})`;
      const found = `${String(entries.length)} (sum of checksums ${String(sum)})`;
      throw damaged(key, `does not match the input states: expected ${expected}, found ${found}`);
    });
  }
  return { manifest, entries };
}

/** The most bytes of stored values in a batch, so that its message stays below 1 MiB on the wire. */
const BATCH_BYTES = 700_000;

// eslint-disable-next-line @typescript-eslint/require-await -- a batch is decoded when it is requested
async function* batches(
  context: StoreContext,
  entries: readonly InputEntry[],
  attempt: Attempt,
): AsyncGenerator<readonly Versioned<StoredInputState>[]> {
  let batch: Versioned<StoredInputState>[] = [];
  let bytes = 0;
  for (const { key, row } of entries) {
    if (bytes + row.value.length > BATCH_BYTES && batch.length > 0) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    const value = attempt(() => decodeRow(key, row, decodeInputState));
    if (value) batch.push({ value, version: versionOf(context, row) });
    bytes += row.value.length;
  }
  if (batch.length > 0) yield batch;
}

/** Decodes the value of an input row. Rows of the store itself are canonical JSON, which is read faster. */
export const decodeInputState = (value: Uint8Array, row: Row): StoredInputState =>
  isExternalRow(row) ? readInputState(value) : readStoredInputState(value);

/** The input rows of one request: checked, in canonical JSON, each id once. */
export interface InputRows {
  readonly rows: readonly { readonly key: KeyOf<"input">; readonly value: Uint8Array }[];
  /** The total size of the values. */
  readonly bytes: number;
}

/** Checks the input rows of a request, and returns each id once. One invalid row refuses the request. */
export function inputRows(
  runtimeId: RuntimeId,
  states: readonly StoredInputState[],
  fieldOf: (index: number) => string,
  limits: Limits,
): InputRows {
  checkRowCount(states.length, fieldOf, limits);
  const rows = new CheckedRows(runtimeId, fieldOf, limits);
  for (const state of states) rows.add(state);
  return rows.result();
}

/** Checks rows as `inputRows` does, and lets the event loop run while it works on many of them. */
export async function inputRowsYielding(
  runtimeId: RuntimeId,
  states: readonly StoredInputState[],
  fieldOf: (index: number) => string,
  limits: Limits,
): Promise<InputRows> {
  checkRowCount(states.length, fieldOf, limits);
  const rows = new CheckedRows(runtimeId, fieldOf, limits);
  const budget = new YieldBudget();
  for (const state of states) {
    rows.add(state);
    const wait = budget.spend();
    if (wait) await wait;
  }
  return rows.result();
}

function checkRowCount(count: number, fieldOf: (index: number) => string, limits: Limits): void {
  if (count > limits.batchRows) {
    throw tooLarge(writeFailed, fieldOf(0).replace(/\[0\]$/, ""), limits.batchRows, count, "rows");
  }
}

/** Checks input rows one by one. Of two rows with one id the last wins (contract 2.6). */
class CheckedRows {
  private readonly rows = new Map<InputId, InputRows["rows"][number]>();
  private count = 0;
  private bytes = 0;

  constructor(
    private readonly runtimeId: RuntimeId,
    private readonly fieldOf: (index: number) => string,
    private readonly limits: Limits,
  ) {}

  add(state: StoredInputState): void {
    const { runtimeId } = this;
    const field = this.fieldOf(this.count);
    this.count += 1;
    const inputId = parseUuid(state.inputId, `${field}.input_id`, writeFailed);
    const value = shaped(field, writeFailed, () => writeInputState(state));
    checkSize(value.length, this.limits.inputRowBytes, field, writeFailed);
    checkSeed(inputId === state.inputId ? state : { ...state, inputId }, runtimeId, field);
    this.bytes += value.length - (this.rows.get(inputId)?.value.length ?? 0);
    this.rows.set(inputId, { key: { table: "input", runtimeId, inputId }, value });
  }

  result(): InputRows {
    return { rows: [...this.rows.values()], bytes: this.bytes };
  }
}

/** Replaces each row, whatever is stored: any phase may overwrite any other (contract 5.4). */
export const replaceInputs = ({ rows }: InputRows, reads: ReadSet): RowEdit[] =>
  rows.map(({ key, value }) => ({ handle: reads.add(key), value }));

export const inputIdsOf = ({ rows }: InputRows): InputId[] => rows.map(({ key }) => key.inputId);

export const inputArguments = ({ rows }: InputRows): Argument[] => rows.map(({ value }) => value);

export const unchangedArguments = (unchanged: UnchangedInputs | undefined): Argument[] =>
  argumentsOf<UnchangedInputs>({ inputsVersion: unchanged?.inputsVersion });

/** The reference's limit of staging attempts. Attempts below it cannot be exhausted. */
const MAX_STAGE_ATTEMPTS = 3;

const TERMINAL: readonly InputLifecycleState[] = ["consumed", "superseded", "coalesced", "abandoned"];

/** Whether phase, terminal outcome, recovery lane and attempts of a row agree (contract 5.4). Nothing else is checked. */
export function isValidSeed(state: StoredInputState): boolean {
  const { currentState, terminalOutcome, recoveryLane, attemptCount } = state;
  if (!TERMINAL.includes(currentState)) return terminalOutcome === undefined;
  if (terminalOutcome?.kind !== currentState || recoveryLane !== undefined) return false;
  if (terminalOutcome.kind !== "abandoned" || terminalOutcome.reason.kind !== "max_attempts_exhausted") return true;
  return terminalOutcome.reason.attempts === attemptCount && attemptCount >= MAX_STAGE_ATTEMPTS;
}

/** Refuses a row that contradicts itself, with the text that the reference has for all such rows (contract 5.4). */
function checkSeed(state: StoredInputState, runtimeId: RuntimeId, field: string): void {
  if (isValidSeed(state)) return;
  throw writeFailed(
    "RECORD_REJECTED",
    `MeerkatMachine rejected stored input-state seed for '${state.inputId}': ` +
      "guard rejected transition from phase Idle for input::AuthorizeStoredInputStateSeed",
    { runtimeId, record: field },
  );
}
