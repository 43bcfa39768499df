import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { isDeepStrictEqual } from "node:util";
import {
  type MachineLifecycle,
  type RuntimeState,
  STORE_ERROR_VARIANTS,
  type StoredInputState,
} from "@bolthole/contract";
import { readInputState } from "@bolthole/json";
import type { RawRow } from "../store-factory.js";

// A recorded trace: calls on the reference's stores, one after another from an empty store, with their results. A file of
// traces has one JSON object in each line.

/** Loaded bytes: as text, or as base64 when they are not UTF-8. */
export type LoadedText = { readonly text: string } | { readonly base64: string };

export interface TraceError {
  readonly variant: string;
  readonly text: string;
  readonly expected?: string;
  readonly actual?: string;
}

/** The result of a call. */
export interface TraceResult {
  readonly ok?: null | boolean | string | LoadedText | readonly string[] | { readonly present: boolean };
  readonly err?: TraceError;
  /** The number of times that the closure of an OAuth update ran. */
  readonly calls?: number;
  /** The bytes that the closure of an OAuth update received. */
  readonly seen?: LoadedText | null;
}

/**
 * The arguments of a call by name. JSON documents are exact texts, numbers are decimal texts, and bytes that are not UTF-8
 * have the name `<name>_base64`.
 */
export type TraceArgs = Readonly<Record<string, unknown>>;

export interface TraceStep {
  readonly op: string;
  /** The runtime of the call. Absent for a call on the store as a whole. */
  readonly runtime_id?: string;
  readonly args: TraceArgs;
  /** True when the reference's store was opened again on the same data before this step. */
  readonly reopen?: boolean;
  /** The result of the reference's SQLite store: the expected one. */
  readonly sqlite: TraceResult;
  /** The result of the reference's memory store, where it differs. */
  readonly memory?: TraceResult;
}

export interface Trace {
  readonly name: string;
  readonly steps: readonly TraceStep[];
}

export const isTrace = (line: unknown): line is Trace =>
  typeof line === "object" && line !== null && "steps" in line && Array.isArray(line.steps);

/** Parses a file with one JSON object in each line. */
export const parseLines = (text: string): unknown[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown);

export const hasArgument = (args: TraceArgs, name: string): boolean => name in args || `${name}_base64` in args;

/** Returns the bytes of an argument that is a text or base64. */
export function bytesOf(args: TraceArgs, name: string): Buffer {
  const base64 = args[`${name}_base64`];
  return typeof base64 === "string" ? Buffer.from(base64, "base64") : Buffer.from(textOf(args, name));
}

export function textOf(args: TraceArgs, name: string): string {
  const text = args[name];
  assert.ok(typeof text === "string", `expected a step with the text argument ${name}, found ${JSON.stringify(args)}`);
  return text;
}

/** Returns the input rows of a step. */
export function rowsOf(args: TraceArgs): StoredInputState[] {
  const { inputs } = args;
  assert.ok(Array.isArray(inputs), `expected a step with the list argument inputs, found ${JSON.stringify(args)}`);
  return inputs.map((text) => readInputState(String(text)));
}

/** Returns a lifecycle record of a state and the facts of its binding, whose numbers are decimal texts. */
export function lifecycleOf(facts: Readonly<Record<string, unknown>>, state: unknown): MachineLifecycle {
  const text = (name: string): string | undefined => {
    const value = facts[name];
    return typeof value === "string" ? value : undefined;
  };
  const number = (name: string): bigint | undefined => {
    const digits = text(name);
    return digits === undefined ? undefined : BigInt(digits);
  };
  return {
    runtimeState: state as RuntimeState,
    binding: {
      agentRuntimeId: text("agent_runtime_id"),
      fenceToken: number("fence_token"),
      runtimeGeneration: number("runtime_generation"),
      runtimeEpochId: text("runtime_epoch_id"),
    },
  };
}

/** Returns the external row of a `put_raw_row`. Its key columns are all arguments except the table and the value. */
export function rawRowOf({ args, runtime_id }: TraceStep): RawRow {
  const key: Record<string, string | bigint> = runtime_id === undefined ? {} : { runtime_id };
  for (const name of Object.keys(args)) {
    if (name === "table" || name.startsWith("value")) continue;
    key[name] = name === "sequence" ? BigInt(textOf(args, name)) : textOf(args, name);
  }
  return { table: textOf(args, "table"), key, value: bytesOf(args, "value") };
}

/** Returns loaded bytes in the form of a trace. */
export function loadedText(bytes: Uint8Array | undefined): LoadedText | null {
  if (!bytes) return null;
  const buffer = Buffer.from(bytes);
  const text = buffer.toString("utf8");
  return Buffer.from(text).equals(buffer) ? { text } : { base64: buffer.toString("base64") };
}

/** Whether a result is the expected one. Error texts are compared by `isSameText`. */
export function isSameResult(expected: TraceResult, found: TraceResult): boolean {
  if (!isDeepStrictEqual([expected.calls, expected.seen], [found.calls, found.seen])) return false;
  if (expected.err) return found.err !== undefined && isSameError(expected.err, found.err);
  return found.err === undefined && isDeepStrictEqual(expected.ok, found.ok);
}

function isSameError(expected: TraceError, found: TraceError): boolean {
  // The reference cannot build the argument of such a call. A store refuses the call (contract 5.4).
  if (expected.variant === "RecordRejected") {
    return found.variant === "WriteFailed" && found.text === STORE_ERROR_VARIANTS.WriteFailed + expected.text;
  }
  if (expected.variant !== found.variant) return false;
  for (const fact of ["expected", "actual"] as const) {
    if (expected[fact] !== undefined && expected[fact] !== found[fact]) return false;
  }
  return isSameText(expected.text, found.text);
}

/** The end of an error text of the reference's JSON reader. */
const JSON_READER_POSITION = / at line \d+ column \d+$/;
/** The beginnings of error texts without a position: those of the reference's JSON reader and of SQLite. */
const LIBRARY_TEXT =
  /^(?:invalid (?:type|value|length|number|escape|unicode)|missing field|unknown (?:variant|field)|duplicate field|expected |EOF while|trailing |key must be|number out of range|recursion limit|control character|lone |unexpected end|data did not match|UUID parsing failed|input contains|premature end|overflow deserializing|UNIQUE constraint)/;

/**
 * Whether an error text is the expected one. The texts of rules must be equal. When a text ends with a message of the
 * reference's JSON reader or of SQLite, only the part before that message must be equal (contract 11.3). A revision that
 * varies from run to run is not compared.
 */
export function isSameText(expected: string, found: string): boolean {
  const fixed = fixedPart(expected);
  if (fixed !== undefined) return found.startsWith(fixed);
  const [before, after] = expected.split("sha256:<varies>");
  if (after !== undefined) return found.startsWith(before ?? "") && found.endsWith(after);
  return found === expected;
}

/** Returns the part of a text before the message of a library; undefined when the text has no such message. */
function fixedPart(text: string): string | undefined {
  const starts = [...text.matchAll(/(?:^Store (?:write|read) failed: |malformed: )/g)];
  const last = starts.at(-1);
  if (last === undefined) return undefined;
  const fixed = text.slice(0, last.index + last[0].length);
  const tail = text.slice(fixed.length);
  return JSON_READER_POSITION.test(tail) || LIBRARY_TEXT.test(tail) ? fixed : undefined;
}
