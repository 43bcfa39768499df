import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { RuntimeStore } from "@bolthole/contract";
import { JsonError } from "@bolthole/json";
import type { Capability } from "../store-factory.js";
import type { Difference } from "./report.js";

/**
 * A recorded vector: one input with the result of the reference's reader or guard. A file of vectors has one JSON object in
 * each line, and all lines are of one family, which has the name of the file.
 */
export interface Vector {
  readonly name: string;
  /** The exact text that was read; in some families a value of another type. */
  readonly input?: unknown;
  /** The input when it is not UTF-8. */
  readonly input_base64?: string;
  /** The kind of a scalar. */
  readonly kind?: string;
  /** Whether a lifecycle record was encoded or decoded. */
  readonly op?: string;
  /** True for a spelling that no writer produces: the reference's result and a refusal are both right (contract 9.10). */
  readonly quirk?: boolean;
  /** The member that the case is about, when a store may carry it unchanged (contract 5.3). */
  readonly opaque?: string;
  readonly expect: {
    readonly ok?: Readonly<Record<string, string>>;
    /** True when the reference never returns. */
    readonly hangs?: true;
    readonly err?:
      | string
      | { readonly variant?: string; readonly text: string; readonly expected?: string; readonly actual?: string };
  };
  /** Whether a store may accept an input row (contract 5.4). */
  readonly authorize?: { readonly ok?: true; readonly err?: string };
  /** The guard that was called, and its documents. */
  readonly guard?: "append" | "boundary" | "rewrite";
  readonly incoming?: string;
  readonly previous?: string | null;
  readonly commit?: string | null;
  /** True when a message without a time makes the recorded result depend on the clock. */
  readonly clock?: boolean;
}

/** The differences of one vector (none: it passes), or why it cannot be played. */
export type Verdict = readonly Difference[] | { readonly skip: string };

/** The way in which the vectors of one file are played. */
export interface Family {
  readonly needs: readonly Capability[];
  /** Plays a vector, first through the JSON readers and writers, then through a store. The runtime is empty. */
  play(vector: Vector, store: RuntimeStore, runtimeId: string): Promise<Verdict>;
}

/** Returns the differences without the absent ones. */
export const differences = (...results: readonly (Difference | undefined)[]): Difference[] =>
  results.filter((one) => one !== undefined);

/** Compares two values; returns undefined when they are equal. */
export const compared = (op: string, expected: unknown, found: unknown): Difference | undefined =>
  expected === found ? undefined : { op, expected, found };

/** Returns the bytes of the input. */
export function inputOf(vector: Vector): Buffer {
  const { input, input_base64: base64 } = vector;
  if (base64 !== undefined) return Buffer.from(base64, "base64");
  assert.ok(typeof input === "string", `expected a vector with an input text, found ${JSON.stringify(vector)}`);
  return Buffer.from(input);
}

const expectedError = ({ expect: { err } }: Vector): string | undefined => (typeof err === "object" ? err.text : err);

/** The result of a reader: a value, or the text of its refusal. */
export type Reading<T> = { readonly value: T } | { readonly refusal: string };

/** Reads the input. An error of the JSON reader is a refusal; any other error is thrown. */
export function reading<T>(vector: Vector, read: (source: Buffer) => T): Reading<T> {
  try {
    return { value: read(inputOf(vector)) };
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return { refusal: error.message };
  }
}

/**
 * Compares a reading with the expected one; returns undefined when they are equal. A value is compared in its written form
 * with this member of the expected result.
 */
export function judge<T>(
  vector: Vector,
  member: string,
  found: Reading<T>,
  write: (value: T) => string,
): Difference | undefined {
  const isLenient = vector.quirk === true || vector.opaque !== undefined;
  const expected = vector.expect.ok?.[member];
  if ("refusal" in found) {
    const isExpected = expected === undefined ? isSameRule(vector, found.refusal) : isLenient;
    return isExpected ? undefined : { op: "read", expected: expected ?? expectedError(vector), found };
  }
  if (expected === undefined) {
    return isLenient ? undefined : { op: "read", expected: expectedError(vector), found: write(found.value) };
  }
  const text = write(found.value);
  return text === expected || vector.opaque !== undefined ? undefined : { op: "write", expected, found: text };
}

/** Whether the input is a list in the place of an object, which is refused before any rule is checked (contract 9.10). */
export const isPositional = ({ quirk, input }: Vector): boolean =>
  quirk === true || (typeof input === "string" && input.startsWith("["));

const RULES = /rejected (?:StoredInputState|SessionEnvelope)|unsupported machine lifecycle/;

/** Whether a refusal has the expected text, where the text is that of a rule. Texts of a reader may differ (contract 11.3). */
function isSameRule(vector: Vector, refusal: string): boolean {
  const expected = (expectedError(vector) ?? "").replace("Store read failed: ", "");
  return !RULES.test(expected) || isPositional(vector) || expected === refusal;
}
