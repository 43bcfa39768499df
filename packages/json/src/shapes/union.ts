import { Buffer } from "node:buffer";

import { CLOSE_OBJECT, COLON, OPEN_OBJECT, QUOTE } from "../text/characters.js";
import { JsonError, inside, withMissing } from "../text/json-error.js";
import { type JsonReader, skipValue } from "../text/reader.js";
import { shown } from "../text/shown.js";
import type { JsonWriter } from "../text/writer.js";
import type { AdjacentForm, TaggedForm, VariantForm } from "./form.js";
import { isPlainObject } from "./plain-object.js";
import type { MemberShape, Shape } from "./shape.js";
import { type Field, type Fields, Struct } from "./struct.js";

/** A value of a union. In the model, `kind` names the variant. */
export interface Tagged {
  readonly kind: string;
}

/** The members of each variant of a union that is a type of the model, in the order of writing. */
export type Variants<T extends Tagged> = {
  readonly [K in T["kind"]]: Fields<Omit<Extract<T, { readonly kind: K }>, "kind">>;
};

/** The same for a union without a type in the model. */
type OpaqueVariants = Readonly<Record<string, Readonly<Record<string, Field<unknown>>>>>;

/** Other names of variants that reading accepts: from the name to the variant. */
type Aliases = Readonly<Record<string, string>>;

/**
 * An object whose members depend on one of them, the tag (serde: internally tagged). The tag may be at any place and is
 * written first. `aliases` are other names that reading accepts for a variant.
 */
export function taggedUnion<T extends Tagged>(
  label: string,
  tag: string,
  variants: Variants<T>,
  aliases: Aliases = {},
): MemberShape<T> {
  return new TaggedUnion<T>(label, tag, variants, aliases);
}

/** Describes a tagged union without a type in the model: it is only read to be written again. */
export function opaqueUnion(
  label: string,
  tag: string,
  variants: OpaqueVariants,
  aliases: Aliases = {},
): MemberShape<Tagged> {
  return new TaggedUnion<Tagged>(label, tag, variants, aliases);
}

/** An object of two members: the tag, and an object whose members depend on it (serde: adjacently tagged). In any order. */
export function adjacentlyTagged(label: string, tag: string, content: string, variants: OpaqueVariants): Shape<Tagged> {
  return new AdjacentUnion(label, tag, content, variants);
}

/** A name, or for a variant with members an object with that name as its only member (serde: externally tagged). */
export function externallyTagged<T extends Tagged>(
  label: string,
  names: Shape<string>,
  variants: OpaqueVariants,
): Shape<T> {
  const structs = Object.entries(variants).map(([kind, fields]) => ({
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
      let missing: JsonError | undefined;
      let value: object | undefined;
      try {
        value = readContent(found, reader, found.kind);
      } catch (error) {
        missing = withMissing(missing, error);
      }
      try {
        if (reader.nextMember(false)) throw reader.error("expected the end of the object", reader.tokenStart);
      } catch (error) {
        missing = withMissing(missing, error);
      }
      if (missing !== undefined) throw missing;
      return value as T;
    },
    write(value, out) {
      if (!isPlainObject(value)) throw JsonError.at(`expected ${label}`);
      const found = structs.find(({ kind }) => kind === value.kind);
      if (found === undefined) {
        names.write(value.kind, out);
        return;
      }
      out.depth++;
      out.writeByte(OPEN_OBJECT);
      out.writeQuoted(found.kind);
      out.writeByte(COLON);
      try {
        found.struct.write(value, out);
      } catch (error) {
        throw inside(error, found.kind);
      }
      out.writeByte(CLOSE_OBJECT);
      out.depth--;
    },
    form: () => ({ kind: "external", label, names: names.form(), variants: structs.map(variantForm) }),
  };
}

interface Variant {
  readonly kind: string;
  readonly struct: Struct<object>;
}

function variantForm({ kind, struct }: Variant): VariantForm {
  return { names: [kind], content: struct.form() };
}

interface TaggedVariant extends Variant {
  /** `"tag":"kind"` and the same after a comma. */
  readonly first: Uint8Array;
  readonly next: Uint8Array;
}

/** The shape of a tagged union. The reference buffers the object to find the tag, so everything inside is checked strictly. */
class TaggedUnion<T extends Tagged> implements MemberShape<T> {
  private readonly variants: ReadonlyMap<string, TaggedVariant>;
  /** The same, with the aliases. */
  private readonly accepted: ReadonlyMap<string, TaggedVariant>;
  private readonly tag: Uint8Array;

  constructor(
    readonly label: string,
    private readonly tagName: string,
    tables: OpaqueVariants,
    aliases: Aliases,
  ) {
    this.tag = Buffer.from(tagName);
    const variants = Object.entries(tables).map(([kind, fields]): [string, TaggedVariant] => {
      const first = Buffer.from(`${JSON.stringify(tagName)}:${JSON.stringify(kind)}`);
      const next = Buffer.concat([Buffer.from(","), first]);
      return [kind, { kind, struct: new Struct<object>(label, fields), first, next }];
    });
    this.variants = new Map(variants);
    const renamed = Object.entries(aliases).flatMap(([alias, kind]): [string, TaggedVariant][] => {
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
    try {
      return this.readBuffered(reader);
    } finally {
      reader.bufferingDepth--;
    }
  }

  private readBuffered(reader: JsonReader): T {
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
        return variant.struct.readInto({ kind: variant.kind }, reader, start, tag) as T;
      }
      isFirst = false;
      skipValue(reader);
    }
    throw JsonError.missing(this.tagName, reader.position - 1);
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
    const variant = this.variants.get(value.kind);
    if (variant === undefined)
      throw JsonError.at(unknownKind(this.variants.keys(), value.kind), undefined, this.tagName);
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

  form(): TaggedForm {
    const { label, tagName: tag, variants, accepted } = this;
    const namesOf = (variant: TaggedVariant): string[] =>
      [...accepted].flatMap(([name, named]) => (named === variant ? [name] : []));
    return {
      kind: "tagged",
      label,
      tag,
      variants: [...variants.values()].map((one) => ({ names: namesOf(one), content: one.struct.form() })),
    };
  }

  private readTag(reader: JsonReader): TaggedVariant {
    try {
      const text = reader.readString();
      const variant = this.accepted.get(text);
      if (variant === undefined) throw reader.error(unknownKind(this.variants.keys(), text), reader.tokenStart);
      return variant;
    } catch (error) {
      throw inside(error, this.tagName);
    }
  }
}

interface AdjacentVariant extends Variant {
  /** `"tag":"kind","content":` */
  readonly head: Uint8Array;
}

class AdjacentUnion implements Shape<Tagged> {
  private readonly variants: readonly AdjacentVariant[];
  private readonly tag: Uint8Array;
  private readonly content: Uint8Array;

  constructor(
    readonly label: string,
    private readonly tagName: string,
    private readonly contentName: string,
    tables: OpaqueVariants,
  ) {
    this.tag = Buffer.from(tagName);
    this.content = Buffer.from(contentName);
    this.variants = Object.entries(tables).map(([kind, fields]) => ({
      kind,
      struct: new Struct<object>(`${label} of type ${kind}`, fields),
      head: Buffer.from(`"${tagName}":"${kind}","${contentName}":`),
    }));
  }

  read(reader: JsonReader): Tagged {
    reader.openObject();
    let variant: AdjacentVariant | undefined;
    let value: object | undefined;
    let missing: JsonError | undefined;
    let contentAt = -1;
    for (let isFirst = true; ; isFirst = false) {
      try {
        if (!reader.nextMember(isFirst)) break;
        if (reader.tokenIs(this.tag)) {
          if (variant !== undefined) throw reader.error("the tag is repeated", reader.tokenStart);
          variant = this.readTag(reader);
        } else if (!reader.tokenIs(this.content)) {
          skipValue(reader);
        } else if (contentAt >= 0) {
          throw reader.error(`${this.contentName} is repeated`, reader.tokenStart);
        } else {
          contentAt = reader.position;
          if (variant === undefined) skipValue(reader);
          else value = readContent(variant, reader, this.contentName);
        }
      } catch (error) {
        missing = withMissing(missing, error);
      }
    }
    if (missing !== undefined) throw missing;
    if (variant === undefined) throw JsonError.missing(this.tagName, reader.position - 1);
    if (contentAt < 0) throw JsonError.missing(this.contentName, reader.position - 1);
    return (value ?? this.readContentAt(contentAt, variant, reader)) as Tagged;
  }

  write(value: Tagged, out: JsonWriter): void {
    const variant = this.variants.find(({ kind }) => kind === value.kind);
    if (variant === undefined) throw JsonError.at(unknownKind(this.kinds(), value.kind), undefined, this.tagName);
    out.depth++;
    out.writeByte(OPEN_OBJECT);
    out.writeLiteral(variant.head);
    variant.struct.write(value, out);
    out.writeByte(CLOSE_OBJECT);
    out.depth--;
  }

  skipCanonical(reader: JsonReader): boolean {
    if (!reader.openCanonical(OPEN_OBJECT)) return false;
    for (const variant of this.variants) {
      if (reader.skipLiteral(variant.head)) {
        return variant.struct.skipCanonical(reader) && reader.closeCanonical(CLOSE_OBJECT);
      }
    }
    return false;
  }

  form(): AdjacentForm {
    const { label, tagName: tag, contentName, variants } = this;
    return { kind: "adjacent", label, tag, contentName, variants: variants.map(variantForm) };
  }

  /** Reads content that precedes its tag, in a second pass. */
  private readContentAt(position: number, variant: AdjacentVariant, reader: JsonReader): object {
    const end = reader.position;
    reader.position = position;
    reader.depth++;
    try {
      return readContent(variant, reader, this.contentName);
    } finally {
      reader.position = end;
      reader.depth--;
    }
  }

  private readTag(reader: JsonReader): AdjacentVariant {
    try {
      const text = reader.readString();
      const variant = this.variants.find(({ kind }) => kind === text);
      if (variant === undefined) throw reader.error(unknownKind(this.kinds(), text), reader.tokenStart);
      return variant;
    } catch (error) {
      throw inside(error, this.tagName);
    }
  }

  private kinds(): string[] {
    return this.variants.map(({ kind }) => kind);
  }
}

/** Reads the object that holds a variant's members. `member` is its name, for errors. */
function readContent({ kind, struct }: Variant, reader: JsonReader, member: string): object {
  try {
    reader.openObject();
    return struct.readInto({ kind }, reader, reader.position, undefined);
  } catch (error) {
    throw inside(error, member);
  }
}

function unknownKind(kinds: Iterable<string>, found: unknown): string {
  return `expected one of ${[...kinds].join(", ")}, found ${shown(found)}`;
}
