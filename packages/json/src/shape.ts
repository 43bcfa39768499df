import { COMMA } from "./ascii.js";
import type { JsonReader } from "./reader.js";
import type { JsonWriter } from "./writer.js";

/**
 * What one kind of JSON value looks like. Reading accepts what the reference accepts. Writing gives its one written form; it
 * trusts nothing about the value, whose source may be a stranger on the wire.
 */
export interface Shape<T> {
  /** What is expected, for error texts: `a string`. */
  readonly label: string;
  read(reader: JsonReader): T;
  write(value: T, out: JsonWriter): void;
  /**
   * Steps over a value that stands in its written form already. False when it does not, or when it takes more than a
   * look to tell, which is also what a missing method means; the cursor is then anywhere.
   */
  skipCanonical?(reader: JsonReader): boolean;
}

/** A shape that is an object and can lend its members to an enclosing one. */
export interface MemberShape<T> extends Shape<T> {
  /** Reads the members from the cursor to the closing brace, which it steps over. */
  readMembers(reader: JsonReader): T;
  /** Writes the members without braces; whether anything has been written into the object by now. */
  writeMembers(value: T, out: JsonWriter, isEmpty: boolean): boolean;
  /** Like `isWritten`, for the members up to the closing brace, or up to those of an enclosing object. */
  skipCanonicalMembers(reader: JsonReader, isFirst: boolean): boolean;
}

/** Writes the elements of a list or a map with their commas. */
export function separate(out: JsonWriter, index: number): void {
  if (index > 0) out.writeByte(COMMA);
}
