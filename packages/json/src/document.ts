import type { Buffer } from "node:buffer";

import type { Gaps } from "./gaps.js";
import { JsonReader } from "./reader.js";
import type { Shape } from "./shape.js";
import { withWriter } from "./writer.js";

/** Reads a whole document, with gaps where messages were left out; a `JsonError` when it is not of that shape. */
export function readDocument<T>(shape: Shape<T>, source: Uint8Array | string, gaps?: Gaps): T {
  const reader = new JsonReader(source, 0, false, gaps);
  const value = shape.read(reader);
  reader.finish();
  return value;
}

/** The written form of a value; a `JsonError` when the value is not of that shape. */
export function writeDocument<T>(shape: Shape<T>, value: T): Buffer {
  return withWriter(
    0,
    (out) => {
      shape.write(value, out);
    },
    (out) => out.toBuffer(),
  );
}
