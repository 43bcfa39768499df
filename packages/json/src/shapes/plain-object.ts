/**
 * Whether a value is an object with members, and no list, date, map, promise or another built-in object, which a caller without
 * types may pass. An instance of a class is one.
 */
export function isPlainObject(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  // Most objects are literals. The text of the others, and of literals of another realm, is slower.
  return (
    Object.getPrototypeOf(value) === Object.prototype || Object.prototype.toString.call(value) === "[object Object]"
  );
}
