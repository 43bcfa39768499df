import fc from "fast-check";
import type { DocumentPart } from "@bolthole/contract";
import type { PlacedList } from "../transcript/incremental/session-index.js";

/** Texts that change the meaning of the bytes around them. */
const TOKENS = [
  ...["{", "}", "[", "]", ",", ":", '"', "0"],
  "\\",
  "\0",
  " ",
  '"messages":',
  '"messages":[],',
  '"metadata":{},',
  '"metadata":{"session_transcript_history_state_v1":',
  "[[[[",
  "]]]]",
  "null",
  "1.0",
  "é",
  '{"role":"user","content":"more","created_at":"2026-05-28T15:31:27Z"}',
].map((text) => Buffer.from(text));

/** A random edit of a document's parts. The result may be any text. */
export const EDIT = fc.record({
  kind: fc.constantFrom("insert", "cut", "drop", "repeat", "swap", "move", "messages", "messages", "messages"),
  place: fc.nat(10_000),
  other: fc.nat(10_000),
  token: fc.constantFrom(...TOKENS),
});
export type EditOfParts = typeof EDIT extends fc.Arbitrary<infer T> ? T : never;

/** Copies messages of one list before, after or over a message of the same or another list, or removes a message. */
function movedMessages(
  parts: readonly DocumentPart[],
  { place, other }: EditOfParts,
  lists: readonly PlacedList[],
): DocumentPart[] {
  const from = lists[place % lists.length];
  const to = lists[other % lists.length];
  if (!from || !to) return [...parts];
  const start = (place >> 2) % from.list.length;
  const end = Math.min(from.list.length - 1, start + ((other >> 4) % 3));
  const offset = from.at + (from.list.starts[start] ?? 0);
  const run = { offset, length: from.at + (from.list.ends[end] ?? 0) - offset };
  const target = (other >> 2) % to.list.length;
  // If this is the first edit, offsets in the stored document are valid in the new one up to the first change.
  const [before, rest] = splitAt(parts, to.at + (to.list.starts[target] ?? 0));
  const [message, after] = splitAt(rest, (to.list.ends[target] ?? 0) - (to.list.starts[target] ?? 0));
  const comma = Buffer.from(",");
  switch ((place >> 5) % 4) {
    case 0:
      return [...before, run, comma, ...message, ...after];
    case 1:
      return [...before, ...message, comma, run, ...after];
    case 2:
      return [...before, run, ...after];
    default:
      // Removes the message and the comma after it.
      return [...before, ...splitAt(after, 1)[1]];
  }
}

/** Applies an edit to the copied ranges and new bytes of a document, without regard to the JSON in them. */
export function edited(
  parts: readonly DocumentPart[],
  edit: EditOfParts,
  lists: readonly PlacedList[],
): DocumentPart[] {
  const { kind, place, other, token } = edit;
  const length = parts.reduce((total, part) => total + part.length, 0);
  if (length === 0) return [...parts];
  const [before, after] = splitAt(parts, place % length);
  const index = place % parts.length;
  const another = other % parts.length;
  switch (kind) {
    case "messages":
      return movedMessages(parts, edit, lists);
    case "insert":
      return [...before, token, ...after];
    case "cut":
      return [...before, ...splitAt(after, Math.min(other % 40, length - (place % length)))[1]];
    case "drop":
      return parts.filter((_, at) => at !== index);
    case "repeat":
      return parts.flatMap((part, at) => (at === index ? [part, part] : [part]));
    case "swap":
      return parts.map((part, at) => (at === index ? parts[another] : at === another ? parts[index] : part) ?? part);
    case "move": {
      const part = parts[another];
      return part ? [...before, part, ...after] : [...parts];
    }
  }
}

function splitAt(parts: readonly DocumentPart[], place: number): [DocumentPart[], DocumentPart[]] {
  const before: DocumentPart[] = [];
  const after: DocumentPart[] = [];
  let at = 0;
  for (const part of parts) {
    const here = Math.max(0, Math.min(part.length, place - at));
    const [head, tail] =
      part instanceof Uint8Array
        ? [part.subarray(0, here), part.subarray(here)]
        : [
            { offset: part.offset, length: here },
            { offset: part.offset + here, length: part.length - here },
          ];
    if (head.length > 0) before.push(head);
    if (tail.length > 0) after.push(tail);
    at += part.length;
  }
  return [before, after];
}
