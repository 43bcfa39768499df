import { Buffer } from "node:buffer";

import { list } from "../shapes/collection.js";
import { STRING, STRING_SLICE, StringSlice, U64, enumeration } from "../shapes/scalar.js";
import type { Shape } from "../shapes/shape.js";
import { defaulted, flattened, required, struct } from "../shapes/struct.js";
import { type Tagged, opaqueUnion } from "../shapes/union.js";
import { CLOSE_LIST, OPEN_LIST, QUOTE } from "../text/characters.js";
import { JsonError } from "../text/json-error.js";
import { type JsonReader, skipValue } from "../text/reader.js";

const INLINE = { data: required("data", STRING) };

/** A block of text or media (contract 7.4). */
export const CONTENT_BLOCK = opaqueUnion("a content block", "type", {
  text: { text: required("text", STRING) },
  image: {
    mediaType: required("media_type", STRING),
    data: flattened(
      opaqueUnion("image data", "source", { inline: INLINE, blob: { blobId: required("blob_id", STRING) } }),
    ),
  },
  video: {
    mediaType: required("media_type", STRING),
    durationMs: required("duration_ms", U64),
    data: flattened(opaqueUnion("video data", "source", { inline: INLINE })),
  },
});

const RENDER_CLASSES = [
  "user_prompt",
  "peer_message",
  "peer_request",
  "peer_response",
  "external_event",
  "flow_step",
  "continuation",
  "system_notice",
  "tool_scope_notice",
  "ops_progress",
] as const;

const RENDER_SALIENCES = ["background", "normal", "important", "urgent"] as const;

/** Metadata for the display of a message. */
export const RENDER_METADATA = struct("render metadata", {
  class: required("class", enumeration(RENDER_CLASSES)),
  salience: defaulted("salience", enumeration(RENDER_SALIENCES), "normal"),
});

interface TextBlock extends Tagged {
  readonly text: string;
}

const BLOCKS = list(CONTENT_BLOCK);
const COMMA_BYTES = Buffer.from(",");
const TEXT_BLOCK = Buffer.from('{"type":"text",');

const isText = (block: Tagged | undefined): block is TextBlock => block?.kind === "text";

/** The text of the reference. */
const STRING_OR_BLOCKS_REFUSED = "data did not match any variant of untagged enum StringOrBlocks";

/** Content that is a string or a list of blocks. A single text block is written as its text (contract 7.4). */
export const STRING_OR_BLOCKS: Shape<string | StringSlice | readonly Tagged[]> = {
  label: "a string or a list of blocks",
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
    } while (reader.skipLiteral(COMMA_BYTES));
    return !(count === 1 && isTextFirst) && reader.closeCanonical(CLOSE_LIST);
  },
  form: () => ({ kind: "choice", name: "Content", options: [STRING.form(), BLOCKS.form()] }),
};

/**
 * Reads the blocks. The reference reports the same text for every problem in them, unless the JSON itself is not valid
 * (contract 7.4).
 */
function readBlocks(reader: JsonReader): readonly Tagged[] {
  const { position, depth, bufferingDepth } = reader;
  try {
    return BLOCKS.read(reader);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    reader.position = position;
    reader.depth = depth;
    reader.bufferingDepth = bufferingDepth;
    skipValue(reader);
    const found = error.path === "" ? error.reason : `${error.path}: ${error.reason}`;
    throw reader.error(`${STRING_OR_BLOCKS_REFUSED}; expected a string or a list of blocks (${found})`, position);
  }
}
