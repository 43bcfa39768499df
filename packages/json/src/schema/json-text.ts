import type { JsonValue } from "../shapes/form.js";

/** Returns the JSON text of a value, without white space and in ASCII: integers are exact, and no character is invisible. */
export function jsonText(value: JsonValue): string {
  if (typeof value === "bigint") return String(value);
  if (typeof value === "string") return asciiString(value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${(value as readonly JsonValue[]).map(jsonText).join(",")}]`;
  const members = Object.entries(value as Readonly<Record<string, JsonValue>>);
  return `{${members.map(([name, member]) => `${asciiString(name)}:${jsonText(member)}`).join(",")}}`;
}

function asciiString(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
