import type { JsonReader } from "./reader.js";
import type { Shape } from "./shape.js";
import { withWriter } from "./writer.js";

/** Tells whether a value is written by writing it: for a shape with members that follow from others. */
export function canonicalByWriting<T>(shape: Shape<T>): Shape<T> {
  return {
    label: shape.label,
    read: (reader) => shape.read(reader),
    write: (value, out) => {
      shape.write(value, out);
    },
    skipCanonical(reader: JsonReader) {
      const start = reader.position;
      const value = shape.read(reader);
      return withWriter(
        reader.depth,
        (out) => {
          shape.write(value, out);
        },
        (out) => out.bytes.subarray(0, out.length).equals(reader.bytes.subarray(start, reader.position)),
      );
    },
  };
}
