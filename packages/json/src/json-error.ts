/** A text that is not the JSON it has to be, or a value that cannot be written as such. */
export class JsonError extends Error {
  override readonly name = "JsonError";

  constructor(
    message: string,
    /** What is wrong, without the place. */
    readonly reason: string,
    /** The member it is about, such as `history[2].timestamp`; empty for the whole document. */
    readonly path: string,
    /** The byte at which reading stopped; absent when a value was being written. */
    readonly offset: number | undefined,
    /** A rule of the contract whose text is fixed, so that the message carries no place. */
    readonly isRule: boolean,
  ) {
    super(message);
  }

  static at(reason: string, offset?: number, path = ""): JsonError {
    const subject = path === "" ? reason : `${path}: ${reason}`;
    return new JsonError(offset === undefined ? subject : `${subject} (byte ${offset})`, reason, path, offset, false);
  }

  static rule(text: string): JsonError {
    return new JsonError(text, text, "", undefined, true);
  }

  /** The same fault, seen from one level further out. */
  inside(step: string | number): JsonError {
    if (this.isRule) return this;
    const head = typeof step === "number" ? `[${step}]` : step;
    const glue = this.path === "" || this.path.startsWith("[") ? "" : ".";
    return JsonError.at(this.reason, this.offset, head + glue + this.path);
  }
}

/** For the catch of a container: names the member that was being read or written. */
export function inside(error: unknown, step: string | number): unknown {
  return error instanceof JsonError ? error.inside(step) : error;
}
