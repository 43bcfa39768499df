import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { JsonError } from "@bolthole/json";
import type { Difference } from "./replay-report.js";

/** One case of a family of golden vectors (vectors/README.md). */
export interface Vector {
  readonly name: string;
  readonly input?: unknown;
  readonly input_base64?: string;
  readonly kind?: string;
  readonly op?: string;
  /** A spelling that no writer produces: the reference's answer and a refusal both count (section 14.19). */
  readonly quirk?: boolean;
  /** The case lies in a member that may be carried unchanged (section 14.21). */
  readonly opaque?: string;
  readonly expect: {
    readonly ok?: Readonly<Record<string, string>>;
    /** The reference never answers. */
    readonly hangs?: true;
    readonly err?:
      | string
      | { readonly variant?: string; readonly text: string; readonly expected?: string; readonly actual?: string };
  };
  /** Of an input row: whether a store may take it (section 5.5). */
  readonly authorize?: { readonly ok?: true; readonly err?: string };
  /** Of the session families. */
  readonly guard?: "append" | "boundary" | "rewrite";
  readonly incoming?: string;
  readonly previous?: string | null;
  readonly commit?: string | null;
  readonly clock?: boolean;
}

export function inputOf(vector: Vector): Buffer {
  const { input, input_base64: base64 } = vector;
  if (base64 !== undefined) return Buffer.from(base64, "base64");
  assert.ok(typeof input === "string", "a case without an input text");
  return Buffer.from(input);
}

export const expectedError = ({ expect: { err } }: Vector): string | undefined =>
  typeof err === "object" ? err.text : err;

/** What a reader made of an input. */
export type Reading<T> = { readonly value: T } | { readonly refusal: string };

/** Reads the input; a refusal of the JSON reader is a verdict too. */
export function reading<T>(vector: Vector, read: (source: Buffer) => T): Reading<T> {
  try {
    return { value: read(inputOf(vector)) };
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return { refusal: error.message };
  }
}

/** Whether the verdict, and for a value its written form, are the expected ones; undefined: they are. */
export function judge<T>(
  vector: Vector,
  member: string,
  verdict: Reading<T>,
  write: (value: T) => string,
): Difference | undefined {
  const isLenient = vector.quirk === true || vector.opaque !== undefined;
  const expected = vector.expect.ok?.[member];
  if ("refusal" in verdict) {
    const isExpected = expected === undefined ? sameRule(vector, verdict.refusal) : isLenient;
    return isExpected ? undefined : { op: "read", expected: expected ?? expectedError(vector), got: verdict };
  }
  if (expected === undefined) {
    return isLenient ? undefined : { op: "read", expected: expectedError(vector), got: write(verdict.value) };
  }
  const got = write(verdict.value);
  return got === expected || vector.opaque !== undefined ? undefined : { op: "write", expected, got };
}

/** A list in the place of an object, which is refused before any rule is looked at (section 14.19). */
export const isPositional = ({ quirk, input }: Vector): boolean =>
  quirk === true || (typeof input === "string" && input.startsWith("["));

const RULES = /rejected (?:StoredInputState|SessionEnvelope)|unsupported machine lifecycle/;

/** The texts of rules are fixed, those of the reader are our own (section 14.18). */
function sameRule(vector: Vector, refusal: string): boolean {
  const expected = (expectedError(vector) ?? "").replace("Store read failed: ", "");
  return !RULES.test(expected) || isPositional(vector) || expected === refusal;
}
