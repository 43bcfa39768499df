import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { Environment, type Put } from "./environment.js";
import { estimateBatchPages, estimateTransactionPages } from "./disk-reservation.js";

let folder: string;
let environment: Environment;
let unpin: () => void;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-pages-"));
  environment = new Environment(folder);
  // LMDB reuses no page that this reader may need.
  const pinned = environment.read();
  unpin = () => {
    pinned.done();
  };
});

afterEach(async () => {
  unpin();
  await environment.close();
  rmSync(folder, { recursive: true });
});

/** Writes puts in one transaction. Returns the pages that they took, and the most that were expected. */
async function measure(puts: readonly Put[]): Promise<{ taken: number; estimated: number }> {
  const counts = environment.pages();
  const load = {
    // The test's records have no header, which the estimate adds.
    values: puts.map(([, value]) => value?.length ?? 0),
    keyBytes: Math.max(...puts.map(([key]) => key.length)),
    parts: [],
    dropped: 0,
  };
  const estimated = estimateTransactionPages(counts) + estimateBatchPages(load, counts);
  await environment.write(puts);
  return { taken: environment.pages().end - counts.end, estimated };
}

/** A key of one of a few runtimes, whose ids have very different lengths. */
const keyOf = (runtime: number, serial: number): Buffer =>
  Buffer.from(`${String(runtime)}${"x".repeat([1, 30, 300, 1000][runtime] ?? 0)} ${String(serial).padStart(8, "0")}`);

const sizes = fc.oneof(
  fc.constantFrom(0, 1, 40, 250, 1899, 1900, 1901, 2100),
  fc.nat(300),
  fc.integer({ min: 900, max: 2100 }),
  fc.nat(9_000),
);

interface Batch {
  readonly rows: number;
  readonly runtime: number;
  readonly start: number;
  readonly order: "ascending" | "descending" | "scattered";
  readonly sizes: readonly number[];
  readonly isDeleting: boolean;
}

const batches: fc.Arbitrary<Batch> = fc.record({
  rows: fc.integer({ min: 1, max: 1500 }),
  runtime: fc.nat(3),
  start: fc.nat(3000),
  order: fc.constantFrom("ascending", "descending", "scattered"),
  // Sizes of rows that follow each other are often alike, and sometimes one of many is very different.
  sizes: fc.oneof(
    fc.array(sizes, { minLength: 1, maxLength: 3 }),
    fc
      .tuple(sizes, sizes, fc.integer({ min: 2, max: 40 }))
      .map(([usual, rare, each]) => [rare, ...Array.from({ length: each }, () => usual)]),
  ),
  isDeleting: fc.integer({ min: 0, max: 4 }).map((number) => number === 0),
});

function putsOf({ rows, runtime, start, order, sizes: sizesOf, isDeleting }: Batch): Put[] {
  const puts = new Map<string, Put>();
  for (let index = 0; index < rows; index += 1) {
    const serial =
      order === "ascending" ? start + index : order === "descending" ? start - index + 3000 : (index * 7919) % 6007;
    const key = keyOf(runtime, serial);
    const value = Buffer.alloc(sizesOf[index % sizesOf.length] ?? 0, index);
    puts.set(key.toString("latin1"), [key, isDeleting ? undefined : value]);
  }
  return [...puts.values()];
}

test("no batch of many rows takes more pages than estimated, even when no free page can be reused", async () => {
  let many = 0;
  await fc.assert(
    fc.asyncProperty(batches, async (batch) => {
      const { taken, estimated } = await measure(putsOf(batch));
      many += batch.rows >= 64 ? 1 : 0;
      expect(taken).toBeLessThanOrEqual(estimated);
    }),
    { numRuns: 150 },
  );
  expect(many).toBeGreaterThan(50);
});

test("an import of 50,000 rows, another one over them, and their deletion reserve what they need", async () => {
  const rows = 50_000;
  const value = (attempt: number): Buffer => Buffer.alloc(240 + attempt, attempt);
  const puts = (attempt: number | undefined): Put[] =>
    Array.from({ length: rows }, (_, serial) => [keyOf(0, serial), attempt === undefined ? undefined : value(attempt)]);
  const mebibytes: number[] = [];
  for (const attempt of [0, 1, 1, undefined]) {
    const { taken, estimated } = await measure(puts(attempt));
    expect(taken).toBeLessThanOrEqual(estimated);
    mebibytes.push((estimated * environment.pages().pageBytes) / 2 ** 20);
  }
  // Row by row, each would reserve about 1 GiB.
  for (const size of mebibytes) expect(size).toBeLessThan(200);
});
