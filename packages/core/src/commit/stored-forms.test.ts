import { StoreError } from "@bolthole/contract";
import { decodeSnapshotFacts, encodeSnapshotFacts } from "../documents/snapshot-facts.js";
import type { DocumentRowKey, RowKey } from "../engine.js";
import { createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { type Outcome, decodeOutcome, encodeOutcome, WRITTEN } from "./outcome.js";
import { ReadSet, decodeRow, makeRow } from "./row.js";
import {
  EMPTY_RUNTIME_MANIFEST,
  EMPTY_STORE_MANIFEST,
  decodeRuntimeManifest,
  decodeStoreManifest,
  encodeRuntimeManifest,
  encodeStoreManifest,
} from "./manifests.js";

const runtimeId = "a runtime";
const SNAPSHOT: DocumentRowKey = { table: "snapshot", runtimeId };
const facts = encodeSnapshotFacts({ profile: "session", length: 2, crc32: 3 });

const APPLIED: Outcome = {
  state: "applied",
  version: "e.1",
  method: "Method",
  fingerprint: Buffer.alloc(32, 7),
  response: { inputs: { before: 5, after: 9 }, keptSequences: [WRITTEN, 3, 3, 4] },
};

const withByte = (value: Uint8Array, at: number, byte: number): Buffer => {
  const changed = Buffer.from(value);
  changed[at] = byte;
  return changed;
};

function reasonOf(work: () => unknown): string {
  try {
    work();
    return "none";
  } catch (error) {
    return error instanceof StoreError ? error.reason : String(error);
  }
}

test.each<[string, RowKey, Uint8Array, (value: Uint8Array) => unknown]>([
  ["the form of a snapshot row", SNAPSHOT, withByte(facts, 0, 9), decodeSnapshotFacts],
  ["the profile of a snapshot row", SNAPSHOT, withByte(facts, 1, 2), decodeSnapshotFacts],
  [
    "the form of a runtime manifest",
    { table: "runtimeManifest", runtimeId },
    withByte(encodeRuntimeManifest(EMPTY_RUNTIME_MANIFEST), 0, 2),
    decodeRuntimeManifest,
  ],
  [
    "the form of the store manifest",
    { table: "storeManifest" },
    withByte(encodeStoreManifest(EMPTY_STORE_MANIFEST), 0, 1),
    decodeStoreManifest,
  ],
  [
    "the form of an outcome",
    { table: "outcome", requestId: "0198f0a0-0000-7000-8000-0000000000ff" },
    withByte(encodeOutcome(APPLIED), 0, 4),
    decodeOutcome,
  ],
  [
    "the end of an outcome's response",
    { table: "outcome", requestId: "0198f0a0-0000-7000-8000-0000000000ff" },
    encodeOutcome(APPLIED).subarray(0, -1),
    decodeOutcome,
  ],
  ["no byte at all", SNAPSHOT, Buffer.of(), decodeSnapshotFacts],
])("%s that is unknown is damage, even with a valid checksum", (_what, key, value, decode) => {
  const row = makeRow(key, 1, value);
  expect(reasonOf(() => decodeRow(key, row, decode))).toBe("DAMAGED_RECORD");
});

test("the bytes of a store manifest are those that stores on disk have, and one of version 0.1 can be read", () => {
  const digest = { rows: 1, sum: 2 };
  const manifest = { outcome: digest, oauth: digest, runtimeManifest: digest, horizonMs: 1, clockMs: 2 };
  const bytes = Buffer.from(encodeStoreManifest(manifest)).toString("hex");
  const older = "0100000002000000" + "0100000002000000" + "000000000000f03f" + "0100000002000000";
  expect(bytes).toBe(`03${older}0000000000000040`);
  expect(decodeStoreManifest(Buffer.from(bytes, "hex"))).toEqual(manifest);
  expect(decodeStoreManifest(Buffer.from(`02${older}`, "hex"))).toEqual({ ...manifest, clockMs: 0 });
});

test("an outcome of the first form, without a response, can be read", () => {
  const value = Buffer.concat([Buffer.from([1, 3, 6]), Buffer.alloc(32, 7), Buffer.from("e.1Method", "latin1")]);
  expect(decodeOutcome(value)).toEqual({ ...APPLIED, response: undefined });
});

test("the bytes of an outcome are those that stores on disk have", () => {
  expect(Buffer.from(encodeOutcome(APPLIED)).toString("hex")).toBe(
    `030306${"07".repeat(32)}${Buffer.from("e.1Method").toString("hex")}` +
      // Both parts; inputs from sequence 5 to 4 more; 4 rows: 1 written, 2 of sequence 3, 1 of one more.
      "03" +
      "0a08" +
      "04" +
      "0100" +
      "0206" +
      "0102",
  );
});

test("an unknown profile refuses a commit over it, and does not turn the guards off", async () => {
  const engine = new MemoryEngine();
  const store = createEngineStore(engine);
  const sessionSnapshot = Buffer.from("no session");
  const document = await engine.stage(SNAPSHOT, undefined, [sessionSnapshot]);
  const reads = new ReadSet();
  const handle = reads.add(SNAPSHOT);
  await engine.commit({
    reads,
    bytes: document.bytes,
    decide: (_rows, sequence) => {
      const value = withByte(encodeSnapshotFacts({ ...document, profile: "session" }), 1, 7);
      return { writes: [{ handle, row: makeRow(SNAPSHOT, sequence, value), document }], result: 0, freesSpace: false };
    },
  });
  const damaged = { reason: "DAMAGED_RECORD", applied: "no", subject: { runtimeId } };
  await expect(store.commitSessionSnapshot({ runtimeId, sessionDelta: { sessionSnapshot } })).rejects.toMatchObject(
    damaged,
  );
  await expect(store.loadSessionSnapshot({ runtimeId })).rejects.toMatchObject(damaged);
});

test("the facts of a store are served without the times of request ids when its manifest is damaged", async () => {
  const engine = new MemoryEngine();
  const store = createEngineStore(engine);
  await store.clearSessionSnapshot({ runtimeId });
  expect((await store.getServerInfo({})).requestIdTimes).toMatchObject({ horizonMs: 0 });
  const key = { table: "storeManifest" } as const;
  const reads = new ReadSet();
  const handle = reads.add(key);
  await engine.commit({
    reads,
    bytes: 0,
    decide: (_rows, sequence) => {
      const row = { ...makeRow(key, sequence, Buffer.of(3)), checksum: 1 };
      return { writes: [{ handle, row }], result: undefined, freesSpace: false };
    },
  });
  expect(await store.getServerInfo({})).toMatchObject({ storeId: engine.storeId, requestIdTimes: undefined });
});
