import type { Fail, Limits, RuntimeId, StoreError, Uuid } from "@bolthole/contract";
import { shapeRefusal, writeFailed } from "@bolthole/contract";
import { JsonError, canonicalUuid, shown } from "@bolthole/json";

export { shaped } from "@bolthole/contract";

export function invalid(fail: Fail, field: string, expected: string, actual?: string): StoreError {
  return fail("INVALID_ARGUMENT", `${field}: expected ${expected}${actual === undefined ? "" : `, found ${actual}`}`, {
    record: field,
    expected,
    actual,
  });
}

/** `remedy` says what the caller or the operator can do. */
export function tooLarge(
  fail: Fail,
  field: string,
  limit: number,
  actual: number,
  unit = "bytes",
  remedy?: string,
): StoreError {
  const text = `${field}: ${String(actual)} ${unit} are more than the limit of ${String(limit)}`;
  return fail("TOO_LARGE", remedy === undefined ? text : `${text}; ${remedy}`, {
    record: field,
    expected: `at most ${String(limit)} ${unit}`,
    actual: `${String(actual)} ${unit}`,
  });
}

export function checkSize(
  size: number,
  limit: number,
  field: string,
  fail: Fail,
  unit = "bytes",
  remedy?: string,
): void {
  if (size > limit) throw tooLarge(fail, field, limit, size, unit, remedy);
}

/** The longest runtime id that the stored form of a row can hold, in bytes. */
export const MAX_RUNTIME_ID_BYTES = 32 * 1024;

/** Returns a valid runtime id as it is: UTF-8 of bounded length, without any normalisation (contract 1.2). */
export const checkRuntimeId = (id: RuntimeId, limits: Limits): RuntimeId =>
  checkIdWithin(id, limits.runtimeIdBytes, writeFailed);

/**
 * Returns the id of a runtime that may be stored already, for a call that writes nothing new: a load, a clear, a deletion or an
 * export. The configured limit may have been lowered since, and must not lock the runtime in.
 */
export const checkStoredRuntimeId = (id: RuntimeId, fail: Fail): RuntimeId =>
  checkIdWithin(id, MAX_RUNTIME_ID_BYTES, fail);

function checkIdWithin(id: RuntimeId, limit: number, fail: Fail): RuntimeId {
  // Only a caller inside this process can pass ill-formed Unicode. The wire refuses it earlier.
  if (!id.isWellFormed()) throw invalid(fail, "runtime_id", "well-formed Unicode", "a lone surrogate");
  if (id.length * 3 > limit) checkSize(Buffer.byteLength(id, "utf8"), limit, "runtime_id", fail);
  return id;
}

/** Returns the lower-case hyphenated form of a UUID, from any form that the reference accepts. */
export function parseUuid(text: string, field: string, fail: Fail): Uuid {
  const uuid = canonicalUuid(text);
  if (uuid === undefined) throw invalid(fail, field, "a UUID", shown(text));
  return uuid;
}

/** Returns the INVALID_ARGUMENT for a `JsonError` of a value of the caller, and any other error unchanged. */
export const shapeError = (field: string, fail: Fail, error: unknown): unknown =>
  error instanceof JsonError ? shapeRefusal(field, fail, error) : error;
