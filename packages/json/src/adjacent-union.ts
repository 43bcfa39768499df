import { Buffer } from "node:buffer";

import { CLOSE_OBJECT, OPEN_OBJECT } from "./ascii.js";
import type { Field } from "./field.js";
import { JsonError, inside } from "./json-error.js";
import type { JsonReader } from "./reader.js";
import type { Shape } from "./shape.js";
import { skipValue } from "./skip.js";
import { Struct } from "./struct.js";
import type { Tagged } from "./union.js";
import type { JsonWriter } from "./writer.js";

interface Variant {
  readonly kind: string;
  readonly struct: Struct<object>;
  /** `"tag":"kind","content":` */
  readonly head: Uint8Array;
}

/** An object of two members: the tag, and the content, whose members depend on it. Either may come first. */
class AdjacentUnion<T extends Tagged> implements Shape<T> {
  private readonly variants: readonly Variant[];
  private readonly tag: Uint8Array;
  private readonly content: Uint8Array;

  constructor(
    readonly label: string,
    private readonly tagName: string,
    private readonly contentName: string,
    tables: Readonly<Record<string, Readonly<Record<string, Field<unknown>>>>>,
  ) {
    this.tag = Buffer.from(tagName);
    this.content = Buffer.from(contentName);
    this.variants = Object.entries(tables).map(([kind, fields]) => ({
      kind,
      struct: new Struct<object>(`${label} of type ${kind}`, fields),
      head: Buffer.from(`"${tagName}":"${kind}","${contentName}":`),
    }));
  }

  read(reader: JsonReader): T {
    reader.openObject();
    let variant: Variant | undefined;
    let value: object | undefined;
    let contentAt = -1;
    for (let isFirst = true; reader.nextMember(isFirst); isFirst = false) {
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
        else value = this.readContent(variant, reader);
      }
    }
    if (variant === undefined) throw reader.error(`${this.tagName} is missing`, reader.position - 1);
    if (contentAt < 0) throw reader.error(`${this.contentName} is missing`, reader.position - 1);
    return (value ?? this.readBefore(contentAt, variant, reader)) as T;
  }

  write(value: T, out: JsonWriter): void {
    const variant = this.variants.find(({ kind }) => kind === value.kind);
    if (variant === undefined) throw JsonError.at(this.refusal(value.kind), undefined, this.tagName);
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
      if (reader.skipLiteral(variant.head))
        return variant.struct.skipCanonical(reader) && reader.closeCanonical(CLOSE_OBJECT);
    }
    return false;
  }

  /** Content that came before its tag. */
  private readBefore(contentAt: number, variant: Variant, reader: JsonReader): object {
    const end = reader.position;
    reader.position = contentAt;
    reader.depth++;
    const value = this.readContent(variant, reader);
    reader.position = end;
    reader.depth--;
    return value;
  }

  private readContent(variant: Variant, reader: JsonReader): object {
    try {
      reader.openObject();
      return variant.struct.readInto({ kind: variant.kind }, reader, reader.position, undefined);
    } catch (error) {
      throw inside(error, this.contentName);
    }
  }

  private readTag(reader: JsonReader): Variant {
    try {
      const text = reader.readString();
      const variant = this.variants.find(({ kind }) => kind === text);
      if (variant === undefined) throw reader.error(this.refusal(text), reader.tokenStart);
      return variant;
    } catch (error) {
      throw inside(error, this.tagName);
    }
  }

  private refusal(text: unknown): string {
    return `expected one of ${this.variants.map(({ kind }) => kind).join(", ")}, not ${JSON.stringify(text)}`;
  }
}

/** A union that the model does not name, whose members stand apart from its tag. */
export function adjacentlyTagged(
  label: string,
  tag: string,
  content: string,
  variants: Readonly<Record<string, Readonly<Record<string, Field<unknown>>>>>,
): Shape<Tagged> {
  return new AdjacentUnion<Tagged>(label, tag, content, variants);
}
