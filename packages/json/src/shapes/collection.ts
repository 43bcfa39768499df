import { Buffer } from "node:buffer";

import { CLOSE_LIST, CLOSE_OBJECT, COLON, COMMA, OPEN_LIST, OPEN_OBJECT } from "../text/characters.js";
import { JsonError, inside, withMissing, withProblems } from "../text/json-error.js";
import { shown } from "../text/shown.js";
import type { JsonWriter } from "../text/writer.js";
import { isPlainObject } from "./plain-object.js";
import type { Shape } from "./shape.js";
import { UUID, canonicalUuid } from "./scalar.js";

const COMMA_BYTES = Buffer.from(",");

export function list<T>(element: Shape<T>): Shape<readonly T[]> {
  return {
    label: "a list",
    form: () => ({ kind: "list", element: element.form() }),
    read(reader) {
      reader.openList();
      const values: T[] = [];
      let missing: JsonError | undefined;
      for (let index = 0; ; index++) {
        try {
          if (!reader.nextElement(index === 0)) break;
          values.push(element.read(reader));
        } catch (error) {
          missing = withMissing(missing, error, index);
        }
      }
      if (missing !== undefined) throw missing;
      return values;
    },
    write(values, out) {
      if (!Array.isArray(values)) throw JsonError.at("expected a list");
      out.depth++;
      const { depth } = out;
      out.writeByte(OPEN_LIST);
      let problems: JsonError | undefined;
      let index = 0;
      for (const value of values as readonly T[]) {
        if (index > 0) out.writeByte(COMMA);
        try {
          element.write(value, out);
        } catch (error) {
          problems = withProblems(problems, error, index);
          out.depth = depth;
        }
        index++;
      }
      if (problems !== undefined) throw problems;
      out.writeByte(CLOSE_LIST);
      out.depth--;
    },
    skipCanonical(reader) {
      if (element.skipCanonical === undefined || !reader.openCanonical(OPEN_LIST)) return false;
      if (reader.closeCanonical(CLOSE_LIST)) return true;
      do {
        if (!element.skipCanonical(reader)) return false;
      } while (reader.skipLiteral(COMMA_BYTES));
      return reader.closeCanonical(CLOSE_LIST);
    },
  };
}

/** An object whose member names are UUIDs. Of two spellings of one UUID the last wins. Written in the order of the UUIDs. */
export function uuidMap<T>(item: Shape<T>): Shape<Readonly<Record<string, T>>> {
  return {
    label: "an object keyed by UUIDs",
    form: () => ({ kind: "map", names: UUID.form(), item: item.form() }),
    read(reader) {
      reader.openObject();
      const values: Record<string, T> = {};
      let missing: JsonError | undefined;
      let step: string | undefined;
      for (let isFirst = true; ; isFirst = false) {
        try {
          if (!reader.nextMember(isFirst)) break;
          const offset = reader.tokenStart;
          step = reader.tokenText();
          const key = canonicalUuid(step);
          if (key === undefined) throw reader.error("expected a UUID as the name", offset);
          values[key] = item.read(reader);
        } catch (error) {
          missing = withMissing(missing, error, step);
        }
      }
      if (missing !== undefined) throw missing;
      return values;
    },
    write(values, out) {
      if (!isPlainObject(values)) throw JsonError.at("expected an object keyed by UUIDs");
      out.depth++;
      out.writeByte(OPEN_OBJECT);
      writeSorted(withCanonicalKeys(values), item, out);
      out.writeByte(CLOSE_OBJECT);
      out.depth--;
    },
  };
}

function withCanonicalKeys<T>(values: Readonly<Record<string, T>>): Map<string, T> {
  const byKey = new Map<string, T>();
  for (const [name, value] of Object.entries(values)) {
    const key = canonicalUuid(name);
    if (key === undefined) throw JsonError.at(`expected a UUID as the name, found ${shown(name)}`);
    byKey.set(key, value);
  }
  return byKey;
}

function writeSorted<T>(byKey: ReadonlyMap<string, T>, item: Shape<T>, out: JsonWriter): void {
  let step = "";
  let index = 0;
  try {
    for (const [key, value] of [...byKey].sort(([left], [right]) => (left < right ? -1 : 1))) {
      step = key;
      if (index++ > 0) out.writeByte(COMMA);
      out.writeQuoted(key);
      out.writeByte(COLON);
      item.write(value, out);
    }
  } catch (error) {
    throw inside(error, step);
  }
}
