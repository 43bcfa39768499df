import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import type { View } from "@bolthole/core";
import { LmdbEngine } from "../lmdb-engine.js";
import { replaceDocument } from "./engine-documents.test.helper.js";
import { noise } from "./noise.test.helper.js";

const LENGTH = 3_000_000;

let folder: string;
let engine: LmdbEngine;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-stretches-"));
  engine = await LmdbEngine.open(folder);
});

afterEach(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

async function stretch(view: View, runtimeId: string, offset: number, length: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await view.document(runtimeId, { offset, length })) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

test("a whole document is read in the memory of a few of its pieces", async () => {
  const document = noise(10 * LENGTH, 1);
  await replaceDocument(engine, "rt", [document]);
  const memories = new Set<ArrayBufferLike>();
  const pieces: Buffer[] = [];
  for await (const piece of await engine.view((view) => view.document("rt"))) {
    memories.add(piece.buffer);
    pieces.push(Buffer.from(piece));
  }
  expect(pieces.length).toBeGreaterThan(30);
  expect(memories.size).toBeLessThanOrEqual(3);
  expect(Buffer.concat(pieces).equals(document)).toBe(true);
});

const runtime = fc.constantFrom("rt", "other");
const wanted = fc.record({ runtimeId: runtime, offset: fc.nat(LENGTH), length: fc.oneof(fc.nat(200), fc.nat(LENGTH)) });

test("stretches that one view gives, in any order or at once, are those of its documents", async () => {
  // A copy behind it shares its leaves, and begins in the middle of one.
  const copied = (bytes: Buffer): Buffer => Buffer.concat([bytes, bytes.subarray(1000, 1_500_000)]);
  const documents: Record<string, Buffer> = { rt: noise(LENGTH, 1), other: noise(LENGTH, 2) };
  for (const [runtimeId, bytes] of Object.entries(documents)) await replaceDocument(engine, runtimeId, [bytes]);
  await fc.assert(
    fc.asyncProperty(fc.array(wanted, { maxLength: 8 }), fc.boolean(), runtime, async (all, areAtOnce, changed) => {
      const before = documents[changed] ?? Buffer.of();
      const length = before.length;
      const parts = [
        { offset: 0, length },
        { offset: 1000, length: 1_499_000 },
      ];
      const isLong = length > 2 * LENGTH;
      documents[changed] = isLong ? noise(LENGTH, length) : copied(before);
      await replaceDocument(engine, changed, isLong ? [documents[changed]] : parts);
      const given: Buffer[] = await engine.view(async (view) => {
        const one = ({ runtimeId, offset, length }: (typeof all)[number]) => stretch(view, runtimeId, offset, length);
        if (areAtOnce) return Promise.all(all.map(one));
        const inTurn: Buffer[] = [];
        for (const range of all) inTurn.push(await one(range));
        return inTurn;
      });
      const expected = all.map(({ runtimeId, offset, length }) =>
        (documents[runtimeId] ?? Buffer.of()).subarray(offset, offset + length),
      );
      expect(given.map((bytes, place) => bytes.equals(expected[place] ?? Buffer.of()))).toEqual(all.map(() => true));
    }),
    { numRuns: 40 },
  );
});
