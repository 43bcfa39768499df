import { randomBytes } from "node:crypto";
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportContents } from "@bolthole/contract";
import { type EngineStore, createEngineStore } from "@bolthole/core";
import { Random, inputState } from "@bolthole/core/testing";
import { Environment, type Put } from "../environment.js";
import { LmdbEngine } from "../lmdb-engine.js";
import { compactCopy, compactStore } from "./compaction.js";
import { walkPages } from "./page-walk.js";
import { restoreBackup } from "./restore.js";

const SECRET = "the deleted text of a session";
const OAUTH = "the deleted state of a flow";

let folder: string;
let data: string;
let engine: LmdbEngine | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-compaction-"));
  data = join(folder, "data");
  mkdirSync(data);
});
afterEach(async () => {
  await engine?.close();
  engine = undefined;
  rmSync(folder, { recursive: true, force: true });
});

const opened = async (): Promise<EngineStore> => {
  engine = await LmdbEngine.open(data);
  return createEngineStore(engine);
};
const close = async (): Promise<void> => {
  await engine?.close();
  engine = undefined;
};

/** Makes a store with rows, a document, and the bytes of others that were deleted. */
async function fill(): Promise<void> {
  const store = await opened();
  const sessionDelta = (text: string) =>
    ({
      sessionSnapshot: Buffer.from(`${text} ${randomBytes(4_000_000).toString("hex")} ${text}`),
      profile: "opaque",
    }) as const;
  await store.commitSessionSnapshot({ runtimeId: "kept", sessionDelta: sessionDelta("kept") });
  await store.persistInputState({ runtimeId: "kept", state: inputState(1) });
  await store.commitSessionSnapshot({ runtimeId: "deleted", sessionDelta: sessionDelta(SECRET) });
  await store.persistAuthOauthFlowSnapshot({ snapshot: Buffer.from(OAUTH) });
  await store.persistAuthOauthFlowSnapshot({ snapshot: Buffer.from("kept flow") });
  await store.deleteRuntime({ runtimeId: "deleted" });
  await engine?.reclaimed();
  await close();
}

const has = (path: string, text: string): boolean => readFileSync(path).includes(text);

async function contentsOf(): Promise<unknown> {
  const store = await opened();
  const contents = await exportContents(store, { runtimeId: "kept" });
  const { value } = (await store.loadAuthOauthFlowSnapshot({})) ?? {};
  const info = await store.getServerInfo({});
  await close();
  return { contents, value, storeId: info.storeId };
}

test("a compacted store has everything that is stored, and none of the bytes that were deleted", async () => {
  await fill();
  const file = join(data, "data.mdb");
  expect(has(file, SECRET)).toBe(true);
  const before = await contentsOf();
  const { bytesBefore, bytesAfter, damaged, counts } = await compactStore(data);
  expect([has(file, SECRET), has(file, OAUTH), has(file, "kept flow")]).toEqual([false, false, true]);
  expect([bytesAfter, damaged, counts]).toEqual([statSync(file).size, 0, { runtimes: 1, rows: 2, outcomes: 0 }]);
  expect(bytesAfter).toBeLessThan(bytesBefore * 0.7);
  expect(await contentsOf()).toEqual(before);
  const store = await opened();
  await store.persistInputState({ runtimeId: "kept", state: inputState(2) });
  expect(readdirSync(data).filter((name) => name.startsWith("backup."))).toEqual([]);
});

test("a backup has none of the bytes that were deleted, and a restored store none of those that it dropped", async () => {
  await fill();
  await opened();
  const backup = join(folder, "backup");
  for await (const chunk of (await engine?.backUp()) ?? []) appendFileSync(backup, chunk);
  await close();
  expect([has(backup, SECRET), has(backup, OAUTH), has(backup, "kept flow")]).toEqual([false, false, true]);
  expect(statSync(backup).size).toBeLessThan(statSync(join(data, "data.mdb")).size * 0.7);
  const target = join(folder, "restored");
  await restoreBackup(backup, target, { keepsOauth: false });
  expect(has(join(target, "data.mdb"), "kept flow")).toBe(false);
});

test("a store with damaged pages is not changed", async () => {
  await fill();
  const file = join(data, "data.mdb");
  truncateSync(file, statSync(file).size / 2);
  const before = readFileSync(file);
  await expect(compactStore(data)).rejects.toMatchObject({ name: "DamagedStoreError" });
  expect(readFileSync(file).equals(before)).toBe(true);
  expect(readdirSync(data).filter((name) => name.startsWith("backup."))).toEqual([]);
});

test("a copy that differs does not take the place of the store", async () => {
  await fill();
  const file = join(data, "data.mdb");
  const before = readFileSync(file);
  const other = join(folder, "other");
  mkdirSync(other);
  await (await LmdbEngine.open(other)).close();
  const copyTo = Environment.prototype.copyTo;
  jest.spyOn(Environment.prototype, "copyTo").mockImplementation(async (target, pages) => {
    const environment = new Environment(other);
    await copyTo.call(environment, target, pages);
    await environment.close();
  });
  await expect(compactStore(data)).rejects.toThrow("differs from the store, which was not changed");
  jest.restoreAllMocks();
  expect(readFileSync(file).equals(before)).toBe(true);
});

const KEYS = 3_000;
const key = (number: number): Buffer => Buffer.from(`key ${String(number).padStart(8, "0")}`);

test.each([1, 2, 3])("a compacted file takes a large first transaction: seed %s", async (seed) => {
  const random = new Random(seed);
  const some = (count: number, deleted: number): Put[] => {
    const puts = new Map<number, Put>();
    for (let made = 0; made < count; made += 1) {
      const bytes = random.below(random.below(10) === 0 ? 60_000 : 600);
      const number = random.below(KEYS);
      puts.set(number, [key(number), random.below(deleted) === 0 ? undefined : randomBytes(bytes)]);
    }
    return [...puts.values()];
  };
  await opened();
  await close();
  const expected = new Map<string, Buffer>();
  const write = async (environment: Environment, puts: readonly Put[]): Promise<void> => {
    await environment.write(puts);
    for (const [name, value] of puts) {
      if (value) expected.set(name.toString(), value);
      else expected.delete(name.toString());
    }
  };
  let environment = new Environment(data);
  for (let round = 0; round < 30; round += 1) await write(environment, some(200, 5));
  for (let round = 0; round < 3; round += 1) {
    await environment.close();
    await compactCopy(data);
    walkPages(join(data, "data.mdb"));
    environment = new Environment(data);
    for (let written = 0; written < 5; written += 1) await write(environment, some(1_000, 3));
  }
  for (const [name, value] of expected) expect(environment.get(Buffer.from(name))?.equals(value)).toBe(true);
  expect(environment.firstKeys(key(0), key(KEYS), KEYS)).toHaveLength(expected.size);
  await environment.close();
  walkPages(join(data, "data.mdb"));
});
