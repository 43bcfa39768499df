import { Buffer } from "node:buffer";

import { CLOSE_OBJECT, COLON, OPEN_OBJECT, QUOTE } from "./ascii.js";
import { JsonError, inside } from "./json-error.js";
import type { JsonReader } from "./reader.js";
import type { Field, Fields } from "./field.js";
import type { MemberShape, Shape } from "./shape.js";
import { Struct } from "./struct.js";
import { skipValue } from "./skip.js";
import type { JsonWriter } from "./writer.js";

/** One alternative of a union; in the model it is told by `kind`. */
export interface Tagged {
  readonly kind: string;
}

/** The alternatives of a union and the members of each, in the order of writing. */
export type Variants<T extends Tagged> = {
  readonly [K in T["kind"]]: Fields<Omit<Extract<T, { readonly kind: K }>, "kind">>;
};

interface Variant {
  readonly kind: string;
  readonly struct: Struct<object>;
  /** `"tag":"kind"` and the same after a comma. */
  readonly first: Uint8Array;
  readonly next: Uint8Array;
}

/**
 * An object whose members depend on one of them, the tag. The tag may stand anywhere and is written first. The reference
 * keeps such an object in memory to find the tag, hence the strictness inside.
 */
class TaggedUnion<T extends Tagged> implements MemberShape<T> {
  private readonly variants: ReadonlyMap<string, Variant>;
  private readonly accepted: ReadonlyMap<string, Variant>;
  private readonly tag: Uint8Array;

  constructor(
    readonly label: string,
    private readonly tagName: string,
    tables: Readonly<Record<string, Readonly<Record<string, Field<unknown>>>>>,
    aliases: Readonly<Record<string, string>>,
  ) {
    this.tag = Buffer.from(tagName);
    const variants = Object.entries(tables).map(([kind, fields]): [string, Variant] => {
      const first = Buffer.from(`${JSON.stringify(tagName)}:${JSON.stringify(kind)}`);
      const next = Buffer.concat([Buffer.from(","), first]);
      return [kind, { kind, struct: new Struct<object>(label, fields), first, next }];
    });
    this.variants = new Map(variants);
    const renamed = Object.entries(aliases).flatMap(([alias, kind]): [string, Variant][] => {
      const variant = this.variants.get(kind);
      return variant === undefined ? [] : [[alias, variant]];
    });
    this.accepted = new Map([...variants, ...renamed]);
  }

  read(reader: JsonReader): T {
    reader.openObject();
    return this.readMembers(reader);
  }

  readMembers(reader: JsonReader): T {
    reader.bufferingDepth++;
    const start = reader.position;
    const { depth } = reader;
    let isFirst = true;
    while (reader.nextMember(isFirst)) {
      if (reader.tokenIs(this.tag)) {
        const variant = this.readTag(reader);
        if (!isFirst) {
          reader.position = start;
          reader.depth = depth;
        }
        const tag = { name: this.tag, isRead: isFirst };
        const value = variant.struct.readInto({ kind: variant.kind }, reader, start, tag) as T;
        reader.bufferingDepth--;
        return value;
      }
      isFirst = false;
      skipValue(reader);
    }
    throw reader.error(`${this.tagName} is missing`, reader.position - 1);
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
    const variant = this.variants.get(value.kind);
    if (variant === undefined) throw JsonError.at(this.refusal(value.kind), undefined, this.tagName);
    out.writeLiteral(isEmpty ? variant.first : variant.next);
    return variant.struct.writeMembers(value, out, false);
  }

  skipCanonical(reader: JsonReader): boolean {
    return (
      reader.openCanonical(OPEN_OBJECT) &&
      this.skipCanonicalMembers(reader, true) &&
      reader.closeCanonical(CLOSE_OBJECT)
    );
  }

  skipCanonicalMembers(reader: JsonReader, isFirst: boolean): boolean {
    for (const variant of this.variants.values()) {
      if (!reader.skipLiteral(isFirst ? variant.first : variant.next)) continue;
      return variant.struct.skipCanonicalMembers(reader, false);
    }
    return false;
  }

  private readTag(reader: JsonReader): Variant {
    try {
      const text = reader.readString();
      const variant = this.accepted.get(text);
      if (variant === undefined) throw reader.error(this.refusal(text), reader.tokenStart);
      return variant;
    } catch (error) {
      throw inside(error, this.tagName);
    }
  }

  private refusal(text: unknown): string {
    return `expected one of ${[...this.variants.keys()].join(", ")}, not ${JSON.stringify(text)}`;
  }
}

/** A union of the model, each of whose alternatives has its table. `aliases` name other spellings that are read. */
export function taggedUnion<T extends Tagged>(
  label: string,
  tag: string,
  variants: Variants<T>,
  aliases: Readonly<Record<string, string>> = {},
): MemberShape<T> {
  return new TaggedUnion<T>(label, tag, variants, aliases);
}

/** A union that the model does not name, read only to be written again. */
export function opaqueUnion(
  label: string,
  tag: string,
  variants: Readonly<Record<string, Readonly<Record<string, Field<unknown>>>>>,
  aliases: Readonly<Record<string, string>> = {},
): MemberShape<Tagged> {
  return new TaggedUnion<Tagged>(label, tag, variants, aliases);
}

/** A plain name, or for an alternative with members an object with that name as its only member. */
export function externallyTagged<T extends Tagged>(
  label: string,
  names: Shape<string>,
  tables: Readonly<Record<string, Readonly<Record<string, Field<unknown>>>>>,
): Shape<T> {
  const structs = Object.entries(tables).map(([kind, fields]) => ({
    kind,
    name: Buffer.from(kind),
    struct: new Struct<object>(label, fields),
  }));
  return {
    label,
    read(reader) {
      if (reader.peek() === QUOTE) return { kind: names.read(reader) } as T;
      reader.openObject();
      if (!reader.nextMember(true)) throw reader.error(`expected ${label}`, reader.position - 1);
      const found = structs.find(({ name }) => reader.tokenIs(name));
      if (found === undefined) throw reader.error(`expected ${label}`, reader.tokenStart);
      const value = readUnder(found, reader);
      if (reader.nextMember(false)) throw reader.error("expected the end of the object", reader.tokenStart);
      return value as T;
    },
    write(value, out) {
      if (typeof value !== "object" || value === null) throw JsonError.at(`expected ${label}`);
      const found = structs.find(({ kind }) => kind === value.kind);
      if (found === undefined) {
        names.write(value.kind, out);
        return;
      }
      out.depth++;
      out.writeByte(OPEN_OBJECT);
      out.writeQuoted(found.kind);
      out.writeByte(COLON);
      writeUnder(found, value, out);
      out.writeByte(CLOSE_OBJECT);
      out.depth--;
    },
  };
}

interface NamedStruct {
  readonly kind: string;
  readonly struct: Struct<object>;
}

function readUnder({ kind, struct }: NamedStruct, reader: JsonReader): object {
  try {
    reader.openObject();
    return struct.readInto({ kind }, reader, reader.position, undefined);
  } catch (error) {
    throw inside(error, kind);
  }
}

function writeUnder({ kind, struct }: NamedStruct, value: object, out: JsonWriter): void {
  try {
    struct.write(value, out);
  } catch (error) {
    throw inside(error, kind);
  }
}
