import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RuntimeStoreAdapter, type StoreError, type StoredInputState } from "@bolthole/contract";
import { type RowKey, createEngineStore } from "@bolthole/core";
import { Environment, type Put } from "./environment.js";
import { UnusableFolder } from "./format.js";
import { IDENTITY_KEY, encodeKey, pieceKey } from "./keys.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { PIECE_BYTES } from "./pieces.js";

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
const document = Buffer.alloc(3 * PIECE_BYTES + 17, "document");

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

async function withStore(use: (store: RuntimeStoreAdapter) => Promise<void>): Promise<void> {
  const engine = await LmdbEngine.open(folder);
  try {
    await use(new RuntimeStoreAdapter(createEngineStore(engine), engine.storeId));
  } finally {
    await engine.close();
  }
}

/** Changes the file behind the store's back. */
async function hurt(change: (environment: Environment) => Put): Promise<void> {
  const environment = new Environment(folder);
  await environment.write([change(environment)]);
  await environment.close();
}

const flipLastByte =
  (key: Buffer) =>
  (environment: Environment): Put => {
    const value = Buffer.from(environment.get(key) ?? "");
    value[value.length - 1] = (value.at(-1) ?? 0) ^ 1;
    return [key, value];
  };

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
  await hurt(flipLastByte(encodeKey(inputKey(SECOND))));
  await withStore(async (store) => {
    expect(await damage(store.loadInputState("hurt", SECOND))).toBe(`input state ${SECOND}`);
    expect(await damage(store.loadInputStates("hurt"))).toBe(`input state ${SECOND}`);
    expect(await store.loadInputState("hurt", FIRST)).toMatchObject(row(FIRST));
    expect(await store.loadInputStates("sound")).toHaveLength(2);
  });
});

test("a row that vanished is found by a list load", async () => {
  await hurt(() => [encodeKey(inputKey(FIRST)), undefined]);
  await withStore(async (store) => {
    expect(await damage(store.loadInputStates("hurt"))).toBe("head");
    expect(await store.loadInputStates("sound")).toHaveLength(2);
  });
});

test("a sound row of another key is not taken for the one asked for", async () => {
  await hurt((environment) => [encodeKey(inputKey(FIRST)), environment.get(encodeKey(inputKey(SECOND)))]);
  await withStore(async (store) => {
    expect(await damage(store.loadInputState("hurt", FIRST))).toBe(`input state ${FIRST}`);
  });
});

test.each(["changed", "missing"] as const)(
  "a %s piece fails the load, and the snapshot can be replaced",
  async (how) => {
    const snapshot = encodeKey({ table: "snapshot", runtimeId: "hurt" });
    await hurt((environment) => {
      const sequence = environment.get(snapshot)?.readDoubleLE(8) ?? -1;
      const piece = pieceKey(sequence, 1);
      return how === "missing" ? [piece, undefined] : flipLastByte(piece)(environment);
    });
    await withStore(async (store) => {
      expect(await damage(store.loadSessionSnapshot("hurt"))).toBe("session snapshot");
      expect(document.equals((await store.loadSessionSnapshot("sound")) ?? Buffer.of())).toBe(true);
      await store.clearSessionSnapshot("hurt");
      await store.commitSessionSnapshot("hurt", { sessionSnapshot: document, profile: "opaque" });
      expect(document.equals((await store.loadSessionSnapshot("hurt")) ?? Buffer.of())).toBe(true);
    });
  },
);

test("a row that is no row of ours is damage, not another value", async () => {
  await hurt(() => [encodeKey({ table: "lifecycle", runtimeId: "hurt" }), Buffer.from("garbage")]);
  await withStore(async (store) => {
    expect(await damage(store.loadMachineLifecycleRecord("hurt"))).toBe("machine lifecycle record");
    await store.commitMachineLifecycle("sound", { runtimeState: "retired", binding: {} }, []);
  });
});

test("a store that lost its identity is not taken for a new one", async () => {
  await hurt(() => [IDENTITY_KEY, undefined]);
  await expect(LmdbEngine.open(folder)).rejects.toThrow(UnusableFolder);
});

test("nothing of a replaced or cleared document stays behind", async () => {
  await withStore(async (store) => {
    await store.commitSessionSnapshot("hurt", { sessionSnapshot: document.subarray(1), profile: "opaque" });
    await store.clearSessionSnapshot("sound");
  });
  const environment = new Environment(folder);
  const transaction = environment.read();
  const pieces = [...transaction.range(pieceKey(0, 0), pieceKey(Number.MAX_SAFE_INTEGER, 0))];
  transaction.done();
  await environment.close();
  expect(pieces).toHaveLength(4);
});
