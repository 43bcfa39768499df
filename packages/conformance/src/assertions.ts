import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  type RuntimeStore,
  StoreError,
  type StoreErrorReason,
  type StoreErrorVariant,
  loadMachineLifecycle,
} from "@bolthole/contract";

/** What a refusal has to say. */
export interface Refusal {
  readonly variant: StoreErrorVariant;
  readonly reason: StoreErrorReason;
  /** The whole message. */
  readonly message?: string;
  /** Somewhere in the record or field that the refusal names. */
  readonly record?: string;
  readonly expected?: string;
  readonly actual?: string;
  readonly identical?: boolean;
}

/** The call is refused in that way, and says that nothing was applied. */
export async function refused(call: Promise<unknown>, refusal: Refusal): Promise<StoreError> {
  const error = await rejection(call);
  assert.ok(error instanceof StoreError, `expected a StoreError, got ${String(error)}`);
  const { message, record, expected, actual, identical } = refusal;
  assert.deepEqual([error.variant, error.reason], [refusal.variant, refusal.reason], error.message);
  assert.equal(error.applied, "no");
  if (message !== undefined) assert.equal(error.message, message);
  if (record !== undefined) {
    assert.ok(error.subject.record?.includes(record), `names ${String(error.subject.record)} instead of ${record}`);
  }
  if (expected !== undefined) assert.equal(error.subject.expected, expected);
  if (actual !== undefined) assert.equal(error.subject.actual, actual);
  if (identical !== undefined) assert.equal(error.subject.identical, identical);
  return error;
}

/** What the call rejects with. */
export async function rejection(call: Promise<unknown>): Promise<unknown> {
  const outcome = await call.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ("error" in outcome) return outcome.error;
  return assert.fail(`expected a refusal, got ${String(outcome.value)}`);
}

export function sameBytes(actual: Uint8Array | undefined, expected: Uint8Array | undefined): void {
  if (!actual || !expected) {
    assert.equal(actual, expected);
  } else if (Buffer.compare(actual, expected) !== 0) {
    assert.equal(Buffer.from(actual).toString("latin1"), Buffer.from(expected).toString("latin1"));
  }
}

/** Absent members and undefined ones are the same. */
export function same(actual: unknown, expected: unknown): void {
  assert.deepEqual(plain(actual), plain(expected));
}

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("latin1");
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(members.map(([name, member]) => [name, plain(member)]));
}

/** Everything that is stored of a runtime but its receipts, in a form for comparing. */
export async function contents(store: RuntimeStore, runtimeId: string): Promise<unknown> {
  return plain({
    snapshot: await store.loadSessionSnapshot(runtimeId),
    lifecycle: await loadMachineLifecycle(store, runtimeId),
    inputs: await store.loadInputStates(runtimeId),
    ops: await store.loadOpsLifecycle(runtimeId),
  });
}

export const EMPTY_CONTENTS: unknown = { inputs: [] };

/** Runs all calls at once. */
export const together = <T>(count: number, call: (n: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, n) => call(n)));
