import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { VersionedStore } from "@bolthole/contract";
import { createEngineStore } from "@bolthole/core";
import { LEAF_BYTES } from "./document-tree/node.js";
import type { Environment, Put } from "./environment.js";
import { documentKey, encodeKey } from "./keys.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { decodeRecord } from "./record.js";
import { damageFolder, lastBitFlipped } from "./testing/damaged-folder.js";
import { inputId, inputState } from "@bolthole/core/testing";
import { runScrub } from "./testing/scrub-run.js";

/** A runtime id whose keys contain only its hash. */
const LONG = "long ".repeat(300);

let folder: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-scrub-"));
  await withStore(async (store) => {
    await store.persistAuthOauthFlowSnapshot({ snapshot: Buffer.from("flows") });
    for (const runtimeId of ["rt", "other", LONG]) {
      for (let serial = 0; serial < 40; serial += 1)
        await store.persistInputState({ runtimeId, state: inputState(serial) });
      const sessionSnapshot = Buffer.alloc(20 * LEAF_BYTES, `document of ${runtimeId}`);
      await store.commitSessionSnapshot({ runtimeId, sessionDelta: { sessionSnapshot, profile: "opaque" } });
    }
  });
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function withStore(work: (store: VersionedStore, engine: LmdbEngine) => Promise<void>): Promise<void> {
  const engine = await LmdbEngine.open(folder);
  try {
    await work(createEngineStore(engine), engine);
  } finally {
    await engine.close();
  }
}

const damage = (change: (environment: Environment) => Put): Promise<void> => damageFolder(folder, change);

const input = (runtimeId: string): Buffer => encodeKey({ table: "input", runtimeId, inputId: inputId(30) });
const manifest = (runtimeId: string): Buffer => encodeKey({ table: "runtimeManifest", runtimeId });
/** Returns the key of the first leaf of the damaged runtime's document. Its id follows the level of the branch. */
const leaf = (environment: Environment): Buffer => {
  const { root } = decodeRecord(environment.get(encodeKey({ table: "snapshot", runtimeId: "rt" })) ?? Buffer.of());
  const branch = environment.get(documentKey("node", root?.id ?? -1));
  return documentKey("node", branch?.readUIntLE(1, 6) ?? -1);
};

test("an undamaged store has no findings", async () => {
  await withStore(async (_store, engine) => {
    expect(await runScrub(engine, 2)).toMatchObject({ found: [], faults: [] });
  });
});

test.each<[string, (environment: Environment) => Put, string[]]>([
  ["a changed row", lastBitFlipped(input("rt")), [`row-damaged rt input state ${inputId(30)}`]],
  ["a missing row", () => [input("rt"), undefined], ["head-differs rt runtime manifest"]],
  [
    "a changed manifest",
    lastBitFlipped(manifest("rt")),
    ["row-damaged rt runtime manifest", "head-missing rt runtime manifest"],
  ],
  ["a missing manifest", () => [manifest("rt"), undefined], ["head-missing rt runtime manifest"]],
  [
    "a missing manifest of a runtime with a long id",
    () => [manifest(LONG), undefined],
    [`head-missing ${LONG} runtime manifest`],
  ],
  [
    "a changed node of a document",
    (environment) => lastBitFlipped(leaf(environment))(environment),
    ["document-damaged rt session snapshot"],
  ],
  [
    "a missing node of a document",
    (environment) => [leaf(environment), undefined],
    ["document-damaged rt session snapshot"],
  ],
  ["a missing OAuth row", () => [encodeKey({ table: "oauth" }), undefined], ["store-differs"]],
])("the scrub finds %s and nothing else, and the store continues", async (_what, change, expected) => {
  await damage(change);
  await withStore(async (store, engine) => {
    const { found, faults } = await runScrub(engine);
    const names = found.map(({ code, runtimeId, record }) => [code, runtimeId, record].filter(Boolean).join(" "));
    expect(names).toEqual(expected);
    expect(faults).toEqual([]);
    await store.persistInputState({ runtimeId: "other", state: inputState(50) });
  });
});

test("a runtime is listed and checked although its id in one row is damaged", async () => {
  // The id of a hashed key is stored in the record, after its header.
  const wrongId = (environment: Environment): Put => {
    const key = manifest(LONG);
    const value = Buffer.from(environment.get(key) ?? "");
    value[25] = (value[25] ?? 0) ^ 1;
    return [key, value];
  };
  await damage(wrongId);
  await damage(() => [input(LONG), undefined]);
  await withStore(async (store, engine) => {
    const before = (await store.listRuntimes({ pageSize: 0, pageToken: "" })).runtimes;
    expect(before.map(({ runtimeId }) => runtimeId)).toContain(LONG);
    const { found, faults } = await runScrub(engine, 1);
    expect(found.map(({ code, runtimeId }) => [code, runtimeId])).toEqual([["head-differs", LONG]]);
    expect(faults).toEqual([]);
  });
});
