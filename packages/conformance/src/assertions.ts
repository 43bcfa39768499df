import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { inspect } from "node:util";
import {
  type RuntimeStore,
  StoreError,
  type StoreErrorReason,
  type StoreErrorVariant,
  loadMachineLifecycle,
} from "@bolthole/contract";

/** The facts that a refusal must report. A fact that is left out is not checked. */
export interface Refusal {
  readonly variant: StoreErrorVariant;
  readonly reason: StoreErrorReason;
  /** The whole error message. */
  readonly message?: string;
  /** A part of the record or field that the error names. */
  readonly record?: string;
  readonly expected?: string;
  readonly actual?: string;
  readonly identical?: boolean;
}

/** Checks that a call is refused with these facts, and that the error says that nothing was applied. */
export async function assertRefused(call: Promise<unknown>, refusal: Refusal): Promise<StoreError> {
  const error = await refusalOf(call);
  const { variant, reason, message, subject } = error;
  const found = { ...subject, variant, reason, message };
  for (const [fact, expected] of Object.entries(refusal) as [keyof Refusal, string | boolean | undefined][]) {
    if (expected === undefined) continue;
    const isExpected = fact === "record" ? found.record?.includes(String(expected)) : found[fact] === expected;
    assert.ok(isExpected, `expected a refusal with ${fact} ${inspect(expected)}, found ${inspect(found)}`);
  }
  return error;
}

/** Returns the error of a call that must be refused by the store with nothing applied. */
export async function refusalOf(call: Promise<unknown>): Promise<StoreError> {
  const error = await rejectionOf(call);
  assert.ok(error instanceof StoreError, `expected a StoreError, found ${inspect(error)}`);
  assert.equal(error.applied, "no", `expected an error that says that nothing was applied, found ${inspect(error)}`);
  return error;
}

/** Returns the reason with which a promise rejects. */
export async function rejectionOf(call: Promise<unknown>): Promise<unknown> {
  const outcome = await call.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ("error" in outcome) return outcome.error;
  return assert.fail(`expected the call to reject, found the result ${inspect(outcome.value)}`);
}

/** Checks that two plain values are equal. `about` names the value when a case compares several. */
export function assertEqual(actual: unknown, expected: unknown, about?: string): void {
  const place = about === undefined ? "" : `${about}: `;
  assert.equal(actual, expected, `${place}expected ${inspect(expected)}, found ${inspect(actual)}`);
}

/** Characters that a message quotes from each document around the first difference. */
const QUOTED = 80;

/** Checks that two documents are equal byte for byte, or both absent. */
export function assertSameBytes(actual: Uint8Array | undefined, expected: Uint8Array | undefined): void {
  if (!actual || !expected) {
    const describe = (bytes?: Uint8Array): string => (bytes ? `${bytes.length} bytes` : "no document");
    assert.equal(actual, expected, `expected ${describe(expected)}, found ${describe(actual)}`);
    return;
  }
  if (Buffer.compare(actual, expected) === 0) return;
  let offset = 0;
  while (offset < actual.length && actual[offset] === expected[offset]) offset += 1;
  const quote = (bytes: Uint8Array): string =>
    inspect(Buffer.from(bytes.subarray(Math.max(0, offset - QUOTED / 2), offset + QUOTED / 2)).toString("latin1"));
  assert.fail(
    `expected ${expected.length} bytes, found ${actual.length}; at offset ${offset}, where they differ first: ` +
      `expected ${quote(expected)}, found ${quote(actual)}`,
  );
}

/** Checks that two values are deeply equal. An absent member equals an undefined one; bytes are compared by content. */
export function assertSame(actual: unknown, expected: unknown): void {
  assert.deepEqual(plain(actual), plain(expected));
}

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("latin1");
  // A list from another realm, such as a worker's, becomes one of this realm.
  if (Array.isArray(value)) return Array.from(value, plain);
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(members.map(([name, member]) => [name, plain(member)]));
}

/** Loads everything that is stored for a runtime except its receipts, in a form that `assertSame` compares. */
export async function contentsOf(store: RuntimeStore, runtimeId: string): Promise<unknown> {
  return plain({
    snapshot: await store.loadSessionSnapshot(runtimeId),
    lifecycle: await loadMachineLifecycle(store, runtimeId),
    inputs: await store.loadInputStates(runtimeId),
    ops: await store.loadOpsLifecycle(runtimeId),
  });
}

export const EMPTY_CONTENTS: unknown = { inputs: [] };

/** Starts `count` calls without waiting in between, and returns their results in the order of `n`. */
export const callConcurrently = <T>(count: number, call: (n: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, n) => call(n)));
