import { Buffer } from "node:buffer";

import { CLOSE_LIST, OPEN_LIST, QUOTE } from "./ascii.js";
import { list } from "./collection.js";
import { CONTENT_BLOCK } from "./content-block.js";
import { JsonError } from "./json-error.js";
import type { JsonReader } from "./reader.js";
import type { Shape } from "./shape.js";
import { skipValue } from "./skip.js";
import { STRING_SLICE, StringSlice } from "./text-slice.js";
import type { Tagged } from "./union.js";

interface TextBlock extends Tagged {
  readonly text: string;
}

const BLOCKS = list(CONTENT_BLOCK);
const COMMA = Buffer.from(",");
const TEXT_BLOCK = Buffer.from('{"type":"text",');

const isText = (block: Tagged | undefined): block is TextBlock => block?.kind === "text";

/** Content that is a text or a list of blocks. One text block alone is written as its text (section 7.2). */
export const STRING_OR_BLOCKS: Shape<string | StringSlice | readonly Tagged[]> = {
  label: "a text or a list of blocks",
  read(reader) {
    if (reader.peek() === QUOTE) return STRING_SLICE.read(reader);
    const blocks = readBlocks(reader);
    const [first] = blocks;
    return blocks.length === 1 && isText(first) ? first.text : blocks;
  },
  write(value, out) {
    if (typeof value === "string" || value instanceof StringSlice) STRING_SLICE.write(value, out);
    else BLOCKS.write(value, out);
  },
  skipCanonical(reader) {
    if (reader.bytes[reader.position] === QUOTE) return reader.skipCanonicalString();
    if (!reader.openCanonical(OPEN_LIST)) return false;
    if (reader.closeCanonical(CLOSE_LIST)) return true;
    const start = reader.position;
    const isTextFirst = reader.skipLiteral(TEXT_BLOCK);
    reader.position = start;
    let count = 0;
    do {
      if (CONTENT_BLOCK.skipCanonical?.(reader) !== true) return false;
      count++;
    } while (reader.skipLiteral(COMMA));
    return !(count === 1 && isTextFirst) && reader.closeCanonical(CLOSE_LIST);
  },
};

/** Of any fault in sound JSON the reference says no more than this (section 15.9). */
function readBlocks(reader: JsonReader): readonly Tagged[] {
  const { position, depth, bufferingDepth: buffered } = reader;
  try {
    return BLOCKS.read(reader);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    Object.assign(reader, { position, depth, buffered });
    skipValue(reader);
    throw reader.error("data did not match any variant of untagged enum StringOrBlocks", position);
  }
}
