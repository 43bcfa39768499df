import { Buffer, isUtf8 } from "node:buffer";

import {
  BACKSLASH,
  CARRIAGE_RETURN,
  LINE_FEED,
  MINUS,
  POINT,
  QUOTE,
  SPACE,
  TAB,
  ZERO,
  hexValue,
  isDigit,
} from "./ascii.js";
import { isCanonicalUnicodeEscape } from "./escapes.js";
import { JsonError } from "./json-error.js";
import { hasLoneSurrogate } from "./surrogates.js";

/** An escape of six bytes stands for at least one byte. */
const LONGEST_ESCAPE = 6;

const SLASH = 0x2f;
const LETTER_U = 0x75;

/** Nonzero for the letters that may follow a backslash. */
const ESCAPE_LETTERS = new Uint8Array(256);
for (const letter of Buffer.from('"\\/bfnrtu')) ESCAPE_LETTERS[letter] = 1;

/** The bytes of a word that end a plain part of a string have their high bit set in the result; later bytes may have too. */
function endMask(word: number): number {
  const quotes = word ^ 0x22222222;
  const backslashes = word ^ 0x5c5c5c5c;
  const found =
    ((quotes - 0x01010101) & ~quotes) | ((backslashes - 0x01010101) & ~backslashes) | ((word - 0x20202020) & ~word);
  return found & 0x80808080;
}

/** Up to this size the whole text is made a string once, and its ASCII strings are cut out of that. */
const SHARED_TEXT_LIMIT = 64 * 1024;

/** What a number's text looks like; only the first kind can be an unsigned integer. */
export type NumberForm = "digits" | "minus and digits" | "decimal";

/**
 * A place in the bytes of one JSON text, and the string or number last stepped over, the token. Nothing is converted before
 * it is asked for: numbers stay text, strings stay bytes.
 */
export class Cursor {
  readonly bytes: Buffer;
  position = 0;

  /** The token's bytes, without the quotes. */
  tokenStart = 0;
  tokenEnd = 0;
  private tokenIsAscii = true;
  private tokenHasEscapes = false;
  private tokenHasSurrogates = false;
  /** Among its escapes is one that would not be written so. */
  private tokenHasOtherEscapes = false;

  protected readonly length: number;
  private readonly words: DataView;
  private readonly isValidUtf8: boolean;
  private sharedText: string | undefined;

  constructor(source: Uint8Array | string) {
    if (typeof source === "string") {
      this.bytes = Buffer.from(source, "utf8");
      this.length = this.bytes.length;
      this.isValidUtf8 = true;
      if (this.length === source.length) this.sharedText = source;
      else if (hasLoneSurrogate(source)) throw JsonError.at("the text holds a lone surrogate");
    } else {
      this.bytes = Buffer.isBuffer(source) ? source : Buffer.from(source.buffer, source.byteOffset, source.byteLength);
      this.length = this.bytes.length;
      this.isValidUtf8 = isUtf8(this.bytes);
    }
    this.words = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.length);
  }

  error(reason: string, offset = this.position): JsonError {
    return JsonError.at(offset >= this.length ? `${reason}, but the text ends` : reason, offset);
  }

  /** Steps over white space and shows the byte that follows; 0 at the end. */
  peek(): number {
    const bytes = this.bytes;
    let at = this.position;
    let code = bytes[at] ?? 0;
    while (code === SPACE || code === LINE_FEED || code === CARRIAGE_RETURN || code === TAB) code = bytes[++at] ?? 0;
    this.position = at;
    return code;
  }

  /** Whether the token is this text, given in UTF-8. */
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

  /** Steps over exactly these bytes if the cursor stands before them; white space is not passed over. */
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

  /** Steps over a string right at the cursor that stands in its written form. */
  skipCanonicalString(): boolean {
    if (this.bytes[this.position] !== QUOTE) return false;
    this.scanString();
    this.checkToken();
    return !this.tokenHasOtherEscapes;
  }

  /** Makes a string of ASCII characters, whose place is known, the token and gives its text. */
  takeAsciiString(length: number): string {
    this.tokenStart = this.position + 1;
    this.tokenEnd = this.tokenStart + length;
    this.tokenIsAscii = true;
    this.tokenHasEscapes = false;
    this.position = this.tokenEnd + 1;
    return this.tokenText();
  }

  /** Whether the token's bytes are the written form of the string that it is. */
  tokenIsCanonical(): boolean {
    return !this.tokenHasOtherEscapes;
  }

  /** Whether they are also the string's own bytes. */
  tokenIsPlain(): boolean {
    return !this.tokenHasEscapes;
  }

  /** The token as text: a string's content, or a number as it stands. */
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

  /** The text of a value that has been stepped over, as it stands. */
  textBetween(start: number, end: number): string {
    return this.bytes.toString("utf8", start, end);
  }

  /** Makes the number at the cursor the token. */
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
    if (leadingZero && isDigit(code)) throw this.error("a number cannot start with 0", at);
    while (isDigit(code)) code = bytes[++at] ?? 0;
    let form: NumberForm = first === MINUS ? "minus and digits" : "digits";
    if (code === POINT) {
      form = "decimal";
      at = this.digitsEnd(at + 1);
      code = bytes[at] ?? 0;
    }
    if (code === 0x65 || code === 0x45) {
      form = "decimal";
      code = bytes[++at] ?? 0;
      at = this.digitsEnd(code === 0x2b || code === MINUS ? at + 1 : at);
    }
    this.tokenEnd = at;
    this.position = at;
    return form;
  }

  /** Steps over the string at the cursor; what it holds is not judged beyond its grammar. */
  scanString(): void {
    const bytes = this.bytes;
    let at = this.position + 1;
    this.tokenStart = at;
    this.tokenHasEscapes = false;
    this.tokenHasSurrogates = false;
    this.tokenHasOtherEscapes = false;
    const { words } = this;
    const lastWord = this.length - 4;
    let all = 0;
    for (;;) {
      while (at <= lastWord) {
        const word = words.getInt32(at, true);
        const found = endMask(word);
        if (found !== 0) {
          const bits = 24 - Math.clz32(found & -found);
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
        throw this.error(at < this.length ? "a control character in a string" : "expected the end of a string", at);
      } else {
        all |= code;
        at++;
      }
    }
    this.tokenIsAscii = (all & 0x80808080) === 0;
    this.tokenEnd = at;
    this.position = at + 1;
  }

  /** Refuses a token that no string of text can be. */
  checkToken(): void {
    if (!this.isValidUtf8 && !this.tokenIsAscii && !isUtf8(this.bytes.subarray(this.tokenStart, this.tokenEnd))) {
      throw this.error("a string is not UTF-8", this.tokenStart);
    }
    if (this.tokenHasEscapes && this.tokenHasSurrogates && hasLoneSurrogate(this.tokenText())) {
      throw this.error("a string holds a lone surrogate", this.tokenStart);
    }
  }

  private escapeEnd(at: number): number {
    const code = this.bytes[at] ?? 0;
    if (ESCAPE_LETTERS[code] === 0) throw this.error("an unknown escape", at);
    if (code !== LETTER_U) {
      if (code === SLASH) this.tokenHasOtherEscapes = true;
      return at + 1;
    }
    let unit = 0;
    for (let i = 1; i <= 4; i++) {
      const digit = hexValue(this.bytes[at + i] ?? 0);
      if (digit < 0) throw this.error("expected four hexadecimal digits", at + i);
      unit = unit * 16 + digit;
    }
    if (unit >= 0xd800 && unit <= 0xdfff) this.tokenHasSurrogates = true;
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
