import { JsonError } from "./json-error.js";
import { JsonReader } from "./reader.js";
import type { Shape } from "./shape.js";
import { skipValue } from "./skip.js";
import { withWriter } from "./writer.js";

/**
 * A value whose model is its own JSON text: read through `content` and given in the written form; any JSON text that
 * `content` accepts may be written.
 */
export function jsonText<T>(content: Shape<T>): Shape<string> {
  return {
    label: `JSON text of ${content.label}`,
    read(reader) {
      reader.peek();
      const start = reader.position;
      if (skipIfCanonical(content, reader)) return reader.textBetween(start, reader.position);
      const value = content.read(reader);
      return withWriter(
        reader.depth,
        (out) => {
          content.write(value, out);
        },
        (out) => out.toString(),
      );
    },
    write(text, out) {
      if (typeof text !== "string") throw JsonError.at("expected JSON text");
      // At the depth at which it will be read again.
      const reader = new JsonReader(text, out.depth);
      if (skipIfCanonical(content, reader) && reader.position === reader.bytes.length) {
        out.writeRaw(reader.bytes);
        return;
      }
      reader.position = 0;
      const value = content.read(reader);
      reader.finish();
      content.write(value, out);
    },
  };
}

/** The same text taken as it stands, for a document that is known to be in its written form. Cannot be written. */
export function trustedJsonText(label: string): Shape<string> {
  return {
    label,
    read(reader) {
      reader.peek();
      const start = reader.position;
      skipValue(reader);
      return reader.textBetween(start, reader.position);
    },
    write() {
      throw JsonError.at("a trusted text is only read");
    },
  };
}

/** Steps over a value that stands in its written form at the cursor; otherwise stays. */
export function skipIfCanonical(content: Shape<unknown>, reader: JsonReader): boolean {
  const { position, depth, bufferingDepth: buffered } = reader;
  let isWritten = false;
  try {
    isWritten = content.skipCanonical?.(reader) === true;
  } catch (error) {
    // A real reading will fail too, and name the place.
    if (!(error instanceof JsonError)) throw error;
  }
  if (!isWritten) {
    reader.position = position;
    reader.depth = depth;
    reader.bufferingDepth = buffered;
  }
  return isWritten;
}
