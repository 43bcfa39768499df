import { shareIdentity } from "../store-error.js";

/** The error of a message without a corresponding model value, or of a model value without a form on the wire. */
export class InvalidArgumentError extends Error {
  override readonly name = "InvalidArgumentError";

  constructor(
    /** The path of the field in the request or response, such as `input_updates[3].current_state`. */
    readonly field: string,
    /** The values that the field allows. */
    readonly expected: string,
    /** The value that was found, where it can be shown. */
    readonly actual?: string,
  ) {
    super(`${field}: expected ${expected}${actual === undefined ? "" : `, found ${actual}`}`);
  }

  static {
    shareIdentity(this, "InvalidArgumentError");
  }
}

/** Returns an `InvalidArgumentError` with `step` in front of its path, and any other error unchanged. */
export function inside(step: string, error: unknown): unknown {
  if (!(error instanceof InvalidArgumentError)) return error;
  const { field, expected, actual } = error;
  const path = field === "" || field.startsWith("[") ? step + field : `${step}.${field}`;
  return new InvalidArgumentError(path, expected, actual);
}
