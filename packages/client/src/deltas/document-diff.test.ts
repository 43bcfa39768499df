import { createHash } from "node:crypto";
import fc from "fast-check";
import type { DocumentPart } from "@bolthole/contract";
import { uniqueText } from "../testing/shared-store.js";
import { type PatchLimits, diffDocuments } from "./document-diff.js";

const LIMITS: PatchLimits = { patchPieces: 4096, patchInsertBytes: 1024 * 1024 };

const apply = (base: Buffer, parts: readonly DocumentPart[]): Buffer =>
  Buffer.concat(
    parts.map((part) => (part instanceof Uint8Array ? part : base.subarray(part.offset, part.offset + part.length))),
  );

const insertedBytes = (parts: readonly DocumentPart[]): number =>
  parts.reduce((total, part) => total + (part instanceof Uint8Array ? part.length : 0), 0);

/** Checks that the diff makes the new document, and returns how many new bytes the diff has. */
function newBytes(base: Buffer, next: Buffer): number {
  const parts = diffDocuments(base, next, LIMITS);
  if (!parts) throw new Error("expected a diff within the limits, found none");
  expect(apply(base, parts).equals(next)).toBe(true);
  return insertedBytes(parts);
}

// --- any bytes ---

/** Texts of few different bytes with many repetitions, so that most places are ambiguous. */
const texts = fc
  .array(fc.oneof(fc.constantFrom("a".repeat(40), "ab".repeat(30), "{}", uniqueText("x", 70)), fc.string()), {
    maxLength: 60,
  })
  .map((parts) => Buffer.from(parts.join("")));

type Edit = readonly [from: number, length: number, to: number, text: string];

/** Removed, moved and copied ranges, and new text. */
const edits = fc.array(
  fc.tuple(fc.nat(5000), fc.nat(3000), fc.nat(5000), fc.oneof(fc.constant(""), fc.string({ maxLength: 200 }))),
  { maxLength: 6 },
);

function edited(base: Buffer, [from, length, to, text]: Edit): Buffer {
  const moved = base.subarray(from, from + length);
  const rest = length % 2 === 0 ? Buffer.concat([base.subarray(0, from), base.subarray(from + length)]) : base;
  return Buffer.concat([rest.subarray(0, to), Buffer.from(text), moved, rest.subarray(to)]);
}

const areWithin = (parts: readonly DocumentPart[], base: Buffer): boolean =>
  parts.every(
    (part) =>
      part instanceof Uint8Array || (part.length > 0 && part.offset >= 0 && part.offset + part.length <= base.length),
  );

test("a diff of any two documents makes the new document", () => {
  fc.assert(
    fc.property(texts, texts, (base, next) => {
      const parts = diffDocuments(base, next, LIMITS) ?? [];
      expect(areWithin(parts, base)).toBe(true);
      expect(apply(base, parts).equals(next)).toBe(true);
    }),
  );
});

test("a diff of an edited document makes the document within the limits, or is undefined", () => {
  const large = Buffer.from(uniqueText("large", 20_000));
  fc.assert(
    fc.property(
      fc.oneof(texts, fc.constant(large)),
      edits,
      fc.nat(40),
      fc.nat(500),
      (base, changes, patchPieces, patchInsertBytes) => {
        const next = changes.reduce(edited, base);
        const parts = diffDocuments(base, next, { patchPieces, patchInsertBytes });
        if (parts) {
          expect(apply(base, parts).equals(next)).toBe(true);
          expect(areWithin(parts, base)).toBe(true);
          expect(parts.length).toBeLessThanOrEqual(patchPieces);
          expect(insertedBytes(parts)).toBeLessThanOrEqual(patchInsertBytes);
        }
        expect(
          diffDocuments(base, next, { patchPieces: next.length + 1, patchInsertBytes: next.length }),
        ).toBeDefined();
      },
    ),
    { numRuns: 300 },
  );
});

test("equal documents differ by one range of the base, and an empty document by no part", () => {
  const document = Buffer.from(uniqueText("one", 200_000));
  expect(diffDocuments(document, Buffer.from(document), LIMITS)).toEqual([{ offset: 0, length: document.length }]);
  expect(diffDocuments(document, Buffer.alloc(0), LIMITS)).toEqual([]);
  expect(newBytes(Buffer.alloc(0), document)).toBe(document.length);
});

// --- session documents in the form of the reference ---

interface Message {
  readonly role: string;
  readonly content: string;
}

const message = (n: number, length = 3000): Message => ({
  role: n % 2 === 0 ? "user" : "system",
  content: uniqueText(`message ${String(n)}`, length),
});
const messages = (count: number): Message[] => Array.from({ length: count }, (_, n) => message(n));

/** One body of a history. Its members are in alphabetical order, also in its messages. */
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
    commits: bodies.slice(0, 2).map((_, n) => ({ actor: uniqueText(`commit ${String(n)}`, 600) })),
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

/** The new bytes allowed beside the new text: edited numbers, and short ranges between edits. */
const OVERHEAD_BYTES = 1000;

test("a turn sends its new messages", () => {
  const before = messages(400);
  const added = message(400, 2000);
  expect(newBytes(document(before, 1), document([...before, added], 2))).toBeLessThan(2000 + OVERHEAD_BYTES);
});

test("a turn with a long tool result sends this result", () => {
  const before = messages(400);
  const added = message(400, 100_000);
  expect(newBytes(document(before, 1), document([...before, added], 2))).toBeLessThan(100_000 + OVERHEAD_BYTES);
});

test("a new body of a history sends only its difference from an older body", () => {
  const before = messages(300);
  const list = [...before, message(300, 2000)];
  const bodies = [body(before.slice(0, 250), 1), body(before.slice(0, 200), 2), body(before, 3)];
  const next = document(list, 4, [...bodies, body(list, 4)]);
  expect(newBytes(document(before, 3, bodies), next)).toBeLessThan(2 * 2000 + 2 * OVERHEAD_BYTES);
});

test("a rewrite that removes most messages sends only the replacement", () => {
  const before = messages(400);
  const summary = message(1000, 2000);
  const list = [before[0] ?? summary, summary, ...before.slice(300)];
  expect(newBytes(document(before, 1), document(list, 2))).toBeLessThan(2000 + OVERHEAD_BYTES);
});

test("moved messages are found in the base", () => {
  const before = messages(100);
  const list = [...before.slice(50), ...before.slice(0, 50)];
  expect(newBytes(document(before, 1), document(list, 2))).toBeLessThan(2 * OVERHEAD_BYTES);
});

test("documents with nothing in common have no diff", () => {
  const base = Buffer.from(uniqueText("base", 3_000_000));
  expect(diffDocuments(base, Buffer.from(uniqueText("next", 3_000_000)), LIMITS)).toBeUndefined();
});
