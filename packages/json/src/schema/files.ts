import type { JsonObject } from "../shapes/form.js";
import { DOCUMENTS, type SchemaDocument } from "./documents.js";
import { jsonSchema } from "./json-schema.js";
import { jsonText } from "./json-text.js";
import { smallest } from "./smallest.js";

/** A generated file: its path in the folder `schemas`, and its JSON without white space. */
export interface SchemaFile {
  readonly path: string;
  readonly text: string;
}

/** Returns the schema of every document, and the smallest example of every document and of every variant of one. */
export function schemaFiles(): readonly SchemaFile[] {
  return DOCUMENTS.flatMap((document) => [
    { path: `${document.name}.schema.json`, text: jsonText(documentSchema(document)) },
    ...examplesOf(document),
  ]);
}

/** Returns the complete schema of a document. */
export function documentSchema({ title, description, comment, shape, rules }: SchemaDocument): JsonObject {
  const { $defs, ...schema } = jsonSchema(shape.form());
  const head = { $schema: "https://json-schema.org/draft/2020-12/schema", title, description, $comment: comment };
  return {
    // Twice: for the first place, and for the title of the document in place of that of its shape.
    ...head,
    ...schema,
    ...head,
    ...(rules === undefined ? {} : { allOf: rules }),
    ...($defs === undefined ? {} : { $defs }),
  };
}

/** Returns the examples of a document: `NAME.json`, or for a union one for each variant, `NAME-VARIANT.json`. */
export function examplesOf({ name, shape }: SchemaDocument): readonly SchemaFile[] {
  const form = shape.form();
  if (form.kind !== "tagged") return [{ path: `examples/${name}.json`, text: jsonText(smallest(form)) }];
  return form.variants.map(({ names: [variant = ""] }) => ({
    path: `examples/${name}-${variant}.json`,
    text: jsonText(smallest(form, variant)),
  }));
}
