import fc from "fast-check";

import type { JsonValue } from "../shapes/form.js";

/** The way to a value inside a document: names of members and indexes of lists. */
export type Place = readonly (string | number)[];

/** Values of every type and at the limits of the numbers. */
const OTHERS: readonly JsonValue[] = [
  null,
  true,
  0,
  -1,
  1.5,
  3,
  2 ** 16,
  2 ** 32,
  "",
  "text",
  "type",
  "0198F0A0-0000-7000-8000-000000000001",
  "{0198f0a0-0000-7000-8000-000000000001}",
  "0198f0a0-0000-7000-8000-00000000000g",
  "2026-05-28 15:31:27+02:00",
  "2026-02-30T00:00:00Z",
  "2026-05-28T24:00:00Z",
  [],
  [0, 0],
  {},
];

/** Returns the places of all members and elements in a value. */
export function placesIn(value: JsonValue, place: Place = []): Place[] {
  if (typeof value !== "object" || value === null) return [];
  const steps = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
  return steps.flatMap((step) => {
    const inner = [...place, step];
    return [inner, ...placesIn((value as Record<string | number, JsonValue>)[step] ?? null, inner)];
  });
}

function valueAt(document: JsonValue, place: Place): JsonValue {
  return place.reduce((value, step) => (value as Record<string | number, JsonValue>)[step] ?? null, document);
}

/** Returns a copy of a document without one member or element, or with another value in its place. */
export function changed(document: JsonValue, place: Place, value?: JsonValue): JsonValue {
  const copy = structuredClone(document);
  const last = place[place.length - 1] ?? "";
  let owner = copy as Record<string | number, JsonValue>;
  for (const step of place.slice(0, -1)) owner = owner[step] as Record<string | number, JsonValue>;
  if (value !== undefined) owner[last] = value;
  else if (Array.isArray(owner)) owner.splice(Number(last), 1);
  else Reflect.deleteProperty(owner, last);
  return copy;
}

/** Returns documents with a few members removed, copied under another name, or replaced by other values. */
export function changesOf(documents: fc.Arbitrary<JsonValue>): fc.Arbitrary<JsonValue> {
  const change = fc.record({
    at: fc.nat(),
    isAdded: fc.boolean(),
    value: fc.option(fc.constantFrom(...OTHERS), { nil: undefined, freq: 4 }),
  });
  return fc.tuple(documents, fc.array(change, { maxLength: 2 })).map(([document, changes]) => {
    let result = document;
    for (const { at, isAdded, value } of changes) {
      const places = placesIn(result);
      const place = places[at % places.length];
      if (place === undefined) continue;
      const isMember = typeof place[place.length - 1] === "string";
      result =
        isAdded && isMember
          ? changed(result, [...place.slice(0, -1), "another member"], value ?? valueAt(result, place))
          : changed(result, place, value);
    }
    return result;
  });
}
