/// <reference types="jest" />
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** One line of a file of golden vectors. */
export interface VectorCase {
  readonly name: string;
  readonly input?: unknown;
  readonly input_base64?: string;
  readonly kind?: string;
  readonly op?: string;
  readonly quirk?: boolean;
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

/** A test over all cases of one file, which reports the names of those that fail; skipped without the file. */
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

export function bytesOf(vector: VectorCase): Uint8Array {
  return vector.input_base64 === undefined
    ? Buffer.from(String(vector.input))
    : Buffer.from(vector.input_base64, "base64");
}

/** Compares what `run` gives or throws with the expectation; `field` names the expected text. */
export function verdict(vector: VectorCase, field: string, run: () => string): string | undefined {
  let got: string;
  try {
    got = run();
  } catch (error) {
    if (!(error instanceof Error) || error.name !== "JsonError") return `threw ${String(error)}`;
    if (vector.expect.err === undefined) return isLenient(vector) ? undefined : `refused: ${error.message}`;
    return isPositional(vector) ? undefined : ruleProblem(textOf(vector.expect.err), error.message);
  }
  if (vector.expect.ok === undefined) return isLenient(vector) ? undefined : `accepted as ${got}`;
  if (got === vector.expect.ok[field] || vector.opaque !== undefined) return undefined;
  return `got ${got} instead of ${vector.expect.ok[field]}`;
}

function isLenient(vector: VectorCase): boolean {
  return vector.quirk === true || vector.opaque !== undefined;
}

/** A list in the place of an object may be refused before any rule is looked at (section 14.19). */
function isPositional(vector: VectorCase): boolean {
  return typeof vector.input === "string" && vector.input.startsWith("[");
}

function textOf(err: string | { readonly text: string }): string {
  return (typeof err === "string" ? err : err.text).replace("Store read failed: ", "");
}

/** The texts of rules are fixed; those of the JSON reader are our own. */
function ruleProblem(expected: string, actual: string): string | undefined {
  const isRule = /rejected StoredInputState|unsupported machine lifecycle|overflow deserializing/.test(expected);
  const text = expected.replace(/ at line \d+ column \d+$/, "");
  return isRule && actual !== text ? `says ${actual} instead of ${text}` : undefined;
}
