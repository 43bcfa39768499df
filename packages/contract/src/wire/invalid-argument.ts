import { MISSING } from "@bolthole/json";
import { shareIdentity } from "../store-error.js";

/** So many more fields are named with the first one. Each one costs more than the conversion of a row. */
const MOST_OTHERS = 15;

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
    /** The errors of other fields that were found with this one. */
    readonly others: readonly InvalidArgumentError[] = [],
  ) {
    const found = actual === undefined ? "" : `, found ${actual}`;
    super([`${field}: expected ${expected}${found}`, ...others.map(({ message }) => message)].join("; "));
  }

  /** Returns the error of the fields of both. */
  and(other: InvalidArgumentError): InvalidArgumentError {
    const { field, expected, actual, others } = other;
    const all = [...this.others, new InvalidArgumentError(field, expected, actual), ...others].slice(0, MOST_OTHERS);
    return new InvalidArgumentError(this.field, this.expected, this.actual, all);
  }

  static {
    shareIdentity(this, "InvalidArgumentError");
  }
}

/** Returns an `InvalidArgumentError` with `step` in front of its paths, and any other error unchanged. */
export const inside = (step: string, error: unknown): unknown =>
  error instanceof InvalidArgumentError ? under(step, error) : error;

function under(step: string, { field, expected, actual, others }: InvalidArgumentError): InvalidArgumentError {
  const path = field === "" || field.startsWith("[") ? step + field : `${step}.${field}`;
  return new InvalidArgumentError(
    path,
    expected,
    actual,
    others.map((other) => under(step, other)),
  );
}

/**
 * Adds the fields of an error to those that are known, with `step` in front of their paths. Throws the error of the fields when they are
 * many, and also instead of any other error; without known fields, throws that error.
 */
export function withField(known: InvalidArgumentError | undefined, error: unknown, step: string): InvalidArgumentError {
  const here = inside(step, error);
  if (!(here instanceof InvalidArgumentError)) throw known ?? here;
  const all = known?.and(here) ?? here;
  if (all.others.length >= MOST_OTHERS) throw all;
  return all;
}

/** Returns what a JSON shape expected, and what it found, from its reason. */
export const expectation = (reason: string): [expected: string, actual?: string] =>
  reason.startsWith(MISSING) ? ["a value", "none"] : [reason.replace(/^expected /, "")];
