import { Buffer, isUtf8 } from "node:buffer";

import {
  BACKSLASH,
  CARRIAGE_RETURN,
  LINE_FEED,
  LOWER_E,
  LOWER_U,
  MINUS,
  PLUS,
  POINT,
  QUOTE,
  SLASH,
  SPACE,
  TAB,
  UPPER_E,
  ZERO,
  hasLoneSurrogate,
  hexValue,
  isCanonicalUnicodeEscape,
  isDigit,
  isSurrogate,
} from "./characters.js";
import { JsonError } from "./json-error.js";

/** The bytes of the longest escape. Each escape represents at least one byte of text. */
const LONGEST_ESCAPE = 6;

/** One text up to this size is decoded as a whole, once, and its ASCII strings are cut out of the result. */
const SHARED_TEXT_LIMIT = 64 * 1024;

/** Nonzero for each letter that may follow a backslash. */
const ESCAPE_LETTERS = new Uint8Array(256);
for (const letter of Buffer.from('"\\/bfnrtu')) ESCAPE_LETTERS[letter] = 1;

/** The form of a number's text. Only `digits` can be an unsigned integer. */
export type NumberForm = "digits" | "minus and digits" | "decimal";

/**
 * A position in the bytes of one JSON text, and the token: the string or number that was scanned last. Values are
 * converted only on demand: a number stays text and a string stays bytes until the caller asks for them.
 */
export class Cursor {
  readonly bytes: Buffer;
  position = 0;

  /** The byte range of the token; for a string without the quotes. */
  tokenStart = 0;
  tokenEnd = 0;
  private tokenIsAscii = true;
  private tokenHasEscapes = false;
  /** Whether an escape of the token is a surrogate. */
  private tokenHasSurrogates = false;
  /** Whether the token has an escape that canonical JSON does not use. */
  private tokenHasOtherEscapes = false;

  protected readonly length: number;
  private readonly words: DataView;
  private readonly isValidUtf8: boolean;
  private sharedText: string | undefined;

  /** Throws a `JsonError` when a text contains a lone surrogate. Bytes are checked string by string. */
  constructor(source: Uint8Array | string) {
    if (typeof source === "string") {
      this.bytes = Buffer.from(source, "utf8");
      this.length = this.bytes.length;
      this.isValidUtf8 = true;
      if (this.length === source.length) this.sharedText = source;
      else if (hasLoneSurrogate(source)) throw JsonError.at("the text contains a lone surrogate");
    } else {
      this.bytes = Buffer.isBuffer(source) ? source : Buffer.from(source.buffer, source.byteOffset, source.byteLength);
      this.length = this.bytes.length;
      this.isValidUtf8 = isUtf8(this.bytes);
    }
    this.words = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.length);
  }

  /** Returns, but does not throw, an error at a position; by default at the cursor. */
  error(reason: string, offset = this.position): JsonError {
    return JsonError.at(offset >= this.length ? `${reason}, but the text ends` : reason, offset);
  }

  /** Skips white space and returns the next byte without skipping it; 0 at the end of the text. */
  peek(): number {
    const bytes = this.bytes;
    let at = this.position;
    let code = bytes[at] ?? 0;
    while (code === SPACE || code === LINE_FEED || code === CARRIAGE_RETURN || code === TAB) code = bytes[++at] ?? 0;
    this.position = at;
    return code;
  }

  /** Skips these bytes when they follow immediately, without white space. Returns whether they did. */
  skipLiteral(expected: Uint8Array): boolean {
    const bytes = this.bytes;
    const start = this.position;
    const length = expected.length;
    for (let i = 0; i < length; i++) if (bytes[start + i] !== expected[i]) return false;
    this.position = start + length;
    return true;
  }

  isDigitNext(): boolean {
    return isDigit(this.bytes[this.position] ?? 0);
  }

  /** Skips the string that follows immediately. Returns whether a string followed and was in canonical form. */
  skipCanonicalString(): boolean {
    if (this.bytes[this.position] !== QUOTE) return false;
    this.scanString();
    this.checkToken();
    return !this.tokenHasOtherEscapes;
  }

  /** Makes the string at the cursor the token, and returns its text. It must be ASCII, of this length and without escapes. */
  takeAsciiString(length: number): string {
    this.tokenStart = this.position + 1;
    this.tokenEnd = this.tokenStart + length;
    this.tokenIsAscii = true;
    this.tokenHasEscapes = false;
    this.position = this.tokenEnd + 1;
    return this.tokenText();
  }

  /** Whether the token is this text, which is given in UTF-8. */
  tokenIs(expected: Uint8Array): boolean {
    const start = this.tokenStart;
    const length = this.tokenEnd - start;
    if (this.tokenHasEscapes) {
      return length <= expected.length * LONGEST_ESCAPE && this.tokenText() === Buffer.from(expected).toString();
    }
    if (length !== expected.length) return false;
    for (let i = 0; i < length; i++) if (this.bytes[start + i] !== expected[i]) return false;
    return true;
  }

  /** Whether the string token is in canonical form. */
  tokenIsCanonical(): boolean {
    return !this.tokenHasOtherEscapes;
  }

  /** Whether the string token has no escapes, so that its bytes are the bytes of its text. */
  tokenIsPlain(): boolean {
    return !this.tokenHasEscapes;
  }

  /** Returns the decoded text of a string token, or the unchanged text of a number token. */
  tokenText(): string {
    if (this.tokenHasEscapes)
      return JSON.parse(this.bytes.toString("utf8", this.tokenStart - 1, this.tokenEnd + 1)) as string;
    if (!this.tokenIsAscii) return this.bytes.toString("utf8", this.tokenStart, this.tokenEnd);
    if (this.sharedText === undefined) {
      if (this.length > SHARED_TEXT_LIMIT) return this.bytes.toString("latin1", this.tokenStart, this.tokenEnd);
      this.sharedText = this.bytes.toString("latin1");
    }
    return this.sharedText.slice(this.tokenStart, this.tokenEnd);
  }

  /** Returns the JSON text of a value that was skipped. */
  textBetween(start: number, end: number): string {
    return this.bytes.toString("utf8", start, end);
  }

  /** Makes the number at the cursor the token. Skips white space first. */
  scanNumber(): NumberForm {
    const bytes = this.bytes;
    const first = this.peek();
    let at = this.position;
    this.tokenStart = at;
    this.tokenIsAscii = true;
    this.tokenHasEscapes = false;
    let code = first;
    if (first === MINUS) code = bytes[++at] ?? 0;
    if (!isDigit(code)) throw this.error(first === MINUS ? "expected a digit" : "expected a number", at);
    const leadingZero = code === ZERO;
    code = bytes[++at] ?? 0;
    if (leadingZero && isDigit(code)) throw this.error("expected a number without leading zeros", at);
    while (isDigit(code)) code = bytes[++at] ?? 0;
    let form: NumberForm = first === MINUS ? "minus and digits" : "digits";
    if (code === POINT) {
      form = "decimal";
      at = this.digitsEnd(at + 1);
      code = bytes[at] ?? 0;
    }
    if (code === LOWER_E || code === UPPER_E) {
      form = "decimal";
      code = bytes[++at] ?? 0;
      at = this.digitsEnd(code === PLUS || code === MINUS ? at + 1 : at);
    }
    this.tokenEnd = at;
    this.position = at;
    return form;
  }

  /**
   * Makes the string whose opening quote is at the cursor the token. Checks the grammar only; `checkToken` checks that the
   * text is valid Unicode. Reads four bytes at a time, because this loop determines the speed of reading.
   */
  scanString(): void {
    const bytes = this.bytes;
    let at = this.position + 1;
    this.tokenStart = at;
    this.tokenHasEscapes = false;
    this.tokenHasSurrogates = false;
    this.tokenHasOtherEscapes = false;
    const { words } = this;
    const lastWord = this.length - 4;
    // All bytes combined with OR, to find out whether any of them is not ASCII.
    let all = 0;
    for (;;) {
      while (at <= lastWord) {
        const word = words.getInt32(at, true);
        const special = specialBytes(word);
        if (special !== 0) {
          // The number of bits in the bytes before the first special one.
          const bits = 24 - Math.clz32(special & -special);
          all |= word & ((1 << bits) - 1);
          at += bits >> 3;
          break;
        }
        all |= word;
        at += 4;
      }
      const code = bytes[at] ?? 0;
      if (code === QUOTE) break;
      if (code === BACKSLASH) {
        this.tokenHasEscapes = true;
        at = this.escapeEnd(at + 1);
      } else if (code < SPACE) {
        throw this.error(
          at < this.length ? "a string contains a control character without an escape" : "expected the end of a string",
          at,
        );
      } else {
        all |= code;
        at++;
      }
    }
    this.tokenIsAscii = (all & 0x80808080) === 0;
    this.tokenEnd = at;
    this.position = at + 1;
  }

  /** Throws when the string token is not valid UTF-8 or contains a lone surrogate. */
  checkToken(): void {
    if (!this.isValidUtf8 && !this.tokenIsAscii && !isUtf8(this.bytes.subarray(this.tokenStart, this.tokenEnd))) {
      throw this.error("a string is not valid UTF-8", this.tokenStart);
    }
    if (this.tokenHasEscapes && this.tokenHasSurrogates && hasLoneSurrogate(this.tokenText())) {
      throw this.error("a string contains a lone surrogate", this.tokenStart);
    }
  }

  /** Returns the end of the escape whose first byte after the backslash is at `at`. */
  private escapeEnd(at: number): number {
    const code = this.bytes[at] ?? 0;
    if (ESCAPE_LETTERS[code] === 0) throw this.error("a string contains an unknown escape", at);
    if (code !== LOWER_U) {
      if (code === SLASH) this.tokenHasOtherEscapes = true;
      return at + 1;
    }
    let unit = 0;
    for (let i = 1; i <= 4; i++) {
      const digit = hexValue(this.bytes[at + i] ?? 0);
      if (digit < 0) throw this.error("expected four hexadecimal digits", at + i);
      unit = unit * 16 + digit;
    }
    if (isSurrogate(unit)) this.tokenHasSurrogates = true;
    if (!isCanonicalUnicodeEscape(unit, this.bytes[at + 4] ?? 0)) this.tokenHasOtherEscapes = true;
    return at + 5;
  }

  private digitsEnd(start: number): number {
    let at = start;
    while (isDigit(this.bytes[at] ?? 0)) at++;
    if (at === start) throw this.error("expected a digit", at);
    return at;
  }
}

/**
 * Marks the bytes of a word that a plain part of a string cannot contain: quotes, backslashes, control characters. The high
 * bit of the lowest such byte is set in the result. The high bits of later bytes may be set without a reason.
 */
function specialBytes(word: number): number {
  const quotes = word ^ 0x22222222;
  const backslashes = word ^ 0x5c5c5c5c;
  const found =
    ((quotes - 0x01010101) & ~quotes) | ((backslashes - 0x01010101) & ~backslashes) | ((word - 0x20202020) & ~word);
  return found & 0x80808080;
}
