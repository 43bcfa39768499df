import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoredInputState, VersionedStore } from "@bolthole/contract";
import { createEngineStore } from "@bolthole/core";
import { LEAF_BYTES } from "./document-tree/node.js";
import type { Environment, Put } from "./environment.js";
import { hurtFolder, lastBitFlipped } from "./hurt-folder.test.helper.js";
import { documentKey, encodeKey } from "./keys.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { decodeRecord } from "./record.js";
import { scrubbed } from "./scrub.test.helper.js";

const NOW = "2026-05-28T15:31:27Z";
const idOf = (serial: number): string => `0198f01a-0000-7000-8000-${String(serial).padStart(12, "0")}`;
const row = (serial: number): StoredInputState => ({
  inputId: idOf(serial),
  currentState: "accepted",
  attemptCount: 0,
  recoveryCount: 0,
  history: [],
  createdAt: NOW,
  updatedAt: NOW,
});
/** A name that is kept under its hash. */
const LONG = "long ".repeat(300);

let folder: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-scrub-"));
  await withStore(async (store) => {
    await store.persistAuthOauthFlowSnapshot({ snapshot: Buffer.from("flows") });
    for (const runtimeId of ["hurt", "sound", LONG]) {
      for (let serial = 0; serial < 40; serial += 1) await store.persistInputState({ runtimeId, state: row(serial) });
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

const hurt = (change: (environment: Environment) => Put): Promise<void> => hurtFolder(folder, change);

const input = (runtimeId: string): Buffer => encodeKey({ table: "input", runtimeId, inputId: idOf(30) });
const head = (runtimeId: string): Buffer => encodeKey({ table: "runtimeManifest", runtimeId });
/** A child of the tree of the runtime that is hurt; behind the level, 18 bytes each. */
const leaf = (environment: Environment): Buffer => {
  const { root } = decodeRecord(environment.get(encodeKey({ table: "snapshot", runtimeId: "hurt" })) ?? Buffer.of());
  const branch = environment.get(documentKey("node", root?.id ?? -1));
  return documentKey("node", branch?.readUIntLE(1, 6) ?? -1);
};

test("a sound store has no findings", async () => {
  await withStore(async (_store, engine) => {
    expect(await scrubbed(engine, 2)).toMatchObject({ found: [], faults: [] });
  });
});

test.each<[string, (environment: Environment) => Put, string[]]>([
  ["a changed row", lastBitFlipped(input("hurt")), [`row-damaged hurt input state ${idOf(30)}`]],
  ["a row that vanished", () => [input("hurt"), undefined], ["head-differs hurt runtime manifest"]],
  [
    "a changed head",
    lastBitFlipped(head("hurt")),
    ["row-damaged hurt runtime manifest", "head-missing hurt runtime manifest"],
  ],
  ["a head that vanished", () => [head("hurt"), undefined], ["head-missing hurt runtime manifest"]],
  ["a head of a long name that vanished", () => [head(LONG), undefined], [`head-missing ${LONG} runtime manifest`]],
  [
    "a changed piece of a document",
    (environment) => lastBitFlipped(leaf(environment))(environment),
    ["document-damaged hurt session snapshot"],
  ],
  [
    "a missing piece of a document",
    (environment) => [leaf(environment), undefined],
    ["document-damaged hurt session snapshot"],
  ],
  ["OAuth flows that vanished", () => [encodeKey({ table: "oauth" }), undefined], ["store-differs"]],
])("%s is found beside the store's work, and nothing else", async (_what, change, expected) => {
  await hurt(change);
  await withStore(async (store, engine) => {
    const { found, faults } = await scrubbed(engine);
    const names = found.map(({ code, runtimeId, record }) => [code, runtimeId, record].filter(Boolean).join(" "));
    expect(names).toEqual(expected);
    expect(faults).toEqual([]);
    await store.persistInputState({ runtimeId: "sound", state: row(50) });
  });
});

test("a runtime whose name cannot be read any more ends the pass, and is a finding", async () => {
  // The name behind the hash lies behind the record's header.
  const wrongName = (environment: Environment): Put => {
    const key = head(LONG);
    const value = Buffer.from(environment.get(key) ?? "");
    value[25] = (value[25] ?? 0) ^ 1;
    return [key, value];
  };
  await hurt(wrongName);
  await withStore(async (store, engine) => {
    const { found, faults } = await scrubbed(engine, 2);
    expect(new Set(found.map(({ code }) => code))).toEqual(new Set(["pages-damaged"]));
    expect(faults).toEqual([]);
    await expect(store.listRuntimes({ pageSize: 0, pageToken: "" })).rejects.toMatchObject({
      reason: "DAMAGED_RECORD",
    });
  });
});
