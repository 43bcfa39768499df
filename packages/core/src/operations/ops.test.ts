import { opsWithResults } from "@bolthole/conformance";
import type { LoadedDocument } from "@bolthole/contract";
import { writeOpsSnapshot } from "@bolthole/json";
import { StoreAudit } from "../audit/store-audit.js";
import { ReadSet, makeRow } from "../commit/row.js";
import { decodeOpsFacts, encodeOpsFacts, isOpsFacts, opsKey } from "../documents/ops-facts.js";
import { type EngineStore, createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";

const runtime = { runtimeId: "rt" } as const;
const KEY = opsKey("rt");
const LARGE = writeOpsSnapshot(opsWithResults(4, 20_000));

let engine: MemoryEngine;
let store: EngineStore;
beforeEach(() => {
  engine = new MemoryEngine();
  store = createEngineStore(engine);
});

const storedValue = async (): Promise<Buffer> =>
  Buffer.from((await engine.view((view) => view.get(KEY)))?.value ?? Buffer.of());

async function bytesOf(loaded: LoadedDocument | undefined): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of loaded?.chunks ?? []) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Returns the JSON of an operation snapshot with this length: white space is kept. */
const ofLength = (length: number): Buffer => {
  const json = writeOpsSnapshot(opsWithResults(1, 10));
  return Buffer.concat([json, Buffer.alloc(length - json.length, " ")]);
};

test("JSON of up to 64 KiB is the value of its row, and longer JSON is its document", async () => {
  for (const [length, isInline] of [
    [64 * 1024, true],
    [64 * 1024 + 1, false],
    [2000, true],
  ] as const) {
    const json = ofLength(length);
    await store.persistOpsLifecycle({ ...runtime, opsDelta: { opsSnapshot: json } });
    const value = await storedValue();
    expect(value.equals(json)).toBe(isInline);
    expect(isOpsFacts(value)).toBe(!isInline);
    expect(decodeOpsFacts(value).length).toBe(length);
    expect((await bytesOf(await store.loadOpsLifecycleJson(runtime))).equals(json)).toBe(true);
  }
});

/** Stores long JSON as the value of its row, as an older version did. */
async function storeAsOlderVersion(): Promise<void> {
  const reads = new ReadSet();
  const handle = reads.add(KEY);
  await engine.commit({
    reads,
    bytes: LARGE.length,
    decide: (_rows, sequence) => ({
      writes: [{ handle, row: makeRow(KEY, sequence, LARGE) }],
      result: undefined,
      freesSpace: false,
    }),
  });
}

test("a row of an older version with long JSON is loaded, patched and replaced", async () => {
  await storeAsOlderVersion();
  const loaded = await store.loadOpsLifecycleJson(runtime);
  expect((await bytesOf(loaded)).equals(LARGE)).toBe(true);
  expect((await store.loadOpsLifecycle(runtime))?.value).toEqual(opsWithResults(4, 20_000));
  const audit = new StoreAudit();
  const row = await engine.view((view) => view.get(KEY));
  expect(row && audit.take({ key: KEY, row })).toEqual([]);

  const pieces = [Buffer.from(" "), { offset: 0, length: LARGE.length }];
  const patched = Buffer.concat([Buffer.from(" "), LARGE]);
  const resultCrc32 = decodeOpsFacts(patched).crc32;
  const patch = { baseVersion: loaded?.version ?? "", resultLength: patched.length, resultCrc32, pieces };
  await store.persistOpsLifecycle({ ...runtime, opsDelta: { patch } });
  expect(isOpsFacts(await storedValue())).toBe(true);
  expect((await bytesOf(await store.loadOpsLifecycleJson(runtime))).equals(patched)).toBe(true);
});

test("the value of a row with a document has its bytes", () => {
  const value = encodeOpsFacts({ length: 2 ** 33 + 1, crc32: 0x01020304 });
  expect(Buffer.from(value).toString("hex")).toBe("01" + "04030201" + "0000080000000042");
  expect(decodeOpsFacts(value)).toEqual({ length: 2 ** 33 + 1, crc32: 0x01020304 });
});

test("a whole snapshot replaces a damaged one, which no load returns", async () => {
  await store.persistOpsLifecycle({ ...runtime, opsDelta: { opsSnapshot: LARGE } });
  const reads = new ReadSet();
  const handle = reads.add(KEY);
  await engine.commit({
    reads,
    bytes: 0,
    decide: (_rows, sequence) => ({
      writes: [{ handle, row: makeRow(KEY, sequence, Buffer.of(1, 2, 3)) }],
      result: undefined,
      freesSpace: false,
    }),
  });
  const damaged = { variant: "ReadFailed", reason: "DAMAGED_RECORD", subject: { record: "operation snapshot" } };
  await expect(store.loadOpsLifecycleJson(runtime)).rejects.toMatchObject(damaged);
  await expect(store.loadOpsLifecycle(runtime)).rejects.toMatchObject(damaged);
  await store.persistOpsLifecycle({ ...runtime, opsDelta: { opsSnapshot: LARGE } });
  expect((await bytesOf(await store.loadOpsLifecycleJson(runtime))).equals(LARGE)).toBe(true);
});

test("concurrent checks of long JSON return the verdict of each", async () => {
  const bad = Buffer.concat([writeOpsSnapshot(opsWithResults(4, 60_000)), Buffer.from("x")]);
  const good = writeOpsSnapshot(opsWithResults(5, 60_000));
  const calls = Array.from({ length: 8 }, (_, n) =>
    store.persistOpsLifecycle({ runtimeId: `rt ${n}`, opsDelta: { opsSnapshot: n % 2 === 0 ? good : bad } }).then(
      () => "stored",
      (error: unknown) => (error as { readonly reason: string }).reason,
    ),
  );
  const verdicts = ["stored", "INVALID_ARGUMENT"];
  expect(await Promise.all(calls)).toEqual([...verdicts, ...verdicts, ...verdicts, ...verdicts]);
});
