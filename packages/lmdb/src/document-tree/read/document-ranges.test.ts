import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import type { View } from "@bolthole/core";
import { LmdbEngine } from "../../lmdb-engine.js";
import { replaceDocument, snapshotKey } from "../../testing/engine-documents.js";
import { noise } from "../../testing/noise.js";

const LENGTH = 3_000_000;

let folder: string;
let engine: LmdbEngine;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-ranges-"));
  engine = await LmdbEngine.open(folder);
});

afterEach(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

async function readRange(view: View, runtimeId: string, offset: number, length: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await view.document(snapshotKey(runtimeId), { offset, length }))
    chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

test("a whole document is read in the memory of a few chunks", async () => {
  const document = noise(10 * LENGTH, 1);
  await replaceDocument(engine, "rt", [document]);
  const memories = new Set<ArrayBufferLike>();
  const chunks: Buffer[] = [];
  for await (const chunk of await engine.view((view) => view.document(snapshotKey("rt")))) {
    memories.add(chunk.buffer);
    chunks.push(Buffer.from(chunk));
  }
  expect(chunks.length).toBeGreaterThan(30);
  expect(memories.size).toBeLessThanOrEqual(3);
  expect(Buffer.concat(chunks).equals(document)).toBe(true);
});

const runtime = fc.constantFrom("rt", "other");
const wanted = fc.record({ runtimeId: runtime, offset: fc.nat(LENGTH), length: fc.oneof(fc.nat(200), fc.nat(LENGTH)) });

test("ranges that one view reads, in any order or at the same time, are those of its documents", async () => {
  // The copy at the end shares leaves with the original, and begins in the middle of one.
  const copied = (bytes: Buffer): Buffer => Buffer.concat([bytes, bytes.subarray(1000, 1_500_000)]);
  const documents: Record<string, Buffer> = { rt: noise(LENGTH, 1), other: noise(LENGTH, 2) };
  for (const [runtimeId, bytes] of Object.entries(documents)) await replaceDocument(engine, runtimeId, [bytes]);
  await fc.assert(
    fc.asyncProperty(fc.array(wanted, { maxLength: 8 }), fc.boolean(), runtime, async (all, areParallel, changed) => {
      const before = documents[changed] ?? Buffer.of();
      const length = before.length;
      const parts = [
        { offset: 0, length },
        { offset: 1000, length: 1_499_000 },
      ];
      const isLong = length > 2 * LENGTH;
      documents[changed] = isLong ? noise(LENGTH, length) : copied(before);
      await replaceDocument(engine, changed, isLong ? [documents[changed]] : parts);
      const read: Buffer[] = await engine.view(async (view) => {
        const one = ({ runtimeId, offset, length }: (typeof all)[number]) => readRange(view, runtimeId, offset, length);
        if (areParallel) return Promise.all(all.map(one));
        const inOrder: Buffer[] = [];
        for (const range of all) inOrder.push(await one(range));
        return inOrder;
      });
      const expected = all.map(({ runtimeId, offset, length }) =>
        (documents[runtimeId] ?? Buffer.of()).subarray(offset, offset + length),
      );
      expect(read.map((bytes, index) => bytes.equals(expected[index] ?? Buffer.of()))).toEqual(all.map(() => true));
    }),
    { numRuns: 40 },
  );
});
