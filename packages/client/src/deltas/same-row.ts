import equal from "fast-deep-equal";
import type { InputHistoryEntry, StoredInputState } from "@bolthole/contract";

/**
 * Whether two rows are the same to the store. All rows of a ledger are compared at every boundary, so each field is named:
 * a comparison that looks for the fields takes several times as long.
 */
export const isSameRow = (one: StoredInputState, other: StoredInputState): boolean =>
  one.updatedAt === other.updatedAt &&
  one.attemptCount === other.attemptCount &&
  one.currentState === other.currentState &&
  one.inputId === other.inputId &&
  one.durability === other.durability &&
  one.idempotencyKey === other.idempotencyKey &&
  one.recoveryCount === other.recoveryCount &&
  one.lastRunId === other.lastRunId &&
  one.lastBoundarySequence === other.lastBoundarySequence &&
  one.admissionSequence === other.admissionSequence &&
  one.recoveryLane === other.recoveryLane &&
  one.createdAt === other.createdAt &&
  one.persistedInput === other.persistedInput &&
  isSameHistory(one.history, other.history) &&
  equal(one.terminalOutcome, other.terminalOutcome) &&
  equal(one.policy, other.policy) &&
  equal(one.runtimeSemantics, other.runtimeSemantics) &&
  equal(one.reconstructionSource, other.reconstructionSource);

function isSameHistory(one: readonly InputHistoryEntry[], other: readonly InputHistoryEntry[]): boolean {
  if (one.length !== other.length) return false;
  for (let place = 0; place < one.length; place += 1) if (!isSameEntry(one[place], other[place])) return false;
  return true;
}

const isSameEntry = (one: InputHistoryEntry | undefined, other: InputHistoryEntry | undefined): boolean =>
  one?.timestamp === other?.timestamp &&
  one?.from === other?.from &&
  one?.to === other?.to &&
  one?.reason === other?.reason;
