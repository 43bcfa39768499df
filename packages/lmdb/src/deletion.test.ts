import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DeletedRuntime, Finding, VersionedStore } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { type RowKey, createEngineStore } from "@bolthole/core";
import { LEAF_BYTES } from "./document-tree/node.js";
import type { Environment, Put } from "./environment.js";
import { documentKey, encodeKey } from "./keys.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { checkFolder } from "./maintenance/check.js";
import { decodeRecord } from "./record.js";
import { damageFolder, lastBitFlipped } from "./testing/damaged-folder.js";
import { inputId, inputState } from "@bolthole/core/testing";

/** A runtime id whose keys contain only its hash. */
const LONG = "long ".repeat(300);
const RUNTIMES = ["rt", "other", LONG];
const FENCE = 5n;

let folder: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-deletion-"));
  await withStore(async (store) => {
    for (const runtimeId of RUNTIMES) {
      for (let serial = 0; serial < 10; serial += 1)
        await store.persistInputState({ runtimeId, state: inputState(serial) });
      const sessionSnapshot = Buffer.alloc(5 * LEAF_BYTES, `document of ${runtimeId}`);
      await store.commitSessionSnapshot({ runtimeId, sessionDelta: { sessionSnapshot, profile: "opaque" } });
      const record = encodeLifecycleRecord({ runtimeState: "idle", binding: { fenceToken: FENCE } });
      await store.commitMachineLifecycle({ runtimeId, record, inputStates: [] });
    }
  });
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function withStore(
  work: (store: VersionedStore, engine: LmdbEngine) => Promise<void>,
  damagedRuntimes = new Set<string>(),
): Promise<void> {
  const engine = await LmdbEngine.open(folder);
  try {
    await work(createEngineStore(engine, { damagedRuntimes }), engine);
    await engine.reclaimed();
  } finally {
    await engine.close();
  }
}

/** Returns every finding of the check that `bolthole verify` makes. */
async function findings(): Promise<string[]> {
  const found: Finding[] = [];
  await withStore(async (_store, engine) => {
    await engine.check({ onFinding: (finding) => found.push(finding) });
  });
  return found.map(({ code, runtimeId = "", record = "", text }) => `${code} ${runtimeId} ${record}: ${text}`);
}

const key = (row: RowKey): Buffer => encodeKey(row);
const INPUT = { table: "input", runtimeId: "rt", inputId: inputId(3) } as const;
const SNAPSHOT = { table: "snapshot", runtimeId: "rt" } as const;
const LIFECYCLE = { table: "lifecycle", runtimeId: "rt" } as const;
const MANIFEST = { table: "runtimeManifest", runtimeId: "rt" } as const;

type Change = (environment: Environment) => Put;

const missing =
  (row: RowKey): Change =>
  () => [key(row), undefined];
const garbage =
  (row: RowKey): Change =>
  () => [key(row), Buffer.from("garbage")];
/** Returns a change of one byte of a record's header, or of what follows it. */
const byteChanged =
  (row: RowKey, at: number): Change =>
  (environment) => {
    const value = Buffer.from(environment.get(key(row)) ?? "");
    value[at] = (value[at] ?? 0) ^ 1;
    return [key(row), value];
  };

/** Returns the key of the first leaf of the document. Its id follows the level of the branch. */
const leaf = (environment: Environment): Buffer => {
  const { root } = decodeRecord(environment.get(key(SNAPSHOT)) ?? Buffer.of());
  const branch = environment.get(documentKey("node", root?.id ?? -1));
  return documentKey("node", branch?.readUIntLE(1, 6) ?? -1);
};

const ALL = {
  inputStates: 10,
  receipts: 0,
  hadSessionSnapshot: true,
  hadMachineLifecycle: true,
  hadOpsLifecycle: false,
};

// A record's checksum begins at byte 4, its sequence at byte 8, its root at byte 20.
test.each<[string, readonly Change[], Partial<DeletedRuntime>]>([
  ["no damage", [], ALL],
  ["a changed input row", [lastBitFlipped(key(INPUT))], ALL],
  ["an input row that is not a record", [garbage(INPUT)], ALL],
  ["a missing input row", [missing(INPUT)], { ...ALL, inputStates: 9 }],
  ["a changed checksum of an input row", [byteChanged(INPUT, 4)], ALL],
  ["a changed lifecycle record", [lastBitFlipped(key(LIFECYCLE))], ALL],
  ["a changed snapshot row", [lastBitFlipped(key(SNAPSHOT))], ALL],
  ["a changed leaf of the document", [(environment) => lastBitFlipped(leaf(environment))(environment)], ALL],
  ["a missing leaf of the document", [(environment) => [leaf(environment), undefined]], ALL],
  ["a changed manifest", [lastBitFlipped(key(MANIFEST))], ALL],
  ["a changed checksum of the manifest", [byteChanged(MANIFEST, 4)], ALL],
  ["a changed sequence of the manifest", [byteChanged(MANIFEST, 12)], ALL],
  ["a manifest that is not a record", [garbage(MANIFEST)], ALL],
  ["a missing manifest", [missing(MANIFEST)], ALL],
  ["a missing manifest and a missing row", [missing(MANIFEST), missing(INPUT)], { ...ALL, inputStates: 9 }],
])("a runtime with %s is deleted, and the store is verified without findings", async (_what, changes, counts) => {
  for (const change of changes) await damageFolder(folder, change);
  const damagedRuntimes = new Set(["rt"]);
  await withStore(async (store) => {
    const requestId = `${timeOfRequest()}-7000-8000-0000000000aa`;
    const deleted = await store.deleteRuntime({ runtimeId: "rt", requestId });
    expect(deleted).toMatchObject({ ...counts, replayed: false });
    expect([...damagedRuntimes]).toEqual([]);
    expect(await store.loadInputState({ runtimeId: "rt", inputId: inputId(1) })).toBeUndefined();
    expect(await store.loadSessionSnapshot({ runtimeId: "rt" })).toBeUndefined();
    expect(await store.deleteRuntime({ runtimeId: "rt", requestId })).toEqual({ ...deleted, replayed: true });
  }, damagedRuntimes);
  expect(await findings()).toEqual([]);
  await withStore(async (store) => {
    await store.persistInputState({ runtimeId: "rt", state: inputState(1) });
    const { runtimes } = await store.listRuntimes({ pageSize: 0, pageToken: "" });
    expect(runtimes.map(({ runtimeId }) => runtimeId).sort()).toEqual([...RUNTIMES].sort());
  });
});

test.each<[string, Change]>([
  ["snapshot row is missing", missing(SNAPSHOT)],
  ["snapshot row is not a record", garbage(SNAPSHOT)],
  ["root of the document is changed", byteChanged(SNAPSHOT, 21)],
  [
    "highest branch of the document is missing",
    (environment) => {
      const { root } = decodeRecord(environment.get(key(SNAPSHOT)) ?? Buffer.of());
      return [documentKey("node", root?.id ?? -1), undefined];
    },
  ],
])("a runtime whose %s is deleted, and only nodes that belong to no runtime are left", async (_what, change) => {
  await damageFolder(folder, change);
  await withStore(async (store) => {
    await store.deleteRuntime({ runtimeId: "rt" });
    expect(await store.loadSessionSnapshot({ runtimeId: "rt" })).toBeUndefined();
  });
  const found = await findings();
  expect(found.length).toBeGreaterThan(0);
  expect(found.filter((text) => !text.startsWith("document-orphan  :"))).toEqual([]);
});

/** Returns the part of a UUIDv7 that names the present time. */
const timeOfRequest = (): string =>
  Date.now()
    .toString(16)
    .padStart(12, "0")
    .replace(/^(.{8})/, "$1-");

test.each([
  ["is missing", (): Put => [key({ table: "runtimeManifest", runtimeId: LONG }), undefined]],
  ["has another runtime id", byteChanged({ table: "runtimeManifest", runtimeId: LONG }, 25)],
])("a runtime with a long id whose manifest %s is deleted", async (_what, change) => {
  await damageFolder(folder, change);
  await withStore(async (store) => {
    expect(await store.deleteRuntime({ runtimeId: LONG })).toMatchObject(ALL);
  });
  expect(await findings()).toEqual([]);
});

test("the version of a deletion that found nothing is not used again", async () => {
  await withStore(async (store) => {
    const deleted = await store.deleteRuntime({ runtimeId: "nothing" });
    const { version } = await store.persistInputState({ runtimeId: "rt", state: inputState(50) });
    expect(version).not.toBe(deleted.version);
  });
});

test("a runtime that was written to after its manifest vanished is deleted", async () => {
  await damageFolder(folder, missing(MANIFEST));
  await withStore(async (store) => {
    await store.persistInputState({ runtimeId: "rt", state: inputState(99) });
    expect(await store.deleteRuntime({ runtimeId: "rt" })).toMatchObject({ ...ALL, inputStates: 11 });
  });
  expect(await findings()).toEqual([]);
});

test("two runtimes with damaged manifests are deleted at the same time", async () => {
  for (const runtimeId of ["rt", "other"]) await damageFolder(folder, missing({ table: "runtimeManifest", runtimeId }));
  await withStore(async (store) => {
    const busy = async (): Promise<void> => {
      for (let serial = 0; serial < 50; serial += 1)
        await store.persistInputState({ runtimeId: LONG, state: inputState(serial) });
    };
    await Promise.all([...["rt", "other"].map((runtimeId) => store.deleteRuntime({ runtimeId })), busy()]);
  });
  expect(await findings()).toEqual([]);
});

test("the damage of another runtime stays reported", async () => {
  await damageFolder(folder, missing(MANIFEST));
  await damageFolder(folder, lastBitFlipped(key({ ...INPUT, runtimeId: "other" })));
  await withStore(async (store) => {
    await store.deleteRuntime({ runtimeId: "rt" });
  });
  expect((await findings()).map((text) => text.split(":")[0])).toEqual([`row-damaged other input state ${inputId(3)}`]);
});

test.each([
  [
    "the fence token of a damaged lifecycle record",
    LIFECYCLE,
    { expectedFenceToken: FENCE },
    "machine lifecycle record",
  ],
  [
    "the version of a damaged row",
    INPUT,
    { expectedVersions: [{ record: "input_state", inputId: INPUT.inputId, version: "x.1" }] } as const,
    `input state ${INPUT.inputId}`,
  ],
])(
  "an expectation of %s refuses the deletion as damage, and nothing is deleted",
  async (_what, row, expectation, record) => {
    await damageFolder(folder, lastBitFlipped(key(row)));
    await withStore(async (store) => {
      await expect(store.deleteRuntime({ runtimeId: "rt", ...expectation })).rejects.toMatchObject({
        reason: "DAMAGED_RECORD",
        applied: "no",
        subject: { runtimeId: "rt", record },
      });
      expect(await store.loadInputState({ runtimeId: "rt", inputId: inputId(1) })).toBeDefined();
      expect(await store.deleteRuntime({ runtimeId: "rt" })).toMatchObject(ALL);
    });
    expect(await findings()).toEqual([]);
  },
);

test("a stopped store is clean after a deletion", async () => {
  await damageFolder(folder, garbage(MANIFEST));
  await withStore(async (store) => {
    await store.deleteRuntime({ runtimeId: "rt" });
  });
  expect(existsSync(join(folder, "data.mdb"))).toBe(true);
  const found: Finding[] = [];
  await checkFolder(folder, { onFinding: (finding) => found.push(finding) });
  expect(found).toEqual([]);
});
