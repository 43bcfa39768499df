import { crc32 } from "node:zlib";
import fc from "fast-check";
import { opsWithResults } from "@bolthole/conformance";
import { writeOpsSnapshot } from "@bolthole/json";
import type { DocumentParts } from "../engine.js";
import { createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { checkOps } from "./ops-check.js";
import { type OpsIndex, indexOfWhole, shortenOps } from "./ops-index.js";

const BASE = writeOpsSnapshot(opsWithResults(3, 1500));
const LENGTH = BASE.length;

function indexOf(json: Buffer): OpsIndex {
  const verdict = checkOps(json);
  if ("problem" in verdict) throw new Error(`expected an operation snapshot, found ${verdict.problem.reason}`);
  return verdict.index;
}

const INDEX = indexOf(BASE);

const assembled = (parts: DocumentParts, base: Buffer): Buffer =>
  Buffer.concat(
    parts.map((part) => (part instanceof Uint8Array ? part : base.subarray(part.offset, part.offset + part.length))),
  );

/** The bytes of the long string literals of an index. */
function literalsOf(index: OpsIndex, json: Buffer): Buffer[] {
  const literals: Buffer[] = [];
  for (let at = 0; at < index.length; at += 2) literals.push(json.subarray(index[at], index[at + 1]));
  return literals;
}

test("the index of a snapshot has each result three times", () => {
  const literals = literalsOf(INDEX, BASE);
  expect(literals).toHaveLength(9);
  for (const literal of literals) expect((JSON.parse(literal.toString()) as string).length).toBe(1500);
});

test("a shortened text has the members of the whole JSON, and leads to its index", () => {
  const next = Buffer.concat([
    Buffer.from(" "),
    BASE.subarray(0, LENGTH - 1),
    Buffer.from(` ,"x":"${"y".repeat(2000)}"}`),
  ]);
  const document = [next.subarray(0, 1), { offset: 0, length: LENGTH - 1 }, next.subarray(LENGTH)];
  const shortened = shortenOps(document, INDEX);
  const text = assembled(shortened.parts, BASE);
  expect(text).toHaveLength(shortened.length);
  expect(text.length).toBeLessThan(LENGTH - 9 * 1500 + 2100);
  expect(indexOfWhole(shortened, indexOf(text))).toEqual(indexOf(next));
});

/** Places near the quotes of long literals, and any others. */
const place = fc.oneof(
  fc.nat(LENGTH),
  fc
    .tuple(fc.nat(INDEX.length - 1), fc.integer({ min: -3, max: 3 }))
    .map(([at, shift]) => Math.min(LENGTH, Math.max(0, (INDEX[at] ?? 0) + shift))),
);
const inserted = fc
  .array(
    fc.constantFrom('"', "\\", ",", ":", "{", "}", "[", "]", "1", " ", '"x"', '"x":', "\\ud83d", "x".repeat(1100)),
    {
      maxLength: 4,
    },
  )
  .map((texts) => Buffer.from(texts.join("")));
/** The whole base with a few parts replaced, repeated or moved. */
const edits: fc.Arbitrary<DocumentParts> = fc
  .array(fc.tuple(place, place, inserted), { minLength: 1, maxLength: 3 })
  .map((all) => {
    const parts: DocumentParts[number][] = [];
    let from = 0;
    for (const [a, b, text] of all) {
      const end = Math.max(from, Math.min(a, b));
      parts.push({ offset: from, length: end - from }, text);
      from = Math.abs(a - b) < 2000 ? Math.max(a, b) : Math.min(a, b);
    }
    return [...parts, { offset: from, length: LENGTH - from }];
  });

test("whatever is edited, an accepted shortened text is that of an operation snapshot, and its index has string literals", () => {
  let accepted = 0;
  fc.assert(
    fc.property(edits, (document) => {
      const shortened = shortenOps(document, INDEX);
      const verdict = checkOps(assembled(shortened.parts, BASE));
      if ("problem" in verdict) return;
      accepted += 1;
      const whole = assembled(document, BASE);
      expect(checkOps(whole)).toHaveProperty("index");
      for (const literal of literalsOf(indexOfWhole(shortened, verdict.index), whole)) {
        expect((JSON.parse(literal.toString()) as string).length).toBeGreaterThan(1000);
      }
    }),
    { numRuns: 4000 },
  );
  expect(accepted).toBeGreaterThan(0);
});

test("a patch after a patch reads the changed results only, and a wrong one is refused with its member", async () => {
  const engine = new MemoryEngine();
  const store = createEngineStore(engine);
  const runtimeId = "rt";
  const first = writeOpsSnapshot(opsWithResults(40, 20_000));
  let { version } = await store.persistOpsLifecycle({ runtimeId, opsDelta: { opsSnapshot: first } });
  const read: number[] = [];
  const { view } = engine;
  jest.spyOn(engine, "view").mockImplementation((use) =>
    view.call(engine, async (inner) =>
      use({
        get: (key) => inner.get(key),
        scan: (range, limit, bytes) => inner.scan(range, limit, bytes),
        document: async (key, range) => {
          read.push(range?.length ?? first.length);
          return inner.document(key, range);
        },
      }),
    ),
  );
  const persist = (json: Buffer, pieces: DocumentParts) => {
    const patch = { baseVersion: version, resultLength: json.length, resultCrc32: crc32(json), pieces };
    return store.persistOpsLifecycle({ runtimeId, opsDelta: { patch } });
  };
  let base = first;
  for (let round = 0; round < 3; round += 1) {
    const pieces = [Buffer.from(" "), { offset: 0, length: base.length }];
    const next = assembled(pieces, base);
    ({ version } = await persist(next, pieces));
    base = next;
  }
  const total = read.reduce((sum, length) => sum + length, 0);
  expect(total).toBeLessThan(first.length);
  const end = base.length - 3;
  const pieces = [{ offset: 0, length: end }, Buffer.from("x}}")];
  await expect(persist(assembled(pieces, base), pieces)).rejects.toMatchObject({
    reason: "INVALID_ARGUMENT",
    subject: { record: "ops_delta.cursors.runtime_last_injected_seq" },
  });
});
