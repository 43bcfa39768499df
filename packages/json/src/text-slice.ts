import type { Buffer } from "node:buffer";

import { STRING } from "./scalar.js";
import type { Shape } from "./shape.js";

/** A string in its written form, as a place in a text that must stay as it is while the slice is in use. */
export class StringSlice {
  constructor(
    readonly bytes: Buffer,
    /** With the quotes. */
    readonly start: number,
    readonly end: number,
  ) {}

  toString(): string {
    return JSON.parse(this.bytes.toString("utf8", this.start, this.end)) as string;
  }
}

/** Any text, which is not decoded where it is only read to be written again. */
export const STRING_SLICE: Shape<string | StringSlice> = {
  ...STRING,
  read(reader) {
    reader.scanValidString();
    return reader.tokenIsCanonical()
      ? new StringSlice(reader.bytes, reader.tokenStart - 1, reader.tokenEnd + 1)
      : reader.tokenText();
  },
  write(value, out) {
    if (value instanceof StringSlice) out.writeRaw(value.bytes, value.start, value.end);
    else STRING.write(value, out);
  },
};
