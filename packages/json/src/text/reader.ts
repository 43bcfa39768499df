import {
  CLOSE_LIST,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  LOWER_F,
  LOWER_N,
  LOWER_T,
  MINUS,
  OPEN_LIST,
  OPEN_OBJECT,
  QUOTE,
  isDigit,
} from "./characters.js";
import { Cursor } from "./cursor.js";
import { isNumberInRange } from "./numbers.js";

/** The reference rejects a value inside more containers than this (contract 9.4). */
const MAX_DEPTH = 127;

/**
 * Elided messages: unchanged messages that an incremental check leaves out of a session's text, because an earlier check
 * read the same bytes. The gap is their place in the text.
 */
export interface Gap {
  /** The number of messages; at least one. */
  readonly count: number;
  /** The number of containers around the messages when they were read. They are not known to be valid at a greater depth. */
  readonly depth: number;
  /** Whether the messages are canonical raw JSON. */
  readonly isCanonicalRawJson: boolean;
}

/** The byte that represents a gap. No JSON text contains it, so reading fails wherever a gap is not allowed. */
export const GAP_BYTE = 0;

/** The gaps of a text, by their positions. */
export class Gaps {
  constructor(
    private readonly places: ReadonlyMap<number, Gap>,
    private readonly start = 0,
  ) {}

  at(position: number): Gap | undefined {
    return this.places.get(this.start + position);
  }

  /** Returns the gaps of the part of the text that begins at `start`, with positions in that part. */
  from(start: number): Gaps {
    return new Gaps(this.places, this.start + start);
  }
}

/** Reads the values of one JSON text in their order. The caller (a shape) knows which value it expects next. */
export class JsonReader extends Cursor {
  /** The number of containers around the cursor, including those of an enclosing document. */
  depth: number;
  /**
   * The number of enclosing values that the reference buffers as a whole before it interprets them. Above zero, ignored
   * members must satisfy the same rules as all others (contract 9.4).
   */
  bufferingDepth = 0;

  constructor(
    source: Uint8Array | string,
    depth = 0,
    /**
     * Whether the text is canonical raw JSON made from values that were already read. Its numbers are final: reading a
     * number a second time could change it (contract 9.6).
     */
    readonly isCanonicalRawJson = false,
    private readonly gaps?: Gaps,
  ) {
    super(source);
    this.depth = depth;
  }

  /** Checks that only white space follows. Call it after the last value. */
  finish(): void {
    this.peek();
    if (this.position < this.length) throw this.error("expected the end of the text after the value");
  }

  openObject(): void {
    if (this.peek() !== OPEN_OBJECT) throw this.error("expected an object");
    this.open();
  }

  /** Moves to the value of the next member and makes its name the token. Returns false, after the brace, at the end. */
  nextMember(isFirst: boolean): boolean {
    let code = this.peek();
    if (code === CLOSE_OBJECT) {
      this.position++;
      this.depth--;
      return false;
    }
    if (!isFirst) {
      if (code !== COMMA) throw this.error("expected a comma or the end of the object");
      this.position++;
      code = this.peek();
    }
    if (code !== QUOTE) throw this.error("expected a member name");
    this.scanString();
    this.checkToken();
    if (this.peek() !== COLON) throw this.error("expected a colon");
    this.position++;
    return true;
  }

  openList(): void {
    if (this.peek() !== OPEN_LIST) throw this.error("expected a list");
    this.open();
  }

  /** Moves to the next element. Returns false, after the bracket, at the end of the list. */
  nextElement(isFirst: boolean): boolean {
    const code = this.peek();
    if (code === CLOSE_LIST) {
      this.position++;
      this.depth--;
      return false;
    }
    if (isFirst) return true;
    if (code !== COMMA) throw this.error("expected a comma or the end of the list");
    this.position++;
    if (this.peek() === CLOSE_LIST) throw this.error("expected a value after the comma");
    return true;
  }

  /** Enters a container whose opening byte follows immediately. Returns whether it did. */
  openCanonical(code: number): boolean {
    if (this.bytes[this.position] !== code) return false;
    this.open();
    return true;
  }

  /** Leaves a container whose closing byte follows immediately. Returns whether it did. */
  closeCanonical(code: number): boolean {
    if (this.bytes[this.position] !== code) return false;
    this.position++;
    this.depth--;
    return true;
  }

  /** Skips the gap that follows immediately, and returns it. Undefined when no gap follows or none is allowed here. */
  skipGap(): Gap | undefined {
    if (this.gaps === undefined || this.bytes[this.position] !== GAP_BYTE) return undefined;
    const gap = this.gaps.at(this.position);
    if (gap === undefined || this.depth > gap.depth) return undefined;
    this.position++;
    return gap;
  }

  /** Returns the gaps for a reader of the text from `start` on. */
  gapsFrom(start: number): Gaps | undefined {
    return this.gaps?.from(start);
  }

  /** Skips `null` if it is the next value. Returns whether it was. */
  readNull(): boolean {
    if (this.peek() !== LOWER_N) return false;
    this.readWord("null");
    return true;
  }

  readBoolean(): boolean {
    const code = this.peek();
    if (code === LOWER_T) this.readWord("true");
    else if (code === LOWER_F) this.readWord("false");
    else throw this.error("expected true or false");
    return code === LOWER_T;
  }

  readWord(word: "null" | "true" | "false"): void {
    for (let i = 0; i < word.length; i++) {
      if (this.bytes[this.position + i] !== word.charCodeAt(i)) throw this.error("expected a value");
    }
    this.position += word.length;
  }

  readString(): string {
    this.scanValidString();
    return this.tokenText();
  }

  /** Makes the next string the token. Checks its text, but does not decode it. */
  scanValidString(): void {
    if (this.peek() !== QUOTE) throw this.error("expected a string");
    this.scanString();
    this.checkToken();
  }

  private open(): void {
    if (++this.depth > MAX_DEPTH) throw this.error(`expected at most ${MAX_DEPTH} nested objects and lists`);
    this.position++;
  }
}

/** A longer string is no name, id or time: the longest of them is a UUID in escapes. */
const LONGEST_NAME = 1024;

/**
 * Reads a text only to find out whether it has a shape: a long string is checked and not decoded, so that a check needs
 * little memory. The value that a shape returns must not be used.
 */
export class CheckReader extends JsonReader {
  /** The begin and the end of each long string, quotes included, in the order of reading. */
  readonly longStrings: number[] = [];

  override readString(): string {
    this.scanValidString();
    if (this.tokenEnd - this.tokenStart <= LONGEST_NAME) return this.tokenText();
    this.longStrings.push(this.tokenStart - 1, this.tokenEnd + 1);
    return "";
  }
}

/**
 * Skips one value of any kind. When the reference ignores the value without buffering it (`reader.bufferingDepth` is 0), only
 * the grammar is checked: any depth, any number, invalid UTF-8 and lone surrogates are accepted (contract 9.4).
 */
export function skipValue(reader: JsonReader): void {
  const isStrict = reader.bufferingDepth > 0;
  // The closing bytes of the open containers. A loop, not recursion: the depth of an ignored value has no limit.
  const open: number[] = [];
  for (;;) {
    const code = reader.peek();
    if (code === OPEN_OBJECT || code === OPEN_LIST) {
      const closing = code === OPEN_OBJECT ? CLOSE_OBJECT : CLOSE_LIST;
      if (!isStrict) reader.position++;
      else if (code === OPEN_OBJECT) reader.openObject();
      else reader.openList();
      open.push(closing);
      if (reader.peek() !== closing) {
        if (closing === CLOSE_OBJECT) skipName(reader);
        continue;
      }
    } else {
      skipScalar(reader, code, isStrict);
    }
    if (!moveToNextValue(reader, open, isStrict)) return;
  }
}

/** Closes the containers that end here and moves to the next value. Returns false when the outermost value is complete. */
function moveToNextValue(reader: JsonReader, open: number[], isStrict: boolean): boolean {
  for (;;) {
    const closing = open[open.length - 1];
    if (closing === undefined) return false;
    const code = reader.peek();
    if (code === closing) {
      reader.position++;
      if (isStrict) reader.depth--;
      open.pop();
      continue;
    }
    if (code !== COMMA) throw reader.error("expected a comma or the end of a container");
    reader.position++;
    if (closing === CLOSE_OBJECT) skipName(reader);
    return true;
  }
}

function skipName(reader: JsonReader): void {
  if (reader.peek() !== QUOTE) throw reader.error("expected a member name");
  reader.scanString();
  if (reader.bufferingDepth > 0) reader.checkToken();
  if (reader.peek() !== COLON) throw reader.error("expected a colon");
  reader.position++;
}

function skipScalar(reader: JsonReader, code: number, isStrict: boolean): void {
  if (code === QUOTE) {
    reader.scanString();
    if (isStrict) reader.checkToken();
  } else if (code === MINUS || isDigit(code)) {
    reader.scanNumber();
    if (isStrict && !isNumberInRange(reader.bytes, reader.tokenStart, reader.tokenEnd)) {
      throw reader.error("expected a number that fits a 64-bit float", reader.tokenStart);
    }
  } else if (code === LOWER_N) {
    reader.readWord("null");
  } else {
    if (code !== LOWER_T && code !== LOWER_F) throw reader.error("expected a value");
    reader.readBoolean();
  }
}
