import type { Form, JsonObject, JsonValue, ObjectForm, VariantForm } from "../shapes/form.js";

/**
 * Returns the smallest value that the reader accepts: only required members, empty lists and maps, the first variant of each
 * union. `variant` names another variant of the form itself.
 */
export function smallest(form: Form, variant?: string): JsonValue {
  switch (form.kind) {
    case "value":
      return form.example;
    case "list":
      return [];
    case "map":
      return {};
    case "object":
      return smallestObject(form);
    case "tagged": {
      const { names, content } = chosen(form.variants, variant);
      return { [form.tag]: names[0] ?? "", ...smallestObject(content) };
    }
    case "adjacent": {
      const { names, content } = chosen(form.variants, variant);
      return { [form.tag]: names[0] ?? "", [form.contentName]: smallestObject(content) };
    }
    case "external":
      return smallest(form.names);
    case "choice":
      return smallest(firstOf(form.options));
  }
}

function smallestObject({ members }: ObjectForm): JsonObject {
  const value: Record<string, JsonValue> = {};
  for (const { name, value: form, isRequired, isFlattened, accepted } of members) {
    if (isFlattened) Object.assign(value, smallest(form));
    else if (isRequired) value[name] = accepted?.[0] ?? smallest(form);
  }
  return value;
}

function chosen(variants: readonly VariantForm[], name: string | undefined): VariantForm {
  return firstOf(name === undefined ? variants : variants.filter(({ names }) => names.includes(name)));
}

function firstOf<T>(values: readonly T[]): T {
  const [first] = values;
  if (first === undefined) throw new TypeError("expected at least one variant or option");
  return first;
}
