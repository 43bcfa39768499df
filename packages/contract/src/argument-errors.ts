import { JsonError } from "@bolthole/json";
import type { StoreErrorReason } from "./error-reasons.js";
import type { StoreError, StoreErrorSubject } from "./store-error.js";
import { InvalidArgumentError, expectation, inside } from "./wire/invalid-argument.js";

/** Makes the error of an invalid argument: `writeFailed` for mutations, `readFailed` for loads. */
export type Fail = (reason: StoreErrorReason, text: string, subject?: StoreErrorSubject) => StoreError;

/** Runs a JSON shape over a value of the caller. What the shape refuses becomes an INVALID_ARGUMENT that names the field. */
export function shaped<T>(field: string, fail: Fail, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw shapeRefusal(field, fail, error);
  }
}

/** Returns the INVALID_ARGUMENT for a value that a JSON shape has refused with this path, reason and byte. */
export function shapeRefusal(
  field: string,
  fail: Fail,
  error: { readonly path: string; readonly reason: string; readonly offset: number | undefined },
): StoreError {
  const placed = error instanceof JsonError ? error : JsonError.at(error.reason, error.offset, error.path);
  const { path, reason, offset, problems } = placed.inside(field);
  const record = asFields(path);
  const place = offset === undefined ? "" : ` (byte ${String(offset)})`;
  const [expected, actual] = expectation(problems[0]?.reason ?? reason);
  return fail("INVALID_ARGUMENT", `${record}: ${asFields(reason)}${place}`, { record, expected, actual, cause: error });
}

/** Returns a text with the names of the message's fields in place of the JSON's members. */
const asFields = (text: string): string => text.replace(/\bpersisted_input\b/g, "persisted_input_json");

/** Runs a conversion of a caller's argument. What has no form on the wire becomes an INVALID_ARGUMENT that names the field. */
export function converted<T>(field: string, fail: Fail, convert: () => T): T {
  try {
    return convert();
  } catch (error) {
    const named = field === "" ? error : inside(field, error);
    throw named instanceof InvalidArgumentError ? refusalOfArgument(named, fail) : named;
  }
}

/** Returns the INVALID_ARGUMENT for a value that has no form on the wire. */
export const refusalOfArgument = (error: InvalidArgumentError, fail: Fail): StoreError => {
  const { field, expected, actual } = error;
  return fail("INVALID_ARGUMENT", error.message, { record: field, expected, actual, cause: error });
};
