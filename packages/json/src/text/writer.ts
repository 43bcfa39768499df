import { Buffer } from "node:buffer";

import { BACKSLASH, QUOTE, SPACE, ZERO, isSurrogate, isSurrogatePair, writeControlEscape } from "./characters.js";
import { JsonError } from "./json-error.js";

/** Space for the worst case of escapes is reserved for this many UTF-16 units at a time, not for a whole long text. */
const CHUNK = 4096;

/** The most bytes that one UTF-16 unit becomes: a `\u` escape. */
const LONGEST_ESCAPE = 6;

/** Above this length a native copy is faster than a loop. */
const NATIVE_COPY = 64;

/** Builds one JSON text in UTF-8, in a buffer that grows. */
export class JsonWriter {
  length = 0;
  /** The number of containers around the next value. */
  depth = 0;
  /** The text up to `length`, then free space. Replaced when it grows and reused by the next text: do not keep it. */
  bytes: Buffer;
  /** False when the text may contain other than ASCII characters. */
  private isAscii = true;

  constructor(capacity = 4096) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
  }

  get capacity(): number {
    return this.bytes.length;
  }

  reset(): void {
    this.length = 0;
    this.depth = 0;
    this.isAscii = true;
  }

  writeByte(code: number): void {
    if (this.length === this.bytes.length) this.reserve(1);
    this.bytes[this.length++] = code;
  }

  /** Copies bytes that are valid JSON already. */
  writeRaw(source: Buffer, from = 0, to = source.length): void {
    const length = to - from;
    this.reserve(length);
    const bytes = this.bytes;
    const start = this.length - from;
    this.length += length;
    if (length > NATIVE_COPY) {
      this.isAscii = false;
      source.copy(bytes, start + from, from, to);
      return;
    }
    let all = 0;
    for (let i = from; i < to; i++) {
      const code = source[i] ?? 0;
      all |= code;
      bytes[start + i] = code;
    }
    if (all >= 0x80) this.isAscii = false;
  }

  /** Copies a few ASCII bytes that were prepared once, such as a member name. */
  writeLiteral(source: Uint8Array): void {
    const length = source.length;
    this.reserve(length);
    const bytes = this.bytes;
    const start = this.length;
    for (let i = 0; i < length; i++) bytes[start + i] = source[i] ?? 0;
    this.length = start + length;
  }

  /** Writes a JSON text of ASCII characters, such as a number. */
  writeAscii(text: string): void {
    const length = text.length;
    this.reserve(length);
    const bytes = this.bytes;
    const start = this.length;
    for (let i = 0; i < length; i++) bytes[start + i] = text.charCodeAt(i);
    this.length = start + length;
  }

  /**
   * Writes a string that needs no escapes, such as an id. Returns false when it contains other than ASCII characters: then
   * the bytes are wrong, and the caller must reset `length`.
   */
  writeQuoted(text: string): boolean {
    const length = text.length;
    this.reserve(length + 2);
    const bytes = this.bytes;
    let at = this.length;
    let all = 0;
    bytes[at++] = QUOTE;
    for (let i = 0; i < length; i++) {
      const unit = text.charCodeAt(i);
      all |= unit;
      bytes[at++] = unit;
    }
    bytes[at++] = QUOTE;
    this.length = at;
    return all < 0x80;
  }

  writeUnsigned(value: number): void {
    if (value < 10) this.writeByte(ZERO + value);
    else this.writeAscii(String(value));
  }

  /** Writes any string in canonical form. Throws a `JsonError` when it contains a lone surrogate. */
  writeString(text: string): void {
    const length = text.length;
    this.reserve(length + 2);
    const bytes = this.bytes;
    let at = this.length;
    bytes[at++] = QUOTE;
    for (let i = 0; i < length; i++) {
      const unit = text.charCodeAt(i);
      if (unit < SPACE || unit === QUOTE || unit === BACKSLASH || unit >= 0x80) {
        this.length = at;
        this.writeStringRest(text, i);
        this.writeByte(QUOTE);
        return;
      }
      bytes[at++] = unit;
    }
    bytes[at++] = QUOTE;
    this.length = at;
  }

  /** Removes the bytes from `start` on and returns them, for a caller that writes them again in another order. */
  cutFrom(start: number): Buffer {
    const cut = Buffer.from(this.bytes.subarray(start, this.length));
    this.length = start;
    return cut;
  }

  /** Returns a copy of the text. */
  toBuffer(): Buffer {
    return Buffer.from(this.bytes.subarray(0, this.length));
  }

  toString(): string {
    return this.bytes.toString(this.isAscii ? "latin1" : "utf8", 0, this.length);
  }

  private writeStringRest(text: string, from: number): void {
    for (let start = from; start < text.length;) {
      start = this.writeStringChunk(text, start, Math.min(start + CHUNK, text.length));
    }
  }

  /** Writes from `start` to `end`, or one unit more to keep a surrogate pair together. Returns the end of that part. */
  private writeStringChunk(text: string, start: number, end: number): number {
    this.reserve((end - start + 1) * LONGEST_ESCAPE);
    const bytes = this.bytes;
    let at = this.length;
    let i = start;
    for (; i < end; i++) {
      const unit = text.charCodeAt(i);
      if (unit === QUOTE || unit === BACKSLASH) {
        bytes[at++] = BACKSLASH;
        bytes[at++] = unit;
      } else if (unit < SPACE) {
        at = writeControlEscape(bytes, at, unit);
      } else if (unit < 0x80) {
        bytes[at++] = unit;
      } else if (unit < 0x800) {
        this.isAscii = false;
        bytes[at++] = 0xc0 | (unit >> 6);
        bytes[at++] = 0x80 | (unit & 0x3f);
      } else if (!isSurrogate(unit)) {
        this.isAscii = false;
        bytes[at++] = 0xe0 | (unit >> 12);
        bytes[at++] = 0x80 | ((unit >> 6) & 0x3f);
        bytes[at++] = 0x80 | (unit & 0x3f);
      } else {
        this.isAscii = false;
        const next = text.charCodeAt(++i);
        if (!isSurrogatePair(unit, next)) throw JsonError.at("a string contains a lone surrogate");
        const point = 0x10000 + ((unit - 0xd800) << 10) + (next - 0xdc00);
        bytes[at++] = 0xf0 | (point >> 18);
        bytes[at++] = 0x80 | ((point >> 12) & 0x3f);
        bytes[at++] = 0x80 | ((point >> 6) & 0x3f);
        bytes[at++] = 0x80 | (point & 0x3f);
      }
    }
    this.length = at;
    return i;
  }

  private reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }
}

/** One writer is kept for the next text, unless a large text made its buffer larger than this. */
const KEPT_CAPACITY = 256 * 1024;
let spare: JsonWriter | undefined;

/**
 * Calls `write` with an empty writer at a depth, then `finish` with the same writer, and returns the result of `finish`. The
 * writer is used again later, so `finish` must return a copy. Calls may be nested.
 */
export function withWriter<R>(depth: number, write: (out: JsonWriter) => void, finish: (out: JsonWriter) => R): R {
  const out = spare ?? new JsonWriter();
  spare = undefined;
  out.reset();
  out.depth = depth;
  try {
    write(out);
    return finish(out);
  } finally {
    if (out.capacity <= KEPT_CAPACITY) spare = out;
  }
}
