import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RuntimeStoreAdapter, type StoreError, type StoredInputState, type VersionedStore } from "@bolthole/contract";
import { type RowKey, createEngineStore } from "@bolthole/core";
import { Environment, type Put } from "./environment.js";
import { hurtFolder, lastBitFlipped } from "./hurt-folder.test.helper.js";
import { LEAF_BYTES } from "./document-tree/node.js";
import { UnusableFolderError } from "./format.js";
import { IDENTITY_KEY, documentBounds, documentKey, encodeKey } from "./keys.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { decodeRecord } from "./record.js";

const FIRST = "0198f01a-0000-7000-8000-000000000001";
const SECOND = "0198f01a-0000-7000-8000-000000000002";
const NOW = "2026-05-28T15:31:27Z";
const row = (inputId: string): StoredInputState => ({
  inputId,
  currentState: "accepted",
  attemptCount: 0,
  recoveryCount: 0,
  history: [],
  createdAt: NOW,
  updatedAt: NOW,
});
const document = Buffer.alloc(3 * LEAF_BYTES + 17, "document");

let folder: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-damage-"));
  await withStore(async (store) => {
    for (const runtime of ["hurt", "sound"]) {
      await store.persistInputState(runtime, row(FIRST));
      await store.persistInputState(runtime, row(SECOND));
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

const hurt = (change: (environment: Environment) => Put): Promise<void> => hurtFolder(folder, change);

const damage = async (call: Promise<unknown>): Promise<string | undefined> => {
  const error = (await call.then(
    () => undefined,
    (reason: unknown) => reason,
  )) as StoreError | undefined;
  expect(error).toMatchObject({ variant: "ReadFailed", reason: "DAMAGED_RECORD", subject: { runtimeId: "hurt" } });
  return error?.subject.record;
};

const inputKey = (inputId: string): RowKey => ({ table: "input", runtimeId: "hurt", inputId });

test("a changed row is named by every load of it, and its neighbours go on", async () => {
  await hurt(lastBitFlipped(encodeKey(inputKey(SECOND))));
  await withStore(async (store) => {
    expect(await damage(store.loadInputState("hurt", SECOND))).toBe(`input state ${SECOND}`);
    expect(await damage(store.loadInputStates("hurt"))).toBe(`input state ${SECOND}`);
    expect(await store.loadInputState("hurt", FIRST)).toMatchObject(row(FIRST));
    expect(await store.loadInputStates("sound")).toHaveLength(2);
  });
});

const outcomesOf = async (versioned: VersionedStore, runtimeId: string): Promise<unknown[]> => {
  const loaded = await versioned.loadInputStates({ runtimeId, eachOutcome: true });
  const ids: string[] = [];
  for await (const batch of loaded.batches) ids.push(...batch.map(({ value }) => value.inputId));
  return [ids, loaded.failures.map(({ reason, subject }) => [reason, subject.runtimeId, subject.record])];
};

test("a load that asks for each row's own outcome gives the sound ones, and tells what is damaged", async () => {
  await hurt(lastBitFlipped(encodeKey(inputKey(SECOND))));
  await withStore(async (_store, versioned) => {
    expect(await outcomesOf(versioned, "hurt")).toEqual([
      [FIRST],
      [["DAMAGED_RECORD", "hurt", `input state ${SECOND}`]],
    ]);
    expect(await outcomesOf(versioned, "sound")).toEqual([[FIRST, SECOND], []]);
  });
  await hurt(() => [encodeKey(inputKey(SECOND)), undefined]);
  await withStore(async (_store, versioned) => {
    expect(await outcomesOf(versioned, "hurt")).toEqual([[FIRST], [["DAMAGED_RECORD", "hurt", "runtime manifest"]]]);
  });
  await hurt(lastBitFlipped(encodeKey({ table: "runtimeManifest", runtimeId: "hurt" })));
  await withStore(async (_store, versioned) => {
    expect(await outcomesOf(versioned, "hurt")).toEqual([[FIRST], [["DAMAGED_RECORD", "hurt", "runtime manifest"]]]);
  });
});

test("a row that vanished is found by a list load", async () => {
  await hurt(() => [encodeKey(inputKey(FIRST)), undefined]);
  await withStore(async (store) => {
    expect(await damage(store.loadInputStates("hurt"))).toBe("runtime manifest");
    expect(await store.loadInputStates("sound")).toHaveLength(2);
  });
});

test("a runtime whose head vanished is not left out of the list of runtimes", async () => {
  await hurt(() => [encodeKey({ table: "runtimeManifest", runtimeId: "hurt" }), undefined]);
  await withStore(async (_store, versioned) => {
    expect(await damage(versioned.listRuntimes({ pageSize: 0, pageToken: "" }))).toBe("runtime manifest");
  });
});

test("a sound row of another key is not taken for the one asked for", async () => {
  await hurt((environment) => [encodeKey(inputKey(FIRST)), environment.get(encodeKey(inputKey(SECOND)))]);
  await withStore(async (store) => {
    expect(await damage(store.loadInputState("hurt", FIRST))).toBe(`input state ${FIRST}`);
  });
});

/** The tree of the runtime whose document is hurt: a branch over leaves. */
const rootOf = (environment: Environment): Buffer => {
  const row = decodeRecord(environment.get(encodeKey({ table: "snapshot", runtimeId: "hurt" })) ?? Buffer.of());
  return documentKey("node", row.root?.id ?? -1);
};
const leafOf = (environment: Environment): Buffer => {
  // Behind the level: the id of the first child.
  const id = environment.get(rootOf(environment))?.readUIntLE(1, 6) ?? -1;
  return documentKey("node", id);
};

test.each([
  ["a changed leaf", (environment: Environment): Put => lastBitFlipped(leafOf(environment))(environment)],
  ["a missing leaf", (environment: Environment): Put => [leafOf(environment), undefined]],
  ["a changed branch", (environment: Environment): Put => lastBitFlipped(rootOf(environment))(environment)],
  ["a missing branch", (environment: Environment): Put => [rootOf(environment), undefined]],
  ["a leaf of someone else", (environment: Environment): Put => [leafOf(environment), Buffer.alloc(LEAF_BYTES, "x")]],
])("%s fails the load and a patch over it, and the snapshot can be replaced", async (_what, change) => {
  await hurt(change);
  await withStore(async (store, versioned) => {
    expect(await damage(store.loadSessionSnapshot("hurt"))).toBe("session snapshot");
    const { version = "" } = (await versioned.loadSessionSnapshot({ runtimeId: "hurt" })) ?? {};
    const patch = { baseVersion: version, resultLength: 5, resultCrc32: 0, pieces: [{ offset: 3, length: 5 }] };
    const patched = versioned.commitSessionSnapshot({
      runtimeId: "hurt",
      sessionDelta: { patch, profile: "opaque" },
    });
    expect(await damage(patched)).toBe("session snapshot");
    expect(document.equals((await store.loadSessionSnapshot("sound")) ?? Buffer.of())).toBe(true);
    await store.commitSessionSnapshot("hurt", { sessionSnapshot: document, profile: "opaque" });
    expect(document.equals((await store.loadSessionSnapshot("hurt")) ?? Buffer.of())).toBe(true);
  });
  await hurt(change);
  await withStore(async (store) => {
    await store.clearSessionSnapshot("hurt");
    expect(await store.loadSessionSnapshot("hurt")).toBeUndefined();
    expect(document.equals((await store.loadSessionSnapshot("sound")) ?? Buffer.of())).toBe(true);
  });
});

test("a row that is no row of ours is damage, not another value", async () => {
  await hurt(() => [encodeKey({ table: "lifecycle", runtimeId: "hurt" }), Buffer.from("garbage")]);
  await withStore(async (store) => {
    expect(await damage(store.loadMachineLifecycleRecord("hurt"))).toBe("machine lifecycle record");
    await store.commitMachineLifecycle("sound", { runtimeState: "retired", binding: {} }, []);
  });
});

test("a store that lost its identity is not taken for a new one", async () => {
  await hurt(() => [IDENTITY_KEY, undefined]);
  await expect(LmdbEngine.open(folder)).rejects.toThrow(UnusableFolderError);
});

test("nothing of a replaced or cleared document stays behind", async () => {
  await withStore(async (store, _versioned, engine) => {
    await store.commitSessionSnapshot("hurt", { sessionSnapshot: document.subarray(1), profile: "opaque" });
    await store.clearSessionSnapshot("sound");
    await engine.reclaimed();
  });
  const environment = new Environment(folder);
  const transaction = environment.read();
  const { start, end } = documentBounds("node");
  const nodes = [...transaction.keys(start, end)];
  transaction.done();
  await environment.close();
  // Three full leaves, one with the rest, and the branch over them.
  expect(nodes).toHaveLength(5);
});
