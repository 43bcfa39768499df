import type { Limits, RuntimeId, StoreError, StoreErrorReason, StoreErrorSubject, Uuid } from "@bolthole/contract";
import { JsonError, canonicalUuid } from "@bolthole/json";

/** Which variant a bad argument gets: `writeFailed` in mutations, `readFailed` in loads (DESIGN, Errors). */
export type Fail = (reason: StoreErrorReason, text: string, subject?: StoreErrorSubject) => StoreError;

export function invalid(fail: Fail, field: string, expected: string, actual?: string): StoreError {
  return fail("INVALID_ARGUMENT", `${field}: expected ${expected}${actual === undefined ? "" : `, got ${actual}`}`, {
    record: field,
    expected,
    actual,
  });
}

export function tooLarge(fail: Fail, field: string, limit: number, actual: number, unit = "bytes"): StoreError {
  return fail("TOO_LARGE", `${field}: ${String(actual)} ${unit} are more than the limit of ${String(limit)}`, {
    record: field,
    expected: `at most ${String(limit)} ${unit}`,
    actual: `${String(actual)} ${unit}`,
  });
}

/** Verbatim UTF-8 of bounded length; nothing is normalised (section 14.14). */
export function checkRuntimeId(id: RuntimeId, limits: Limits, fail: Fail): void {
  // Only a caller inside the process can bring a text that is no Unicode; the wire refuses it earlier.
  if (!id.isWellFormed()) throw invalid(fail, "runtime_id", "well-formed Unicode", "a lone surrogate");
  if (id.length * 3 <= limits.runtimeIdBytes) return;
  const bytes = Buffer.byteLength(id, "utf8");
  if (bytes > limits.runtimeIdBytes) throw tooLarge(fail, "runtime_id", limits.runtimeIdBytes, bytes);
}

/** The lower-case hyphenated form of any spelling that the reference accepts. */
export function parseUuid(text: string, field: string, fail: Fail): Uuid {
  const uuid = canonicalUuid(text);
  if (uuid === undefined) throw invalid(fail, field, "a UUID", text.length > 64 ? `${text.slice(0, 64)}...` : text);
  return uuid;
}

export function checkSize(size: number, limit: number, field: string, fail: Fail, unit = "bytes"): void {
  if (size > limit) throw tooLarge(fail, field, limit, size, unit);
}

/** Runs a JSON shape over a caller's value; what the shape refuses is the caller's mistake, named by field. */
export function shaped<T>(field: string, fail: Fail, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    const path = error.path.replace(/\bpersisted_input\b/, "persisted_input_json");
    const record = path === "" ? field : `${field}.${path}`;
    throw fail("INVALID_ARGUMENT", `${record}: ${error.reason}`, {
      record,
      expected: error.reason.replace(/^expected /, ""),
      cause: error,
    });
  }
}
