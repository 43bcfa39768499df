const MAX_SHOWN = 60;

/** Returns a short text for a wrong value in an error: its value if it is short, and otherwise its type. */
export function shown(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}…` : value);
    case "bigint":
      return `${String(value)}n`;
    case "object":
      return value === null ? "null" : `an object of type ${nameOfClass(value)}`;
    case "function":
      return "a function";
    case "symbol":
      return "a symbol";
    case "undefined":
    case "number":
    case "boolean":
      return String(value);
  }
}

function nameOfClass(value: object): string {
  const { constructor } = value as { readonly constructor?: unknown };
  return typeof constructor === "function" && constructor.name !== "" ? constructor.name : "Object";
}
