import { Buffer } from "node:buffer";

import { CLOSE_OBJECT, OPEN_OBJECT } from "./ascii.js";
import type { Field, Fields } from "./field.js";
import { JsonError, inside } from "./json-error.js";
import type { JsonReader } from "./reader.js";
import type { MemberShape, Shape } from "./shape.js";
import { skipValue } from "./skip.js";
import type { JsonWriter } from "./writer.js";

/** A field as the loops below use it: every one with the same properties, which keeps them fast. */
class Member {
  readonly name: string;
  readonly nameBytes: Uint8Array;
  /** `"name":` and `,"name":` */
  readonly first: Uint8Array;
  readonly next: Uint8Array;
  readonly shape: Shape<unknown>;
  readonly missing: Field<unknown>["onMissing"];
  readonly isNullAbsent: boolean;
  readonly absent: Field<unknown>["onAbsent"];
  readonly isEmpty: ((value: unknown) => boolean) | undefined;
  readonly fallback: unknown;
  readonly isFlattened: boolean;
  readonly hidden: Field<unknown>["hidden"];

  constructor(
    readonly key: string,
    field: Field<unknown>,
  ) {
    this.name = field.name;
    this.nameBytes = Buffer.from(field.name);
    this.first = Buffer.from(`${JSON.stringify(field.name)}:`);
    this.next = Buffer.concat([Buffer.from(","), this.first]);
    this.shape = field.shape;
    this.missing = field.onMissing;
    this.isNullAbsent = field.onNull === "absent";
    this.absent = field.onAbsent;
    this.isEmpty = field.isEmpty;
    this.fallback = field.defaultValue;
    this.isFlattened = field.isFlattened ?? false;
    this.hidden = field.hidden;
  }
}

const NULL = Buffer.from("null");

/** The tag of a union around a struct: it stands among the struct's members. */
export interface Tag {
  readonly name: Uint8Array;
  /** Whether the cursor has passed it already. */
  readonly isRead: boolean;
}

/** An object with known members. Unknown ones are passed over, unless the struct is closed; a repeated one is an error. */
export class Struct<T extends object> implements MemberShape<T> {
  private readonly members: readonly Member[];

  constructor(
    readonly label: string,
    fields: Fields<T>,
    private readonly isClosed = false,
  ) {
    this.members = Object.entries<Field<unknown>>(fields).map(([key, field]) => new Member(key, field));
    if (this.members.length > 31) throw new RangeError(`${label} has more members than bits to mark them`);
  }

  read(reader: JsonReader): T {
    reader.openObject();
    return this.readMembers(reader);
  }

  readMembers(reader: JsonReader): T {
    return this.readInto({}, reader, reader.position, undefined);
  }

  /** `start` is the place after the opening brace, to which flattened members go back. */
  readInto(value: Record<string, unknown>, reader: JsonReader, start: number, tag: Tag | undefined): T {
    let seen = 0;
    let expected = 0;
    let isTagRead = tag?.isRead ?? false;
    let verdict: string | undefined;
    let step = "";
    try {
      for (let isFirst = !isTagRead; ; isFirst = false) {
        let index = this.skipCanonicalName(reader, expected, isFirst);
        if (index < 0) {
          if (!reader.nextMember(isFirst)) break;
          index = this.indexOfToken(reader);
        }
        const member = this.members[index];
        if (member === undefined) {
          step = "";
          isTagRead = this.passOver(reader, tag, isTagRead) || isTagRead;
          continue;
        }
        step = member.name;
        if ((seen & (1 << index)) !== 0) throw reader.error("the member is repeated");
        seen |= 1 << index;
        expected = index + 1;
        if (member.isNullAbsent && reader.readNull()) continue;
        const item = member.shape.read(reader);
        if (member.hidden === undefined) value[member.key] = item;
        else verdict = member.hidden.verdict?.(item) ?? verdict;
      }
      step = "";
      for (let index = 0; index < this.members.length; index++) {
        const member = this.members[index];
        if (member === undefined || (seen & (1 << index)) !== 0) continue;
        if (member.isFlattened) value[member.key] = readAgain(reader, start, member.shape);
        else if (member.missing === "refused") throw reader.error(`${member.name} is missing`, reader.position - 1);
        else if (member.missing === "fallback" && member.hidden === undefined) value[member.key] = member.fallback;
        else if (member.missing === "fallback") verdict = member.hidden?.verdict?.(member.fallback) ?? verdict;
      }
    } catch (error) {
      throw step === "" ? error : inside(error, step);
    }
    if (verdict !== undefined) throw JsonError.rule(verdict);
    return value as T;
  }

  write(value: T, out: JsonWriter): void {
    out.depth++;
    out.writeByte(OPEN_OBJECT);
    this.writeMembers(value, out, true);
    out.writeByte(CLOSE_OBJECT);
    out.depth--;
  }

  writeMembers(value: T, out: JsonWriter, isEmpty: boolean): boolean {
    if (typeof value !== "object" || value === null) throw JsonError.at(`expected ${this.label}`);
    const record = value as Readonly<Record<string, unknown>>;
    let isFirst = isEmpty;
    let step = "";
    try {
      for (const member of this.members) {
        step = member.name;
        const item = member.hidden === undefined ? record[member.key] : member.hidden.compute(value);
        const isAbsent = item === undefined || item === null;
        if (isAbsent && member.absent === "omitted") continue;
        if (isAbsent && member.absent === "refused") throw JsonError.at(`expected ${member.shape.label}`);
        if (member.isEmpty !== undefined && member.isEmpty(item)) continue;
        if (member.isFlattened) {
          isFirst = (member.shape as MemberShape<unknown>).writeMembers(item, out, isFirst);
          continue;
        }
        out.writeLiteral(isFirst ? member.first : member.next);
        isFirst = false;
        if (isAbsent) out.writeLiteral(NULL);
        else member.shape.write(item, out);
      }
    } catch (error) {
      throw step === "" ? error : inside(error, step);
    }
    return isFirst;
  }

  /** Finds the next member as it is when it was written by us: in order, without spaces. Otherwise -1, nothing is read. */
  private skipCanonicalName(reader: JsonReader, expected: number, isFirst: boolean): number {
    const members = this.members;
    for (let index = expected; index < members.length; index++) {
      const member = members[index];
      if (member === undefined || member.isFlattened) continue;
      if (reader.skipLiteral(isFirst ? member.first : member.next)) return index;
    }
    return -1;
  }

  skipCanonical(reader: JsonReader): boolean {
    return (
      reader.openCanonical(OPEN_OBJECT) &&
      this.skipCanonicalMembers(reader, true) &&
      reader.closeCanonical(CLOSE_OBJECT)
    );
  }

  skipCanonicalMembers(reader: JsonReader, isFirst: boolean): boolean {
    let isEmpty = isFirst;
    for (const member of this.members) {
      if (member.hidden !== undefined) return false;
      if (member.isFlattened) {
        if (!(member.shape as MemberShape<unknown>).skipCanonicalMembers(reader, isEmpty)) return false;
      } else if (reader.skipLiteral(isEmpty ? member.first : member.next)) {
        if (!skipCanonicalItem(reader, member)) return false;
      } else if (member.absent === "omitted" || member.isEmpty !== undefined) {
        continue;
      } else {
        return false;
      }
      isEmpty = false;
    }
    return true;
  }

  private indexOfToken(reader: JsonReader): number {
    return this.members.findIndex((member) => !member.isFlattened && reader.tokenIs(member.nameBytes));
  }

  /** Steps over a member without a field; true when it was the tag. */
  private passOver(reader: JsonReader, tag: Tag | undefined, isTagRead: boolean): boolean {
    const isTag = tag !== undefined && reader.tokenIs(tag.name);
    if (isTag && isTagRead) throw reader.error("the tag is repeated", reader.tokenStart);
    if (!isTag && this.isClosed) {
      throw reader.error(`an unknown member ${JSON.stringify(reader.tokenText())}`, reader.tokenStart);
    }
    skipValue(reader);
    return isTag;
  }
}

/** Reads a flattened shape from all the members of the object once more. */
function readAgain(reader: JsonReader, start: number, shape: Shape<unknown>): unknown {
  reader.position = start;
  reader.depth++;
  return (shape as MemberShape<unknown>).readMembers(reader);
}

/** A struct whose model type is inferred from its fields, or checked against them when it is given. */
export function struct<T extends object>(label: string, fields: Fields<T>): Struct<T> {
  return new Struct(label, fields);
}

/** A struct that refuses members it does not know. */
export function closedStruct<T extends object>(label: string, fields: Fields<T>): Struct<T> {
  return new Struct(label, fields, true);
}

const EMPTY_LIST = Buffer.from("[]");
const EMPTY_OBJECT = Buffer.from("{}");

/** Whether a member's value is written, and is not one for which the member would have been left out. */
function skipCanonicalItem(reader: JsonReader, member: Member): boolean {
  if (member.isNullAbsent && reader.skipLiteral(NULL)) return member.absent === "null";
  if (member.isEmpty !== undefined && (reader.skipLiteral(EMPTY_LIST) || reader.skipLiteral(EMPTY_OBJECT)))
    return false;
  return member.shape.skipCanonical?.(reader) === true;
}
