/** A problem of a document or of a value. */
export interface Problem {
  /** The member with the problem, such as `history[2].timestamp`. Empty for the whole document. */
  readonly path: string;
  readonly reason: string;
}

/** The reason of a member that a value must have. */
export const MISSING = "the member is missing";

/** So many problems are named together. Each one costs more than reading a row. */
const MOST_PROBLEMS = 16;

/** A text is not the JSON that is required, or a value cannot be written as that JSON. */
export class JsonError extends Error {
  override readonly name = "JsonError";

  constructor(
    /** The path, the reason and the byte; for a rule of the contract only its text. */
    message: string,
    /** The text of all problems, without the path of the first one. */
    readonly reason: string,
    /** The member with the first problem. Empty for the whole document. */
    readonly path: string,
    /** The byte at which reading stopped. Undefined when a value was being written. */
    readonly offset: number | undefined,
    /** Whether the reason is the fixed text of a contract rule. Then the message has no path and no byte. */
    readonly isRule: boolean,
    /** The problems that were found; none for a rule. */
    readonly problems: readonly Problem[] = [],
    /** Whether the value was read to its end, so that reading can go on after it. */
    readonly isReadToEnd = false,
  ) {
    super(message);
  }

  /** Creates an error at a place. Omit `offset` when a value is being written. */
  static at(reason: string, offset?: number, path = ""): JsonError {
    return of([{ path, reason }], offset, false);
  }

  /** Creates the error of a value that was read to its end and lacks a member. */
  static missing(name: string, offset: number): JsonError {
    return of([{ path: name, reason: MISSING }], offset, true);
  }

  /** Creates an error with a text that the contract fixes. */
  static rule(text: string): JsonError {
    return new JsonError(text, text, "", undefined, true);
  }

  /** Returns the same error with the name of the enclosing member, or the index in the enclosing list, in its paths. */
  inside(step: string | number): JsonError {
    if (this.isRule) return this;
    const problems = this.problems.map(({ path, reason }) => ({ path: pathInside(step, path), reason }));
    return of(problems, this.offset, this.isReadToEnd);
  }

  /** Returns the same error for a value that was not read to its end. */
  stopped(): JsonError {
    return of(this.problems, this.offset, false);
  }

  /** Returns the error of the problems of both. */
  and(other: JsonError): JsonError {
    const problems = [...this.problems, ...other.problems].slice(0, MOST_PROBLEMS);
    const isReadToEnd = this.isReadToEnd && other.isReadToEnd && problems.length < MOST_PROBLEMS;
    return of(problems, this.offset, isReadToEnd);
  }
}

function of(problems: readonly Problem[], offset: number | undefined, isReadToEnd: boolean): JsonError {
  const [{ path, reason } = { path: "", reason: "" }, ...others] = problems;
  const isAlsoMissing = (other: Problem): boolean => reason === MISSING && other.reason === MISSING;
  const missing = listed(others.filter(isAlsoMissing).map((other) => other.path));
  const rest = others.filter((other) => !isAlsoMissing(other)).map((other) => `; ${other.path}: ${other.reason}`);
  const more = problems.length >= MOST_PROBLEMS ? "; there may be more problems" : "";
  const all = [reason, missing, ...rest, more].join("");
  const text = path === "" ? all : `${path}: ${all}`;
  const message = offset === undefined ? text : `${text} (byte ${offset})`;
  return new JsonError(message, all, path, offset, false, problems, isReadToEnd);
}

function listed(paths: readonly string[]): string {
  const last = paths.at(-1);
  if (last === undefined) return "";
  return paths.length === 1 ? `, and so is ${last}` : `, and so are ${paths.slice(0, -1).join(", ")} and ${last}`;
}

function pathInside(step: string | number, path: string): string {
  const head = typeof step === "number" ? `[${step}]` : step;
  return head + (path === "" || path.startsWith("[") ? "" : ".") + path;
}

/** Adds a step to the path of a `JsonError`; returns any other error unchanged. Call it in the catch block of a container. */
export function inside(error: unknown, step: string | number): unknown {
  return error instanceof JsonError ? error.inside(step) : error;
}

/**
 * Adds the missing members of a value that was read to the problems that are known of its container, which goes on to read what follows.
 * Throws any other error, or that of the known problems: what is read after them may have no meaning. Throws them, too, when they are
 * many. Omit `step` for a value that has the members of the container itself.
 */
export function withMissing(known: JsonError | undefined, error: unknown, step?: string | number): JsonError {
  const here = step === undefined ? error : inside(error, step);
  if (!(here instanceof JsonError)) throw here;
  const all = here.problems[0]?.reason === MISSING ? (known?.and(here) ?? here) : (known?.stopped() ?? here);
  if (!all.isReadToEnd) throw all;
  return all;
}

/**
 * Adds the problems of a value that was written to those that are known of its container. Throws the problems when they are many, and also
 * instead of any other error; without known problems, throws that error.
 */
export function withProblems(known: JsonError | undefined, error: unknown, step?: string | number): JsonError {
  const here = step === undefined ? error : inside(error, step);
  if (!(here instanceof JsonError) || here.isRule) throw known ?? here;
  const all = known?.and(here) ?? here;
  if (all.problems.length >= MOST_PROBLEMS) throw all;
  return all;
}
