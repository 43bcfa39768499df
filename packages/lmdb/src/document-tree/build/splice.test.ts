import { crc32 } from "node:zlib";
import type { ByteRange } from "@bolthole/contract";
import type { DocumentParts } from "@bolthole/core";
import fc from "fast-check";
import { documentKey } from "../../keys.js";
import { noise } from "../../testing/noise.js";
import { StoredTrees } from "../../testing/stored-trees.js";
import {
  APPEND_LEAF_BYTES,
  LEAF_BYTES,
  MAX_CHILDREN,
  MERGE_BELOW_BYTES,
  MIN_CHILDREN,
  type NodeEntry,
  decodeBranch,
} from "../node.js";
import { NodeReader } from "../read/node-reader.js";
import { Walk } from "../read/walk.js";

const RUNTIME = "rt";

const seed = fc.nat(1_000_000);
const length = fc.oneof(
  { weight: 3, arbitrary: fc.nat(300) },
  { weight: 3, arbitrary: fc.nat(20_000) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      0,
      MERGE_BELOW_BYTES - 1,
      MERGE_BELOW_BYTES,
      MERGE_BELOW_BYTES + 1,
      LEAF_BYTES - 1,
      LEAF_BYTES,
      LEAF_BYTES + 1,
    ),
  },
  { weight: 1, arbitrary: fc.nat(700_000) },
);
const insert = fc.record({ length, seed });
/** Positions as fractions of the base's length, which is known only when the patch is applied. */
const copy = fc.record({
  from: fc.double({ min: 0, max: 1, noNaN: true }),
  to: fc.double({ min: 0, max: 1, noNaN: true }),
});
type Part = { length: number; seed: number } | { from: number; to: number };
const patch = fc.oneof(
  fc.array(fc.oneof(insert, copy), { maxLength: 12 }),
  // The hardest shape: the whole base, a part of it again, and new bytes.
  fc.tuple(copy, insert).map(([part, added]) => [{ from: 0, to: 1 }, part, added] as Part[]),
  // The shape of a growing history: all but the end, and a copy of the last part between new bytes.
  fc
    .tuple(fc.double({ min: 0.5, max: 1, noNaN: true }), copy, insert, insert)
    .map(([to, { from }, shell, added]) => [{ from: 0, to }, shell, { from: from * to, to }, added] as Part[]),
  fc
    .tuple(fc.double({ min: 0, max: 1, noNaN: true }), insert)
    .map(([at, added]) => [{ from: 0, to: at }, added, { from: at, to: 1 }] as Part[]),
);

function documentOf(parts: readonly Part[], base: Buffer): DocumentParts {
  return parts.map((part): Uint8Array | ByteRange => {
    if ("seed" in part) return noise(part.length, part.seed);
    const offset = Math.floor(Math.min(part.from, part.to) * base.length);
    return { offset, length: Math.floor(Math.max(part.from, part.to) * base.length) - offset };
  });
}

const assembled = (document: DocumentParts, base: Buffer): Buffer =>
  Buffer.concat(
    document.map((part) => (part instanceof Uint8Array ? part : base.subarray(part.offset, part.offset + part.length))),
  );

function expectBalance(trees: StoredTrees, root: NodeEntry): void {
  const visit = (entry: NodeEntry): void => {
    if (entry.level === 0) return;
    const children = decodeBranch(entry, trees.get(documentKey("node", entry.id)) ?? Buffer.of()) ?? [];
    expect(children.length).toBeLessThanOrEqual(MAX_CHILDREN);
    expect(children.length).toBeGreaterThanOrEqual(entry === root ? 2 : MIN_CHILDREN);
    children.forEach(visit);
  };
  visit(root);
}

test("after any patches a document consists of its parts, and its tree is balanced", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(patch, { minLength: 1, maxLength: 12 }), seed, async (patches, budget) => {
      const trees = new StoredTrees();
      let model: Buffer = Buffer.of();
      for (const parts of patches) {
        const document = documentOf(parts, model);
        const expected = assembled(document, model);
        if (expected.length > 8_000_000) continue;
        const staged = await trees.replace(RUNTIME, document);
        model = expected;
        expect([staged.length, staged.crc32]).toEqual([model.length, crc32(model)]);
        expect(trees.read(RUNTIME).equals(model)).toBe(true);
        if (staged.root) expectBalance(trees, staged.root);
        if (budget % 2 === 0) trees.reclaim(1 + (budget % 50));
      }
      while (trees.reclaim(7));
      expect(trees.read(RUNTIME).equals(model)).toBe(true);
      expect(await trees.findings()).toEqual([]);
    }),
    { numRuns: 100 },
  );
});

test("any range of a document is read correctly", async () => {
  const trees = new StoredTrees();
  const model = noise(900_000, 1);
  await trees.replace(RUNTIME, [model]);
  fc.assert(
    fc.property(fc.nat(900_000), fc.nat(900_000), (offset, length) => {
      const range = { offset, length: Math.min(length, model.length - offset) };
      expect(trees.read(RUNTIME, range).equals(model.subarray(offset, offset + range.length))).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test("a document of thousands of small parts has few leaves", async () => {
  const trees = new StoredTrees();
  let model = noise(3_000_000, 5);
  await trees.replace(RUNTIME, [model]);
  for (let round = 0; round < 3; round += 1) {
    const parts: (Uint8Array | ByteRange)[] = [];
    const step = Math.floor(model.length / 2048);
    for (let index = 0; index < 2048; index += 1) {
      parts.push({ offset: index * step, length: 1 + ((index * 37) % (step - 1)) });
      parts.push(noise(index % 300, index));
    }
    const expected = assembled(parts, model);
    await trees.replace(RUNTIME, parts);
    model = expected;
    expect(trees.read(RUNTIME).equals(model)).toBe(true);
    while (trees.reclaim(512));
    // Small neighbours are merged, so leaves are at least a third full on average.
    expect(trees.count("node")).toBeLessThan(10 + (3 * model.length) / LEAF_BYTES);
  }
  expect(await trees.findings()).toEqual([]);
});

test("a small change of a large document writes little and reads little", async () => {
  const trees = new StoredTrees();
  let length = 10_000_000;
  await trees.replace(RUNTIME, [noise(length, 3)]);
  for (let change = 0; change < 200; change += 1) {
    const staged = await trees.replace(RUNTIME, [
      { offset: 0, length: length - 400 },
      noise(2048, change),
      { offset: length - 400, length: 400 },
    ]);
    length += 2048;
    expect(staged.bytes).toBeLessThan(24 * 1024);
    expect(staged.opened.length).toBeLessThanOrEqual(3);
    while (trees.reclaim(512));
  }
  expect(trees.count("count")).toBe(0);
  expect(await trees.findings()).toEqual([]);
});

test("a history that contains a copy of its transcript per turn is stored once, in well filled leaves", async () => {
  const trees = new StoredTrees();
  const shell = (turn: number): Buffer => noise(200, 10_000 + turn);
  const message = (turn: number): Buffer => noise(900 + ((turn * 211) % 700), turn);
  const tail = noise(60, 20_000);
  let model: Buffer = Buffer.concat([shell(0), message(0), tail]);
  await trees.replace(RUNTIME, [model]);
  let body = { offset: shell(0).length, length: message(0).length };
  let distinctBytes = model.length;
  for (let turn = 1; turn <= 60; turn += 1) {
    const known = { offset: 0, length: model.length - tail.length };
    const document = [known, shell(turn), body, message(turn), tail];
    const next = assembled(document, model);
    const earlier = trees.root(RUNTIME);
    await trees.replace(RUNTIME, document);
    // The previous document can still be read unchanged.
    const walk = new Walk(new NodeReader(trees, { table: "snapshot", runtimeId: RUNTIME }), earlier);
    expect(walk.take(model.length).equals(model)).toBe(true);
    while (trees.reclaim(512));
    body = { offset: known.length + shell(turn).length, length: body.length + message(turn).length };
    distinctBytes += shell(turn).length + message(turn).length;
    model = next;
  }
  expect(trees.read(RUNTIME).equals(model)).toBe(true);
  expect(await trees.findings()).toEqual([]);
  expect(trees.bytes("node")).toBeLessThan(1.3 * distinctBytes);
  expect(trees.count("node")).toBeLessThan(2.5 * (distinctBytes / APPEND_LEAF_BYTES));
});
