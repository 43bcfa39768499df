import { Buffer } from "node:buffer";

import { CLOSE_OBJECT, OPEN_OBJECT } from "../text/characters.js";
import { JsonError, withMissing, withProblems } from "../text/json-error.js";
import { type JsonReader, skipValue } from "../text/reader.js";
import type { JsonWriter } from "../text/writer.js";
import type { JsonValue, MemberForm, ObjectForm } from "./form.js";
import { isPlainObject } from "./plain-object.js";
import { type MemberShape, type Shape, writeDocument } from "./shape.js";

/** One member of a struct: its name, its shape, and the meaning of its absence. */
export interface Field<T> {
  readonly name: string;
  readonly shape: Shape<NonNullable<T>>;
  /** Reading a missing member: throw, leave the model's property out, or use the default value. */
  readonly onMissing: "rejected" | "absent" | "default";
  /** Reading `null`: pass it to the shape, or handle it as absent. */
  readonly onNull: "passed to the shape" | "absent";
  /** Writing a property that is undefined or null: throw, omit the member, or write `null`. */
  readonly onAbsent: "rejected" | "omitted" | "null";
  readonly defaultValue?: T;
  /** Whether writing omits the member although the value is present. */
  isEmpty?(value: unknown): boolean;
  /** Whether the members of `shape` are members of this struct in the JSON text. Then `name` is not used. */
  readonly isFlattened?: boolean;
  readonly hidden?: HiddenRules<T>;
}

/** The rules for a member that has no property in the model. */
interface HiddenRules<T> {
  /** The values that are allowed; any value when absent. Checked after all other members were read. */
  readonly allowed?: Allowed<T>;
  /** Returns the value to write. */
  compute(owner: object): T;
}

interface Allowed<T> {
  readonly values: readonly T[];
  /** Returns the contract's error text for another value. */
  problem(value: T): string;
}

/** A member that must be present and not null. */
export function required<T>(name: string, shape: Shape<NonNullable<T>>): Field<T> {
  return { name, shape, onMissing: "rejected", onNull: "passed to the shape", onAbsent: "rejected" };
}

/** A member that may be missing or null, which both mean absent. Omitted when absent. */
export function optional<T>(name: string, shape: Shape<NonNullable<T>>): Field<T> {
  return { name, shape, onMissing: "absent", onNull: "absent", onAbsent: "omitted" };
}

/** A member that may be missing or null, which both mean absent. Written as null when absent. */
export function nullable<T>(name: string, shape: Shape<NonNullable<T>>): Field<T> {
  return { name, shape, onMissing: "absent", onNull: "absent", onAbsent: "null" };
}

/** A member that must be present but may be null, which means absent. Written as null when absent. */
export function requiredNullable<T>(name: string, shape: Shape<NonNullable<T>>): Field<T> {
  return { name, shape, onMissing: "rejected", onNull: "absent", onAbsent: "null" };
}

/** A member with a default value, used when it is missing. Null is rejected. Always written. */
export function defaulted<T>(name: string, shape: Shape<NonNullable<T>>, defaultValue: NoInfer<T>): Field<T> {
  return { name, shape, onMissing: "default", onNull: "passed to the shape", onAbsent: "rejected", defaultValue };
}

/** A list that is empty when it is missing. Null is rejected. Omitted when empty. */
export function omittedWhenEmpty<E>(name: string, shape: Shape<readonly E[]>): Field<readonly E[]> {
  return {
    ...defaulted<readonly E[]>(name, shape, []),
    isEmpty: (value) => Array.isArray(value) && value.length === 0,
  };
}

/** A member that may be missing, which means absent. Null is rejected. Omitted when absent, or when `isEmpty` returns true. */
export function optionalUnless<T>(
  name: string,
  shape: Shape<NonNullable<T>>,
  isEmpty: (value: unknown) => boolean,
): Field<T> {
  return { name, shape, onMissing: "absent", onNull: "passed to the shape", onAbsent: "omitted", isEmpty };
}

/** A property of the model whose members are members of this struct in the JSON text (serde: flatten). */
export function flattened<T>(shape: MemberShape<NonNullable<T>>): Field<T> {
  return { ...required<T>("", shape), isFlattened: true };
}

/** A member without a property in the model: checked when it is read, computed when it is written. */
export function hidden<T>(field: Field<T>, rules: HiddenRules<T>): Field<T> {
  return { ...field, hidden: rules };
}

/** One field for each property of the model, in the order of writing. A hidden member has a key that begins with `_`. */
export type Fields<T> = { readonly [K in keyof T]-?: Field<T[K]> } & {
  readonly [name: `_${string}`]: Field<unknown>;
};

/** The tag of the union around a struct. It is one of the struct's members in the JSON text, but not one of its fields. */
export interface Tag {
  readonly name: Uint8Array;
  /** Whether the reader has passed the tag already. */
  readonly isRead: boolean;
}

const NULL = Buffer.from("null");
const EMPTY_LIST = Buffer.from("[]");
const EMPTY_OBJECT = Buffer.from("{}");

/** The members that were read are bits of one integer. */
const MAX_MEMBERS = 31;

/** A field with the bytes of its name in every form. Every instance has the same properties, which keeps the loops below fast. */
class Member {
  readonly name: string;
  readonly nameBytes: Uint8Array;
  /** `"name":` and `,"name":` */
  readonly first: Uint8Array;
  readonly next: Uint8Array;
  readonly shape: Shape<unknown>;
  readonly onMissing: Field<unknown>["onMissing"];
  readonly isNullAbsent: boolean;
  readonly onAbsent: Field<unknown>["onAbsent"];
  readonly isEmpty: ((value: unknown) => boolean) | undefined;
  readonly defaultValue: unknown;
  readonly isFlattened: boolean;
  readonly hidden: HiddenRules<unknown> | undefined;

  constructor(
    readonly key: string,
    field: Field<unknown>,
  ) {
    this.name = field.name;
    this.nameBytes = Buffer.from(field.name);
    this.first = Buffer.from(`${JSON.stringify(field.name)}:`);
    this.next = Buffer.concat([Buffer.from(","), this.first]);
    this.shape = field.shape;
    this.onMissing = field.onMissing;
    this.isNullAbsent = field.onNull === "absent";
    this.onAbsent = field.onAbsent;
    this.isEmpty = field.isEmpty;
    this.defaultValue = field.defaultValue;
    this.isFlattened = field.isFlattened ?? false;
    this.hidden = field.hidden;
  }

  /** Returns the error text for a value of a hidden member that is not allowed. */
  problemOf(value: unknown): string | undefined {
    const allowed = this.hidden?.allowed;
    return allowed === undefined || allowed.values.includes(value) ? undefined : allowed.problem(value);
  }

  form(): MemberForm {
    const { name, shape, isFlattened, onMissing, isNullAbsent, hidden } = this;
    return {
      name,
      value: shape.form(),
      isRequired: onMissing === "rejected",
      isNullAbsent,
      ...(onMissing === "default" ? { defaultValue: jsonOf(shape, this.defaultValue) } : {}),
      isComputed: hidden !== undefined,
      ...(hidden?.allowed ? { accepted: hidden.allowed.values.map((value) => jsonOf(shape, value)) } : {}),
      isFlattened,
    };
  }
}

/** Returns the JSON of a value that a field's table has. */
function jsonOf(shape: Shape<unknown>, value: unknown): JsonValue {
  return JSON.parse(writeDocument(shape, value).toString()) as JsonValue;
}

/** An object with known members. A repeated member is an error; an unknown one is ignored unless the struct is closed. */
export class Struct<T extends object> implements MemberShape<T> {
  private readonly members: readonly Member[];

  constructor(
    readonly label: string,
    fields: Fields<T>,
    private readonly isClosed = false,
  ) {
    this.members = Object.entries<Field<unknown>>(fields).map(([key, field]) => new Member(key, field));
    if (this.members.length > MAX_MEMBERS) throw new RangeError(`${label} has more than ${MAX_MEMBERS} members`);
  }

  form(): ObjectForm {
    const { label, isClosed, members } = this;
    return { kind: "object", label, members: members.map((member) => member.form()), isClosed };
  }

  read(reader: JsonReader): T {
    reader.openObject();
    return this.readMembers(reader);
  }

  readMembers(reader: JsonReader): T {
    return this.readInto({}, reader, reader.position, undefined);
  }

  /**
   * Reads the members into `value`, up to and including the closing brace. `start` is the position after the opening brace:
   * flattened members are read from there, in a pass of their own. `tag` is the tag of an enclosing union.
   */
  readInto(value: Record<string, unknown>, reader: JsonReader, start: number, tag: Tag | undefined): T {
    let seen = 0;
    let expected = 0;
    let isTagRead = tag?.isRead ?? false;
    let problem: string | undefined;
    let missing: JsonError | undefined;
    for (let isFirst = !isTagRead; ; isFirst = false) {
      let step: string | undefined;
      try {
        let index = this.skipCanonicalName(reader, expected, isFirst);
        if (index < 0) {
          if (!reader.nextMember(isFirst)) break;
          index = this.indexOfToken(reader);
        }
        const member = this.members[index];
        if (member === undefined) {
          isTagRead = this.skipUnknown(reader, tag, isTagRead) || isTagRead;
          continue;
        }
        step = member.name;
        if ((seen & (1 << index)) !== 0) throw reader.error("the member is repeated");
        seen |= 1 << index;
        expected = index + 1;
        if (member.isNullAbsent && reader.readNull()) continue;
        const item = member.shape.read(reader);
        if (member.hidden === undefined) value[member.key] = item;
        else problem = member.problemOf(item) ?? problem;
      } catch (error) {
        missing = withMissing(missing, error, step);
      }
    }
    for (let index = 0; index < this.members.length; index++) {
      const member = this.members[index];
      if (member === undefined || (seen & (1 << index)) !== 0) continue;
      try {
        if (member.isFlattened) value[member.key] = readFlattened(reader, start, member.shape);
        else if (member.onMissing === "rejected") throw JsonError.missing(member.name, reader.position - 1);
        else if (member.onMissing === "default" && member.hidden === undefined) value[member.key] = member.defaultValue;
        else if (member.onMissing === "default") problem = member.problemOf(member.defaultValue) ?? problem;
      } catch (error) {
        missing = withMissing(missing, error);
      }
    }
    if (missing !== undefined) throw missing;
    if (problem !== undefined) throw JsonError.rule(problem);
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
    if (!isPlainObject(value)) throw JsonError.at(`expected ${this.label}`);
    const record = value as Readonly<Record<string, unknown>>;
    const { depth } = out;
    let isFirst = isEmpty;
    let problems: JsonError | undefined;
    for (const member of this.members) {
      try {
        const item = member.hidden === undefined ? record[member.key] : member.hidden.compute(value);
        const isAbsent = item === undefined || item === null;
        if (isAbsent && member.onAbsent === "omitted") continue;
        if (isAbsent && member.onAbsent === "rejected") throw JsonError.at(`expected ${member.shape.label}`);
        if (member.isEmpty !== undefined && member.isEmpty(item)) continue;
        if (member.isFlattened) {
          isFirst = (member.shape as MemberShape<unknown>).writeMembers(item, out, isFirst);
          continue;
        }
        out.writeLiteral(isFirst ? member.first : member.next);
        isFirst = false;
        if (isAbsent) out.writeLiteral(NULL);
        else member.shape.write(item, out);
      } catch (error) {
        problems = withProblems(problems, error, member.isFlattened ? undefined : member.name);
        out.depth = depth;
      }
    }
    if (problems !== undefined) throw problems;
    return isFirst;
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
      } else if (member.onAbsent === "omitted" || member.isEmpty !== undefined) {
        continue;
      } else {
        return false;
      }
      isEmpty = false;
    }
    return true;
  }

  /**
   * Skips the name of the next member if it has its canonical form, without spaces, and is at or after the position `expected`
   * in the order of the members. Returns the member's index. Otherwise returns -1 and does not move the reader.
   */
  private skipCanonicalName(reader: JsonReader, expected: number, isFirst: boolean): number {
    const members = this.members;
    for (let index = expected; index < members.length; index++) {
      const member = members[index];
      if (member === undefined || member.isFlattened) continue;
      if (reader.skipLiteral(isFirst ? member.first : member.next)) return index;
    }
    return -1;
  }

  private indexOfToken(reader: JsonReader): number {
    return this.members.findIndex((member) => !member.isFlattened && reader.tokenIs(member.nameBytes));
  }

  /** Skips a member without a field. Returns whether it was the tag. */
  private skipUnknown(reader: JsonReader, tag: Tag | undefined, isTagRead: boolean): boolean {
    const isTag = tag !== undefined && reader.tokenIs(tag.name);
    if (isTag && isTagRead) throw reader.error("the tag is repeated", reader.tokenStart);
    if (!isTag && this.isClosed) {
      throw reader.error(`unknown member ${JSON.stringify(reader.tokenText())}`, reader.tokenStart);
    }
    skipValue(reader);
    return isTag;
  }
}

/** Reads a flattened shape from all members of the object, in a second pass. */
function readFlattened(reader: JsonReader, start: number, shape: Shape<unknown>): unknown {
  reader.position = start;
  reader.depth++;
  return (shape as MemberShape<unknown>).readMembers(reader);
}

/** Skips a member's value when it is canonical and not a value for which the member would be omitted. */
function skipCanonicalItem(reader: JsonReader, member: Member): boolean {
  if (member.isNullAbsent && reader.skipLiteral(NULL)) return member.onAbsent === "null";
  if (member.isEmpty !== undefined && (reader.skipLiteral(EMPTY_LIST) || reader.skipLiteral(EMPTY_OBJECT)))
    return false;
  return member.shape.skipCanonical?.(reader) === true;
}

/** Describes an object. The model type is inferred from the fields, or, when it is given, the fields are checked against it. */
export function struct<T extends object>(label: string, fields: Fields<T>): Struct<T> {
  return new Struct(label, fields);
}

/** Describes an object that must not have unknown members. */
export function closedStruct<T extends object>(label: string, fields: Fields<T>): Struct<T> {
  return new Struct(label, fields, true);
}
