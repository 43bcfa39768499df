/** A message that no model value corresponds to. The border that meets it decides on the error variant. */
export class InvalidArgumentError extends Error {
  override readonly name = "InvalidArgument";

  constructor(
    /** Of the request, such as `input_updates[3].current_state`. */
    readonly field: string,
    readonly expected: string,
    readonly actual?: string,
  ) {
    super(`${field}: expected ${expected}${actual === undefined ? "" : `, got ${actual}`}`);
  }
}

/** A message field that must be there. */
export function requireField<T>(value: T | undefined, field: string): T {
  if (value === undefined) throw new InvalidArgumentError(field, "a value", "none");
  return value;
}
