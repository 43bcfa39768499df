import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { RuntimeStoreAdapter, type StoreError, type VersionedStore } from "@bolthole/contract";
import { type RowKey, createEngineStore } from "@bolthole/core";
import { Environment, type Put } from "./environment.js";
import { LEAF_BYTES } from "./document-tree/node.js";
import { UnusableFolderError } from "./format.js";
import { IDENTITY_KEY, documentBounds, documentKey, encodeKey } from "./keys.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { decodeRecord } from "./record.js";
import { damageFolder, lastBitFlipped } from "./testing/damaged-folder.js";
import { Random, inputId, inputState, typicalSession } from "@bolthole/core/testing";

const FIRST = inputId(1);
const SECOND = inputId(2);
const document = Buffer.alloc(3 * LEAF_BYTES + 17, "document");

let folder: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-damage-"));
  await withStore(async (store) => {
    for (const runtime of ["rt", "other"]) {
      await store.persistInputState(runtime, inputState(1));
      await store.persistInputState(runtime, inputState(2));
      await store.commitSessionSnapshot(runtime, { sessionSnapshot: document, profile: "opaque" });
      await store.commitMachineLifecycle(runtime, { runtimeState: "idle", binding: {} }, []);
    }
  });
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function withStore(
  use: (store: RuntimeStoreAdapter, versioned: VersionedStore, engine: LmdbEngine) => Promise<void>,
): Promise<void> {
  const engine = await LmdbEngine.open(folder);
  try {
    const versioned = createEngineStore(engine);
    await use(new RuntimeStoreAdapter(versioned, engine.storeId), versioned, engine);
  } finally {
    await engine.close();
  }
}

const damage = (change: (environment: Environment) => Put): Promise<void> => damageFolder(folder, change);

/** Expects that a call rejects with DAMAGED_RECORD for the damaged runtime, and returns the record that the error names. */
const damagedRecord = async (call: Promise<unknown>): Promise<string | undefined> => {
  const error = (await call.then(
    () => undefined,
    (reason: unknown) => reason,
  )) as StoreError | undefined;
  expect(error).toMatchObject({ variant: "ReadFailed", reason: "DAMAGED_RECORD", subject: { runtimeId: "rt" } });
  return error?.subject.record;
};

const inputKey = (id: string): RowKey => ({ table: "input", runtimeId: "rt", inputId: id });

test("every load of a changed row names the row, and other rows can be loaded", async () => {
  await damage(lastBitFlipped(encodeKey(inputKey(SECOND))));
  await withStore(async (store) => {
    expect(await damagedRecord(store.loadInputState("rt", SECOND))).toBe(`input state ${SECOND}`);
    expect(await damagedRecord(store.loadInputStates("rt"))).toBe(`input state ${SECOND}`);
    expect(await store.loadInputState("rt", FIRST)).toMatchObject(inputState(1));
    expect(await store.loadInputStates("other")).toHaveLength(2);
  });
});

const outcomesOf = async (versioned: VersionedStore, runtimeId: string): Promise<unknown[]> => {
  const loaded = await versioned.loadInputStates({ runtimeId, eachOutcome: true });
  const ids: string[] = [];
  for await (const batch of loaded.batches) ids.push(...batch.map(({ value }) => value.inputId));
  return [ids, loaded.failures.map(({ reason, subject }) => [reason, subject.runtimeId, subject.record])];
};

test("a load of each row's outcome returns the undamaged rows and an error for each damaged one", async () => {
  await damage(lastBitFlipped(encodeKey(inputKey(SECOND))));
  await withStore(async (_store, versioned) => {
    expect(await outcomesOf(versioned, "rt")).toEqual([[FIRST], [["DAMAGED_RECORD", "rt", `input state ${SECOND}`]]]);
    expect(await outcomesOf(versioned, "other")).toEqual([[FIRST, SECOND], []]);
  });
  await damage(() => [encodeKey(inputKey(SECOND)), undefined]);
  await withStore(async (_store, versioned) => {
    expect(await outcomesOf(versioned, "rt")).toEqual([[FIRST], [["DAMAGED_RECORD", "rt", "runtime manifest"]]]);
  });
  await damage(lastBitFlipped(encodeKey({ table: "runtimeManifest", runtimeId: "rt" })));
  await withStore(async (_store, versioned) => {
    expect(await outcomesOf(versioned, "rt")).toEqual([[FIRST], [["DAMAGED_RECORD", "rt", "runtime manifest"]]]);
  });
});

test("a list load finds that a row is missing", async () => {
  await damage(() => [encodeKey(inputKey(FIRST)), undefined]);
  await withStore(async (store) => {
    expect(await damagedRecord(store.loadInputStates("rt"))).toBe("runtime manifest");
    expect(await store.loadInputStates("other")).toHaveLength(2);
  });
});

test("the list of runtimes names a runtime whose manifest is missing, and lists the others", async () => {
  await damage(() => [encodeKey({ table: "runtimeManifest", runtimeId: "rt" }), undefined]);
  await withStore(async (_store, versioned) => {
    const { runtimes } = await versioned.listRuntimes({ pageSize: 0, pageToken: "" });
    expect(runtimes.map(({ runtimeId, hasDamagedManifest }) => [runtimeId, hasDamagedManifest])).toEqual([
      ["other", false],
      ["rt", true],
    ]);
  });
});

test("an undamaged row that is stored under another row's key is damage", async () => {
  await damage((environment) => [encodeKey(inputKey(FIRST)), environment.get(encodeKey(inputKey(SECOND)))]);
  await withStore(async (store) => {
    expect(await damagedRecord(store.loadInputState("rt", FIRST))).toBe(`input state ${FIRST}`);
  });
});

/** Returns the key of the root of the damaged runtime's document: a branch over leaves. */
const rootOf = (environment: Environment): Buffer => {
  const row = decodeRecord(environment.get(encodeKey({ table: "snapshot", runtimeId: "rt" })) ?? Buffer.of());
  return documentKey("node", row.root?.id ?? -1);
};
const leafOf = (environment: Environment): Buffer => {
  // The id of the first child follows the level.
  const id = environment.get(rootOf(environment))?.readUIntLE(1, 6) ?? -1;
  return documentKey("node", id);
};

test.each([
  ["a changed leaf", (environment: Environment): Put => lastBitFlipped(leafOf(environment))(environment)],
  ["a missing leaf", (environment: Environment): Put => [leafOf(environment), undefined]],
  ["a changed branch", (environment: Environment): Put => lastBitFlipped(rootOf(environment))(environment)],
  ["a missing branch", (environment: Environment): Put => [rootOf(environment), undefined]],
  [
    "the bytes of another leaf",
    (environment: Environment): Put => [leafOf(environment), Buffer.alloc(LEAF_BYTES, "x")],
  ],
])("%s fails the load and a patch over it, and the snapshot can be replaced", async (_what, change) => {
  await damage(change);
  await withStore(async (store, versioned) => {
    expect(await damagedRecord(store.loadSessionSnapshot("rt"))).toBe("session snapshot");
    const { version = "" } = (await versioned.loadSessionSnapshot({ runtimeId: "rt" })) ?? {};
    const patch = { baseVersion: version, resultLength: 5, resultCrc32: 0, pieces: [{ offset: 3, length: 5 }] };
    const patched = versioned.commitSessionSnapshot({
      runtimeId: "rt",
      sessionDelta: { patch, profile: "opaque" },
    });
    expect(await damagedRecord(patched)).toBe("session snapshot");
    expect(document.equals((await store.loadSessionSnapshot("other")) ?? Buffer.of())).toBe(true);
    await store.commitSessionSnapshot("rt", { sessionSnapshot: document, profile: "opaque" });
    expect(document.equals((await store.loadSessionSnapshot("rt")) ?? Buffer.of())).toBe(true);
  });
  await damage(change);
  await withStore(async (store) => {
    await store.clearSessionSnapshot("rt");
    expect(await store.loadSessionSnapshot("rt")).toBeUndefined();
    expect(document.equals((await store.loadSessionSnapshot("other")) ?? Buffer.of())).toBe(true);
  });
});

/** Flips a bit of the root that the row of the document names. It follows the header of the row. */
const rootEntryChanged = (environment: Environment): Put => {
  const key = encodeKey({ table: "snapshot", runtimeId: "rt" });
  const record = Buffer.from(environment.get(key) ?? "");
  const ROOT_AT = 20;
  record[ROOT_AT] = (record[ROOT_AT] ?? 0) ^ 1;
  return [key, record];
};

test("a patch of a session whose root is damaged is refused as damage, not as a wrong argument", async () => {
  const session = typicalSession(new Random(1), 60_000);
  await withStore(async (store, versioned) => {
    await store.clearSessionSnapshot("rt");
    await versioned.commitSessionSnapshot({ runtimeId: "rt", sessionDelta: { sessionSnapshot: session } });
  });
  await damage(rootEntryChanged);
  await withStore(async (_store, versioned) => {
    const { version = "" } = (await versioned.loadSessionSnapshot({ runtimeId: "rt" })) ?? {};
    const pieces = [{ offset: 0, length: session.length }];
    const patch = { baseVersion: version, resultLength: session.length, resultCrc32: crc32(session), pieces };
    const patched = versioned.commitSessionSnapshot({ runtimeId: "rt", sessionDelta: { patch } });
    expect(await damagedRecord(patched)).toBe("session snapshot");
  });
});

test("a value that is not a row is damage, not another value of the row", async () => {
  await damage(() => [encodeKey({ table: "lifecycle", runtimeId: "rt" }), Buffer.from("garbage")]);
  await withStore(async (store) => {
    expect(await damagedRecord(store.loadMachineLifecycleRecord("rt"))).toBe("machine lifecycle record");
    await store.commitMachineLifecycle("other", { runtimeState: "retired", binding: {} }, []);
  });
});

test("a store without an identity is refused, not treated as a new store", async () => {
  await damage(() => [IDENTITY_KEY, undefined]);
  await expect(LmdbEngine.open(folder)).rejects.toThrow(UnusableFolderError);
});

test("replaced and cleared documents leave no nodes", async () => {
  await withStore(async (store, _versioned, engine) => {
    await store.commitSessionSnapshot("rt", { sessionSnapshot: document.subarray(1), profile: "opaque" });
    await store.clearSessionSnapshot("other");
    await engine.reclaimed();
  });
  const environment = new Environment(folder);
  const transaction = environment.read();
  const { start, end } = documentBounds("node");
  const nodes = [...transaction.keys(start, end)];
  transaction.done();
  await environment.close();
  // Three full leaves, one leaf with the rest, and the branch over them.
  expect(nodes).toHaveLength(5);
});
