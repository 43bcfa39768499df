/** A text is not the JSON that is required, or a value cannot be written as that JSON. */
export class JsonError extends Error {
  override readonly name = "JsonError";

  constructor(
    /** The path, the reason and the byte; for a rule of the contract only its text. */
    message: string,
    /** The problem without its place. */
    readonly reason: string,
    /** The member with the problem, such as `history[2].timestamp`. Empty for the whole document. */
    readonly path: string,
    /** The byte at which reading stopped. Undefined when a value was being written. */
    readonly offset: number | undefined,
    /** Whether the reason is the fixed text of a contract rule. Then the message has no path and no byte. */
    readonly isRule: boolean,
  ) {
    super(message);
  }

  /** Creates an error at a place. Omit `offset` when a value is being written. */
  static at(reason: string, offset?: number, path = ""): JsonError {
    const text = path === "" ? reason : `${path}: ${reason}`;
    return new JsonError(offset === undefined ? text : `${text} (byte ${offset})`, reason, path, offset, false);
  }

  /** Creates an error with a text that the contract fixes. */
  static rule(text: string): JsonError {
    return new JsonError(text, text, "", undefined, true);
  }

  /** Returns the same error with the name of the enclosing member, or the index in the enclosing list, in its path. */
  inside(step: string | number): JsonError {
    if (this.isRule) return this;
    const head = typeof step === "number" ? `[${step}]` : step;
    const glue = this.path === "" || this.path.startsWith("[") ? "" : ".";
    return JsonError.at(this.reason, this.offset, head + glue + this.path);
  }
}

/** Adds a step to the path of a `JsonError`; returns any other error unchanged. Call it in the catch block of a container. */
export function inside(error: unknown, step: string | number): unknown {
  return error instanceof JsonError ? error.inside(step) : error;
}
