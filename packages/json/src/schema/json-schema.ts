import type {
  AdjacentForm,
  ExternalForm,
  Form,
  JsonObject,
  JsonValue,
  MemberForm,
  ObjectForm,
  TaggedForm,
  VariantForm,
} from "../shapes/form.js";
import { jsonText } from "./json-text.js";

/** The definitions of one schema by their names, each before those that it refers to. */
type Definitions = Map<string, JsonObject>;

const NULL: JsonObject = { type: "null" };

/**
 * Returns the JSON Schema (draft 2020-12) of a form. It describes what the reader accepts: a reference to a definition for every
 * object that has a name, and one subschema for each variant of a union.
 */
export function jsonSchema(form: Form): JsonObject {
  const definitions: Definitions = new Map();
  const schema = contentOf(form, definitions);
  return definitions.size === 0 ? schema : { ...schema, $defs: Object.fromEntries(definitions) };
}

/** Returns a reference to the definition of a form, or the schema of a form without a name. */
function schemaOf(form: Form, definitions: Definitions): JsonObject {
  const name = nameOf(form);
  if (name === undefined) return contentOf(form, definitions);
  const known = definitions.get(name);
  if (known === undefined) definitions.set(name, {});
  const content = contentOf(form, definitions);
  if (known === undefined) definitions.set(name, content);
  else if (jsonText(known) !== jsonText(content)) throw new TypeError(`two different shapes have the name ${name}`);
  return { $ref: `#/$defs/${name}` };
}

function nameOf(form: Form): string | undefined {
  if ("label" in form) return titleOf(form.label).split(" ").map(capitalized).join("");
  return "name" in form ? form.name : undefined;
}

function contentOf(form: Form, definitions: Definitions): JsonObject {
  switch (form.kind) {
    case "value":
      return form.schema;
    case "list":
      return { type: "array", items: schemaOf(form.element, definitions) };
    case "map":
      return {
        type: "object",
        propertyNames: schemaOf(form.names, definitions),
        additionalProperties: schemaOf(form.item, definitions),
      };
    case "object":
      return objectSchema(titleOf(form.label), {}, form, definitions);
    case "tagged":
      return { title: titleOf(form.label), oneOf: form.variants.map((one) => taggedSchema(form, one, definitions)) };
    case "adjacent":
      return { title: titleOf(form.label), oneOf: form.variants.map((one) => adjacentSchema(form, one, definitions)) };
    case "external":
      return externalSchema(form, definitions);
    case "choice":
      return { anyOf: form.options.map((option) => schemaOf(option, definitions)) };
  }
}

function taggedSchema({ label, tag }: TaggedForm, variant: VariantForm, definitions: Definitions): JsonObject {
  return objectSchema(variantTitle(label, variant), { [tag]: oneOfNames(variant.names) }, variant.content, definitions);
}

function adjacentSchema(form: AdjacentForm, variant: VariantForm, definitions: Definitions): JsonObject {
  const { label, tag, contentName } = form;
  const title = variantTitle(label, variant);
  const content = objectSchema(`content of ${title}`, {}, variant.content, definitions);
  return {
    title,
    type: "object",
    properties: { [tag]: oneOfNames(variant.names), [contentName]: content },
    required: [tag, contentName],
  };
}

function externalSchema({ label, names, variants }: ExternalForm, definitions: Definitions): JsonObject {
  const objects = variants.map((variant): JsonObject => {
    const title = variantTitle(label, variant);
    const name = variant.names[0] ?? "";
    return {
      title,
      type: "object",
      properties: { [name]: objectSchema(`content of ${title}`, {}, variant.content, definitions) },
      required: [name],
      additionalProperties: false,
    };
  });
  return { title: titleOf(label), oneOf: [schemaOf(names, definitions), ...objects] };
}

/** Returns the schema of an object. `tags` are its members that are not members of the form; they are required. */
function objectSchema(
  title: string,
  tags: Readonly<Record<string, JsonObject>>,
  { members, isClosed }: ObjectForm,
  definitions: Definitions,
): JsonObject {
  const properties: Record<string, JsonObject> = { ...tags };
  const required = Object.keys(tags);
  const flattened: JsonObject[] = [];
  for (const member of members) {
    if (member.isFlattened) {
      flattened.push(schemaOf(member.value, definitions));
      continue;
    }
    properties[member.name] = memberSchema(member, definitions);
    if (member.isRequired) required.push(member.name);
  }
  return {
    title,
    type: "object",
    ...(Object.keys(properties).length > 0 ? { properties } : {}),
    ...(required.length > 0 ? { required } : {}),
    ...(isClosed ? { additionalProperties: false } : {}),
    ...(flattened.length > 0 ? { allOf: flattened } : {}),
  };
}

function memberSchema(member: MemberForm, definitions: Definitions): JsonObject {
  const { value, accepted, isNullAbsent, isComputed, defaultValue } = member;
  const schema = accepted === undefined ? schemaOf(value, definitions) : oneOfValues(accepted);
  const acceptsAll = Object.keys(schema).length === 0;
  return {
    ...(isComputed ? { $comment: "Canonical JSON has a computed value here." } : {}),
    ...(isNullAbsent && !acceptsAll ? { anyOf: [schema, NULL] } : schema),
    ...(defaultValue === undefined ? {} : { default: defaultValue }),
  };
}

function oneOfNames(names: readonly string[]): JsonObject {
  return { type: "string", ...oneOfValues(names) };
}

function oneOfValues(values: readonly JsonValue[]): JsonObject {
  const [first, ...others] = values;
  return first !== undefined && others.length === 0 ? { const: first } : { enum: values };
}

function variantTitle(label: string, { names }: VariantForm): string {
  return `${names[0]} ${titleOf(label)}`;
}

/** Returns a label without its articles. */
function titleOf(label: string): string {
  return label
    .split(" ")
    .filter((word) => word !== "a" && word !== "an" && word !== "the")
    .join(" ");
}

function capitalized(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
