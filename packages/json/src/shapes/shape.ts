import type { Buffer } from "node:buffer";

import { JsonError } from "../text/json-error.js";
import { CheckReader, type Gaps, JsonReader } from "../text/reader.js";
import { type JsonWriter, withWriter } from "../text/writer.js";
import type { Form } from "./form.js";

/**
 * The description of one kind of JSON value: how to read it, how to write it, and how to recognise its canonical form.
 * Reading accepts everything that the reference accepts. Writing produces the canonical form only; it checks every value,
 * because values may come from callers without types.
 */
export interface Shape<T> {
  /** The expected value, for error texts: `a string`. */
  readonly label: string;
  /** Reads the next value. Throws a `JsonError` with the byte at which the value is wrong. */
  read(reader: JsonReader): T;
  /** Writes the canonical form. Throws a `JsonError` with the member that is wrong. */
  write(value: T, out: JsonWriter): void;
  /**
   * Skips a value that follows immediately in canonical form. Returns false, with the cursor at any position, when the value
   * has another form, or when only reading and writing the value can decide. A shape without this method can never decide.
   */
  skipCanonical?(reader: JsonReader): boolean;
  /** Returns a description of the values that `read` accepts. */
  form(): Form;
}

/** The shape of an object whose members can also be members of an enclosing object. */
export interface MemberShape<T> extends Shape<T> {
  /** Reads the members from the cursor to the closing brace, and skips the brace. */
  readMembers(reader: JsonReader): T;
  /** Writes the members without braces. `isEmpty` says whether the object has no member yet. Returns whether it still has none. */
  writeMembers(value: T, out: JsonWriter, isEmpty: boolean): boolean;
  /** Works like `skipCanonical`, for members without braces. Stops at the first member that is not one of this shape. */
  skipCanonicalMembers(reader: JsonReader, isFirst: boolean): boolean;
}

/** Reads a whole document. Throws a `JsonError` when it does not have the shape. `gaps` are the elided messages in it. */
export function readDocument<T>(shape: Shape<T>, source: Uint8Array | string, gaps?: Gaps): T {
  const reader = new JsonReader(source, 0, false, gaps);
  const value = shape.read(reader);
  reader.finish();
  return value;
}

/**
 * Checks that a whole document has the shape, and returns the positions of its long strings. Throws the `JsonError` that
 * `readDocument` throws.
 */
export function checkDocument(shape: Shape<unknown>, source: Uint8Array): readonly number[] {
  const reader = new CheckReader(source);
  shape.read(reader);
  reader.finish();
  return reader.longStrings;
}

/** Returns the canonical form of a value. Throws a `JsonError` when the value does not have the shape. */
export function writeDocument<T>(shape: Shape<T>, value: T): Buffer {
  return withWriter(
    0,
    (out) => {
      shape.write(value, out);
    },
    (out) => out.toBuffer(),
  );
}

/** Skips a value that follows immediately in canonical form. Otherwise returns false and does not move the reader. */
export function skipIfCanonical(shape: Shape<unknown>, reader: JsonReader): boolean {
  const { position, depth, bufferingDepth } = reader;
  let isCanonical = false;
  try {
    isCanonical = shape.skipCanonical?.(reader) === true;
  } catch (error) {
    // The caller reads the value next. That fails too, with a path in the error.
    if (!(error instanceof JsonError)) throw error;
  }
  if (!isCanonical) {
    reader.position = position;
    reader.depth = depth;
    reader.bufferingDepth = bufferingDepth;
  }
  return isCanonical;
}
