import type { InputLifecycleState, StoredInputState } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";

/** The machine's bound on staging attempts: fewer cannot have exhausted them. */
const MAX_STAGE_ATTEMPTS = 3;

const TERMINAL: readonly InputLifecycleState[] = ["consumed", "superseded", "coalesced", "abandoned"];

/** Whether phase, terminal outcome, recovery lane and attempts of a row agree (section 5.5). Nothing else is looked at. */
export function isSoundSeed(state: StoredInputState): boolean {
  const { currentState, terminalOutcome, recoveryLane, attemptCount } = state;
  if (!TERMINAL.includes(currentState)) return terminalOutcome === undefined;
  if (terminalOutcome?.kind !== currentState || recoveryLane !== undefined) return false;
  if (terminalOutcome.kind !== "abandoned" || terminalOutcome.reason.kind !== "max_attempts_exhausted") return true;
  return terminalOutcome.reason.attempts === attemptCount && attemptCount >= MAX_STAGE_ATTEMPTS;
}

/** Refuses a row that contradicts itself, with the reference's one text for all such rows (section 15.14). */
export function checkSeed(state: StoredInputState, runtimeId: string, field: string): void {
  if (isSoundSeed(state)) return;
  throw writeFailed(
    "RECORD_REJECTED",
    `MeerkatMachine rejected stored input-state seed for '${state.inputId}': ` +
      "guard rejected transition from phase Idle for input::AuthorizeStoredInputStateSeed",
    { runtimeId, record: field },
  );
}
