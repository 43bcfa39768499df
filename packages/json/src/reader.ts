import { CLOSE_LIST, CLOSE_OBJECT, COLON, COMMA, OPEN_LIST, OPEN_OBJECT, QUOTE } from "./ascii.js";
import { Cursor } from "./cursor.js";
import { GAP_BYTE, type Gap, type Gaps } from "./gaps.js";

const MAX_DEPTH = 127;

/** Steps through the values of one JSON text; the shapes drive it. */
export class JsonReader extends Cursor {
  /** Containers open around the cursor, those of an enclosing document included. */
  depth: number;
  /**
   * Above zero inside a value that the reference keeps in memory as a whole before it looks at it: there ignored
   * members are held to the same rules as the others (section 15.5).
   */
  bufferingDepth = 0;

  constructor(
    source: Uint8Array | string,
    depth = 0,
    /**
     * The text is the written form of values that were read before. Its numbers are those values: reading one again could
     * give another (section 15.1).
     */
    readonly isCanonicalRawJson = false,
    private readonly gaps?: Gaps,
  ) {
    super(source);
    this.depth = depth;
  }

  /** Call it after the last value: only white space may follow. */
  finish(): void {
    this.peek();
    if (this.position < this.length) throw this.error("unexpected characters after the value");
  }

  openObject(): void {
    if (this.peek() !== OPEN_OBJECT) throw this.error("expected an object");
    this.open();
  }

  /** Steps to the value of the next member, whose name is then the token; at the closing brace false. */
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

  /** Steps to the next element; at the closing bracket false. */
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

  /** Steps over the gap right at the cursor, if there is one that may stand here. */
  skipGap(): Gap | undefined {
    if (this.gaps === undefined || this.bytes[this.position] !== GAP_BYTE) return undefined;
    const gap = this.gaps.at(this.position);
    if (gap === undefined || this.depth > gap.depth) return undefined;
    this.position++;
    return gap;
  }

  /** For a reader of the text from `start` on. */
  gapsFrom(start: number): Gaps | undefined {
    return this.gaps?.from(start);
  }

  /** Steps over `null` if it is there. */
  readNull(): boolean {
    if (this.peek() !== 0x6e) return false;
    this.readWord("null");
    return true;
  }

  readBoolean(): boolean {
    const code = this.peek();
    if (code === 0x74) this.readWord("true");
    else if (code === 0x66) this.readWord("false");
    else throw this.error("expected true or false");
    return code === 0x74;
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

  /** Makes the string at the cursor the token, checked but not decoded. */
  scanValidString(): void {
    if (this.peek() !== QUOTE) throw this.error("expected a string");
    this.scanString();
    this.checkToken();
  }

  /** Enters a container that opens right at the cursor. */
  openCanonical(code: number): boolean {
    if (this.bytes[this.position] !== code) return false;
    this.open();
    return true;
  }

  /** Leaves a container that closes right at the cursor. */
  closeCanonical(code: number): boolean {
    if (this.bytes[this.position] !== code) return false;
    this.position++;
    this.depth--;
    return true;
  }

  private open(): void {
    if (++this.depth > MAX_DEPTH) throw this.error(`nested deeper than ${MAX_DEPTH} levels`);
    this.position++;
  }
}
