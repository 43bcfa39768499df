import fc from "fast-check";

import type { Form, JsonObject, JsonValue, ObjectForm, ValueForm, VariantForm } from "../shapes/form.js";

/** Returns random documents of a form: with and without the optional members, of all variants, with unknown members. */
export function documentsOf(form: Form): fc.Arbitrary<JsonValue> {
  switch (form.kind) {
    case "value":
      return valuesOf(form);
    case "list":
      return fc.array(documentsOf(form.element), { maxLength: 3 });
    case "map":
      return fc.dictionary(fc.uuid(), documentsOf(form.item), { maxKeys: 2 });
    case "object":
      return objectsOf(form);
    case "tagged":
      return fc.oneof(
        ...named(form.variants).map(([name, content]) =>
          objectsOf(content).map((members) => ({ [form.tag]: name, ...members })),
        ),
      );
    case "adjacent":
      return fc.oneof(
        ...named(form.variants).map(([name, content]) =>
          objectsOf(content).map((members) => ({ [form.contentName]: members, [form.tag]: name })),
        ),
      );
    case "external":
      return fc.oneof(
        documentsOf(form.names),
        ...named(form.variants).map(([name, content]) => objectsOf(content).map((members) => ({ [name]: members }))),
      );
    case "choice":
      return fc.oneof(...form.options.map(documentsOf));
  }
}

const named = (variants: readonly VariantForm[]): [name: string, content: ObjectForm][] =>
  variants.flatMap(({ names, content }) => names.map((name): [string, ObjectForm] => [name, content]));

const ANY_VALUE = fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<JsonValue>;
const ANY_OBJECT = fc.dictionary(fc.string({ maxLength: 4 }), ANY_VALUE, { maxKeys: 2 }) as fc.Arbitrary<JsonObject>;

/** The largest integer that JavaScript reads exactly. */
const MAX_EXACT = Number.MAX_SAFE_INTEGER;

function valuesOf({ schema, example }: ValueForm): fc.Arbitrary<JsonValue> {
  const { type, enum: values, maximum, pattern, properties, minLength } = schema;
  if (Array.isArray(values)) return fc.constantFrom(...(values as readonly JsonValue[]));
  if (type === "integer") return fc.integer({ min: 0, max: Math.min(Number(maximum), MAX_EXACT) });
  if (type === "number") return fc.double({ noNaN: true, noDefaultInfinity: true });
  if (type === "boolean") return fc.boolean();
  if (type === "string" && pattern === undefined) return fc.string({ minLength: Number(minLength ?? 0), maxLength: 6 });
  if (type === "object" && properties === undefined) return ANY_OBJECT;
  return type === undefined ? ANY_VALUE : fc.constant(example);
}

function objectsOf({ members, isClosed }: ObjectForm): fc.Arbitrary<JsonObject> {
  const model: Record<string, fc.Arbitrary<JsonValue>> = {};
  const parts: fc.Arbitrary<JsonObject>[] = [];
  for (const { name, value, accepted, isNullAbsent, isFlattened } of members) {
    const values = accepted === undefined ? documentsOf(value) : fc.constantFrom(...accepted);
    if (isFlattened) parts.push(values as fc.Arbitrary<JsonObject>);
    else model[name] = isNullAbsent ? fc.option(values, { nil: null, freq: 9 }) : values;
  }
  if (!isClosed) model["a member that no shape knows"] = ANY_VALUE;
  const requiredKeys = members.flatMap(({ name, isRequired, isFlattened }) =>
    isRequired && !isFlattened ? [name] : [],
  );
  const own = fc.record(model, { requiredKeys, noNullPrototype: true }) as fc.Arbitrary<JsonObject>;
  return fc.tuple(own, ...parts).map((all) => Object.assign({}, ...all) as JsonObject);
}
