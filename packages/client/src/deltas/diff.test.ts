import { createHash } from "node:crypto";
import fc from "fast-check";
import type { DocumentPart } from "@bolthole/contract";
import { diff } from "./diff.js";
import type { PatchLimits } from "./pieces.js";

const LIMITS: PatchLimits = { patchPieces: 4096, patchInsertBytes: 1024 * 1024 };

const apply = (base: Buffer, parts: readonly DocumentPart[]): Buffer =>
  Buffer.concat(
    parts.map((part) => (part instanceof Uint8Array ? part : base.subarray(part.offset, part.offset + part.length))),
  );

const insertedIn = (parts: readonly DocumentPart[]): number =>
  parts.reduce((total, part) => total + (part instanceof Uint8Array ? part.length : 0), 0);

/** Text that comes nowhere else. */
function prose(seed: string, length: number): string {
  let text = "";
  for (let n = 0; text.length < length; n++) {
    text += createHash("sha256")
      .update(`${seed} ${String(n)}`)
      .digest("base64");
  }
  return text.slice(0, length);
}

/** Checks the result to the byte, and answers how many bytes are new in it. */
function newBytes(base: Buffer, next: Buffer): number {
  const parts = diff(base, next, LIMITS);
  if (!parts) throw new Error("there is no diff");
  expect(apply(base, parts).equals(next)).toBe(true);
  return insertedIn(parts);
}

// --- any bytes ---

/** Few different bytes and many repeated stretches: as ambiguous as can be. */
const texts = fc
  .array(fc.oneof(fc.constantFrom("a".repeat(40), "ab".repeat(30), "{}", prose("x", 70)), fc.string()), {
    maxLength: 60,
  })
  .map((parts) => Buffer.from(parts.join("")));

type Edit = readonly [from: number, length: number, to: number, text: string];

/** Cuts, moves and copies of stretches, and new text. */
const edits = fc.array(
  fc.tuple(fc.nat(5000), fc.nat(3000), fc.nat(5000), fc.oneof(fc.constant(""), fc.string({ maxLength: 200 }))),
  { maxLength: 6 },
);

function edited(base: Buffer, [from, length, to, text]: Edit): Buffer {
  const moved = base.subarray(from, from + length);
  const rest = length % 2 === 0 ? Buffer.concat([base.subarray(0, from), base.subarray(from + length)]) : base;
  return Buffer.concat([rest.subarray(0, to), Buffer.from(text), moved, rest.subarray(to)]);
}

const within = (parts: readonly DocumentPart[], base: Buffer): boolean =>
  parts.every(
    (part) =>
      part instanceof Uint8Array || (part.length > 0 && part.offset >= 0 && part.offset + part.length <= base.length),
  );

test("the pieces make the new document, whatever the two are", () => {
  fc.assert(
    fc.property(texts, texts, (base, next) => {
      const parts = diff(base, next, LIMITS) ?? [];
      expect(within(parts, base)).toBe(true);
      expect(apply(base, parts).equals(next)).toBe(true);
    }),
  );
});

test("the pieces make an edited document, and hold the limits or are not given", () => {
  const large = Buffer.from(prose("large", 20_000));
  fc.assert(
    fc.property(
      fc.oneof(texts, fc.constant(large)),
      edits,
      fc.nat(40),
      fc.nat(500),
      (base, changes, patchPieces, patchInsertBytes) => {
        const next = changes.reduce(edited, base);
        const parts = diff(base, next, { patchPieces, patchInsertBytes });
        if (parts) {
          expect(apply(base, parts).equals(next)).toBe(true);
          expect(within(parts, base)).toBe(true);
          expect(parts.length).toBeLessThanOrEqual(patchPieces);
          expect(insertedIn(parts)).toBeLessThanOrEqual(patchInsertBytes);
        }
        expect(diff(base, next, { patchPieces: next.length + 1, patchInsertBytes: next.length })).toBeDefined();
      },
    ),
    { numRuns: 300 },
  );
});

test("equal documents are one piece, and an empty one is none", () => {
  const document = Buffer.from(prose("one", 200_000));
  expect(diff(document, Buffer.from(document), LIMITS)).toEqual([{ offset: 0, length: document.length }]);
  expect(diff(document, Buffer.alloc(0), LIMITS)).toEqual([]);
  expect(newBytes(Buffer.alloc(0), document)).toBe(document.length);
});

// --- documents of the reference's shape ---

interface Message {
  readonly role: string;
  readonly content: string;
}

const message = (n: number, length = 3000): Message => ({
  role: n % 2 === 0 ? "user" : "system",
  content: prose(`message ${String(n)}`, length),
});
const messages = (count: number): Message[] => Array.from({ length: count }, (_, n) => message(n));

/** One body of a history: members in alphabetical order, in `messages` too. */
const body = (list: readonly Message[], turn: number) => ({
  created_at: { nanos_since_epoch: turn * 1001, secs_since_epoch: 1779982287 + turn },
  messages: list.map(({ role, content }) => ({ content, role })),
  parent_revision: `sha256:${createHash("sha256")
    .update(String(turn - 1))
    .digest("hex")}`,
  revision: `sha256:${createHash("sha256").update(String(turn)).digest("hex")}`,
});

function document(list: readonly Message[], turn: number, bodies: readonly object[] = []): Buffer {
  const history = {
    commits: bodies.slice(0, 2).map((_, n) => ({ actor: prose(`commit ${String(n)}`, 600) })),
    head: createHash("sha256").update(String(turn)).digest("hex"),
    revisions: bodies,
  };
  const time = { secs_since_epoch: 1779982287, nanos_since_epoch: 123456789 };
  return Buffer.from(
    JSON.stringify({
      version: 2,
      id: "0198f0a0-0000-7000-8000-000000000001",
      messages: list,
      created_at: time,
      updated_at: { secs_since_epoch: 1779982287 + turn, nanos_since_epoch: turn * 1001 },
      metadata: bodies.length === 0 ? {} : { session_transcript_history_state_v1: history },
      usage: { input_tokens: turn * 317, output_tokens: turn * 211 },
    }),
  );
}

/** What may come on top of the new text: the edited numbers, and what is between edits that are near one another. */
const AROUND = 1000;

test("a turn costs its new messages", () => {
  const before = messages(400);
  const added = message(400, 2000);
  expect(newBytes(document(before, 1), document([...before, added], 2))).toBeLessThan(2000 + AROUND);
});

test("so does one with a long tool result", () => {
  const before = messages(400);
  const added = message(400, 100_000);
  expect(newBytes(document(before, 1), document([...before, added], 2))).toBeLessThan(100_000 + AROUND);
});

test("a new body of a history costs no more than what it has beyond an older one", () => {
  const before = messages(300);
  const list = [...before, message(300, 2000)];
  const bodies = [body(before.slice(0, 250), 1), body(before.slice(0, 200), 2), body(before, 3)];
  const next = document(list, 4, [...bodies, body(list, 4)]);
  expect(newBytes(document(before, 3, bodies), next)).toBeLessThan(2 * 2000 + 2 * AROUND);
});

test("a rewrite that takes most messages out costs what it puts in their place", () => {
  const before = messages(400);
  const summary = message(1000, 2000);
  const list = [before[0] ?? summary, summary, ...before.slice(300)];
  expect(newBytes(document(before, 1), document(list, 2))).toBeLessThan(2000 + AROUND);
});

test("messages that moved are found where they were", () => {
  const before = messages(100);
  const list = [...before.slice(50), ...before.slice(0, 50)];
  expect(newBytes(document(before, 1), document(list, 2))).toBeLessThan(2 * AROUND);
});

test("documents with nothing in common are given up", () => {
  const base = Buffer.from(prose("base", 3_000_000));
  expect(diff(base, Buffer.from(prose("next", 3_000_000)), LIMITS)).toBeUndefined();
});
