import { createHash } from "node:crypto";

/** Names a record's content, whatever order its members came in; absent and undefined members are the same. */
export const digestOf = (value: unknown): string => digestOfBytes(Buffer.from(normal(value)));

export const digestOfBytes = (bytes: Uint8Array): string =>
  createHash("sha256").update(bytes).digest("base64").slice(0, 22);

function normal(value: unknown): string {
  if (typeof value === "bigint") return `${value.toString()}n`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(normal).join()}]`;
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${normal(member)}`);
  return `{${members.join()}}`;
}
