import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StaleBaseError } from "@bolthole/core";
import { Environment } from "../../environment.js";
import { LmdbEngine } from "../../lmdb-engine.js";
import {
  commitDocument,
  inspect,
  readDocument,
  replaceDocument,
  storedSequence,
} from "../../testing/engine-documents.js";
import { noise } from "../../testing/noise.js";
import type { DocumentTrees } from "../document-trees.js";
import { LEASE_STALE_MS, Leases } from "./lease.js";

let folder: string;
let engine: LmdbEngine;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-lease-"));
  engine = await LmdbEngine.open(folder);
});

afterEach(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

test("a slow reader receives the document that it began to read, and nothing of it is left afterwards", async () => {
  const first = noise(5_000_000, 1);
  await replaceDocument(engine, "rt", [first]);
  await replaceDocument(engine, "other", [noise(100_000, 2)]);
  const chunks: Uint8Array[] = [];
  for await (const chunk of await engine.view((view) => view.document("rt"))) {
    chunks.push(Buffer.from(chunk));
    for (let change = 0; change < 20; change += 1) {
      const length = (await readDocument(engine, "rt")).length;
      const all = { offset: 0, length };
      const cut = { offset: 0, length: Math.floor(length * 0.9) };
      await replaceDocument(
        engine,
        "rt",
        change % 5 === 4 ? [noise(1_200_000, change)] : [change % 2 === 0 ? all : cut, noise(2000, change)],
      );
    }
    await engine.reclaimed();
  }
  expect(chunks.length).toBeGreaterThanOrEqual(5);
  expect(Buffer.concat(chunks).equals(first)).toBe(true);
  await engine.reclaimed();
  const last = await readDocument(engine, "rt");
  await engine.close();
  expect((await inspect(folder)).findings).toEqual([]);
  engine = await LmdbEngine.open(folder);
  expect((await readDocument(engine, "rt")).equals(last)).toBe(true);
});

test("a lease on one runtime's document keeps nothing of another runtime", async () => {
  await replaceDocument(engine, "read", [noise(300_000, 1)]);
  await replaceDocument(engine, "dropped", [noise(300_000, 2)]);
  const document = await engine.view((view) => view.document("read"));
  await commitDocument(engine, "dropped", undefined);
  await engine.reclaimed();
  await engine.close();
  expect((await inspect(folder)).findings).toEqual([]);
  engine = await LmdbEngine.open(folder);
  expect(document).toBeDefined();
});

test("a view that began before a commit can read the document of its state afterwards", async () => {
  const first = noise(300_000, 1);
  await replaceDocument(engine, "rt", [first]);
  const document = await engine.view(async (view) => {
    await commitDocument(engine, "rt", undefined);
    await engine.reclaimed();
    return view.document("rt");
  });
  await engine.reclaimed();
  const chunks: Uint8Array[] = [];
  for await (const chunk of document) chunks.push(Buffer.from(chunk));
  expect(Buffer.concat(chunks).equals(first)).toBe(true);
  await engine.reclaimed();
  await engine.close();
  expect((await inspect(folder)).values).toBe(0);
  engine = await LmdbEngine.open(folder);
});

test("a patch over another document than the one it was prepared for is rejected with StaleBaseError", async () => {
  const document = noise(50_000, 1);
  await replaceDocument(engine, "rt", [document]);
  const base = await storedSequence(engine, "rt");
  const patches = await Promise.all([10, 20].map((length) => engine.stage("rt", base, [{ offset: 0, length }])));
  // Both are in one group: the second is decided over the result of the first.
  const [first, second] = await Promise.allSettled(patches.map((staged) => commitDocument(engine, "rt", staged)));
  expect(first?.status).toBe("fulfilled");
  expect(second).toMatchObject({ status: "rejected", reason: expect.any(StaleBaseError) as unknown });
  await expect(engine.stage("rt", base, [{ offset: 0, length: 10 }])).rejects.toThrow(StaleBaseError);
  expect((await readDocument(engine, "rt")).equals(document.subarray(0, 10))).toBe(true);
  await engine.reclaimed();
  await engine.close();
  expect((await inspect(folder)).findings).toEqual([]);
  engine = await LmdbEngine.open(folder);
});

test("changes of one document in one group are applied in order", async () => {
  const staged = await Promise.all([1, 2, 3].map((seed) => engine.stage("rt", undefined, [noise(50_000, seed)])));
  await Promise.all([
    commitDocument(engine, "rt", staged[0]),
    commitDocument(engine, "rt", undefined),
    commitDocument(engine, "rt", staged[1]),
    commitDocument(engine, "rt", staged[2]),
  ]);
  expect((await readDocument(engine, "rt")).equals(noise(50_000, 3))).toBe(true);
  await engine.reclaimed();
  await engine.close();
  expect((await inspect(folder)).findings).toEqual([]);
  engine = await LmdbEngine.open(folder);
});

test("a lease that is never used becomes stale, and its document is not kept", () => {
  let now = 0;
  const leases = new Leases(
    () => undefined,
    () => now,
  );
  const lease = leases.hold("rt", 1);
  expect(leases.mayBeRead("rt", 2, 0)).toBe(true);
  now += LEASE_STALE_MS;
  lease.use();
  now += LEASE_STALE_MS;
  expect(leases.mayBeRead("rt", 2, 0)).toBe(true);
  now += 1;
  expect(leases.mayBeRead("rt", 2, 0)).toBe(false);
  expect(() => {
    lease.use();
  }).toThrow("load it again");
});

test("staging a document renews its lease on the base, however long the reads take", async () => {
  const length = 4_000_000;
  await replaceDocument(engine, "rt", [noise(length, 1)]);
  const base = (await storedSequence(engine, "rt")) ?? 0;
  let time = 0;
  const { leases } = (engine as unknown as { readonly writer: { readonly trees: DocumentTrees } }).writer.trees;
  Object.assign(leases, { now: () => time });
  const held: boolean[] = [];
  const { get } = Environment.prototype;
  jest.spyOn(Environment.prototype, "get").mockImplementation(function (this: Environment, key) {
    // Each read takes a minute. A commit after the base is about to delete its nodes.
    time += 60_000;
    held.push(leases.mayBeRead("rt", base + 1, 0));
    return get.call(this, key);
  });
  const parts = Array.from({ length: 20 }, (_, index) => [
    { offset: index * 200_001, length: 150_000 },
    noise(10, index),
  ]).flat();
  const staged = await engine.stage("rt", base, parts);
  jest.restoreAllMocks();
  await engine.discard(staged);
  expect(held.length).toBeGreaterThan(20);
  // The first read finds the row, before there is a lease.
  expect(new Set(held.slice(1))).toEqual(new Set([true]));
});
