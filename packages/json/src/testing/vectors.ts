import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** One line of a file of golden vectors: an input, and the result of the reference. */
export interface VectorCase {
  readonly name: string;
  readonly input?: unknown;
  readonly input_base64?: string;
  readonly kind?: string;
  readonly op?: string;
  /** A spelling that no writer produces. Accepting and rejecting it are both right (contract 9.10). */
  readonly quirk?: boolean;
  /** The member of the case may be carried unchanged (contract 5.3). */
  readonly opaque?: string;
  readonly bits?: string;
  readonly expect: { readonly ok?: Record<string, string>; readonly err?: string | { readonly text: string } };
}

function vectorsFolder(): string | undefined {
  for (let folder = __dirname; folder !== dirname(folder); folder = dirname(folder)) {
    if (!existsSync(join(folder, "pnpm-workspace.yaml"))) continue;
    const vectors = join(folder, "..", "shared", "vectors");
    return existsSync(vectors) ? vectors : undefined;
  }
  return undefined;
}

/**
 * Defines one test over all cases of a file. It fails with the names of the cases for which `problemOf` returns a problem.
 * The test is skipped when the vectors are not installed.
 */
export function testVectors(file: string, title: string, problemOf: (vector: VectorCase) => string | undefined): void {
  const folder = vectorsFolder();
  if (folder === undefined) {
    test.skip(`${title} (skipped: no golden vectors beside the project)`, () => undefined);
    return;
  }
  test(`${title} (${file})`, () => {
    const problems: string[] = [];
    for (const line of readFileSync(join(folder, file), "utf8").split("\n")) {
      if (line === "") continue;
      const vector = JSON.parse(line) as VectorCase;
      const problem = problemOf(vector);
      if (problem !== undefined) problems.push(`${vector.name}: ${problem}`);
    }
    expect(problems).toEqual([]);
  });
}

/** Returns the input of a case as bytes, which need not be valid UTF-8. */
export function bytesOf(vector: VectorCase): Uint8Array {
  return vector.input_base64 === undefined
    ? Buffer.from(String(vector.input))
    : Buffer.from(vector.input_base64, "base64");
}

/** Compares the result or the error of `run` with the reference's. `field` is the name of the expected text. */
export function mismatch(vector: VectorCase, field: string, run: () => string): string | undefined {
  let actual: string;
  try {
    actual = run();
  } catch (error) {
    if (!(error instanceof Error) || error.name !== "JsonError") return `threw ${String(error)}`;
    if (vector.expect.err === undefined) return isLenient(vector) ? undefined : `rejected: ${error.message}`;
    return isPositional(vector) ? undefined : ruleMismatch(textOf(vector.expect.err), error.message);
  }
  if (vector.expect.ok === undefined) return isLenient(vector) ? undefined : `accepted as ${actual}`;
  if (actual === vector.expect.ok[field] || vector.opaque !== undefined) return undefined;
  return `expected ${vector.expect.ok[field]}, found ${actual}`;
}

/** Returns the result of `pass`, extended by the result of a second pass over it when that is different. */
export function stableResult(first: string, pass: (text: string) => string): string {
  const second = pass(first);
  return second === first ? first : `${first}, and after a second pass ${second}`;
}

function isLenient(vector: VectorCase): boolean {
  return vector.quirk === true || vector.opaque !== undefined;
}

/** Whether the input is a list in place of an object. It may be rejected before any rule is checked (contract 9.10). */
function isPositional(vector: VectorCase): boolean {
  return typeof vector.input === "string" && vector.input.startsWith("[");
}

function textOf(err: string | { readonly text: string }): string {
  return (typeof err === "string" ? err : err.text).replace("Store read failed: ", "");
}

/** Compares error texts: those of rules must be equal, those of the JSON reader are not part of the contract. */
function ruleMismatch(expected: string, actual: string): string | undefined {
  const isRule = /rejected StoredInputState|unsupported machine lifecycle|overflow deserializing/.test(expected);
  const text = expected.replace(/ at line \d+ column \d+$/, "");
  return isRule && actual !== text ? `expected the error ${text}, found ${actual}` : undefined;
}
