import { fork } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import type { Finding, StoredInputState, VersionedStore } from "@bolthole/contract";
import { createEngineStore, quarantine } from "@bolthole/core";
import { DiskFailureError } from "../disk-errors.js";
import { LEAF_BYTES } from "../document-tree/node.js";
import { Environment, type Put } from "../environment.js";
import { IDENTITY_KEY, NODE_ID_KEY, SEQUENCE_KEY, documentBounds, encodeKey } from "../keys.js";
import { LmdbEngine, type LmdbOptions } from "../lmdb-engine.js";
import { damageFolder, lastBitFlipped } from "../testing/damaged-folder.js";
import { inputId, inputState } from "@bolthole/core/testing";
import { DamagedStoreError, checkFolder } from "./check.js";
import * as checkProcess from "./check-process.js";
import type { CheckRequest } from "./check-process.js";
import { DamagedPagesError, walkPages } from "./page-walk.js";

const PAGE = 4096;

let folder: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-check-"));
  await withStore(async (store) => {
    await store.persistAuthOauthFlowSnapshot({ snapshot: Buffer.from("flows") });
    for (const runtimeId of ["one", "two"]) {
      for (let serial = 0; serial < 40; serial += 1)
        await store.persistInputState({ runtimeId, state: inputState(serial) });
      const sessionSnapshot = Buffer.alloc(3 * LEAF_BYTES, runtimeId);
      await store.commitSessionSnapshot({ runtimeId, sessionDelta: { sessionSnapshot, profile: "opaque" } });
      await store.clearSessionSnapshot({ runtimeId: "gone" });
    }
  });
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const data = (): string => join(folder, "data.mdb");

async function withStore(
  work: (store: VersionedStore, engine: LmdbEngine) => Promise<void>,
  options: LmdbOptions = {},
): Promise<void> {
  const engine = await LmdbEngine.open(folder, options);
  try {
    await work(createEngineStore(engine), engine);
    await engine.reclaimed();
  } finally {
    await engine.close();
  }
}

const damage = (change: (environment: Environment) => Put): Promise<void> => damageFolder(folder, change);

async function findings(): Promise<string[]> {
  const found: Finding[] = [];
  await checkFolder(folder, { onFinding: (finding) => found.push(finding) });
  return found.map(({ code, runtimeId, record }) => [code, runtimeId, record].filter(Boolean).join(" "));
}

const firstNode = (environment: Environment): Buffer => {
  const transaction = environment.read();
  const { start, end } = documentBounds("node");
  const [first] = transaction.keys(start, end);
  transaction.done();
  return first ?? Buffer.of();
};

test("an undamaged store has no findings, and everything in it is counted", async () => {
  const found: Finding[] = [];
  const { counts } = await checkFolder(folder, { onFinding: (finding) => found.push(finding) });
  expect(found).toEqual([]);
  expect(counts).toEqual({ runtimes: 2, rows: 82, outcomes: 0 });
});

const keyOfInput = encodeKey({ table: "input", runtimeId: "one", inputId: inputId(3) });
const manifest = encodeKey({ table: "runtimeManifest", runtimeId: "one" });

test.each<[string, (environment: Environment) => Put, string[]]>([
  ["a changed row", lastBitFlipped(keyOfInput), [`row-damaged one input state ${inputId(3)}`]],
  ["a missing row", () => [keyOfInput, undefined], ["head-differs one runtime manifest"]],
  [
    "a changed runtime manifest",
    lastBitFlipped(manifest),
    ["row-damaged one runtime manifest", "head-missing one runtime manifest"],
  ],
  ["a missing runtime manifest", () => [manifest, undefined], ["head-missing one runtime manifest", "store-differs"]],
  ["a changed store manifest", lastBitFlipped(encodeKey({ table: "storeManifest" })), ["row-damaged store manifest"]],
  ["a missing OAuth row", () => [encodeKey({ table: "oauth" }), undefined], ["store-differs"]],
  ["a value under a key that no table has", () => [Buffer.of(2, 0x61, 0, 1, 9), Buffer.from("value")], ["row-strange"]],
  ["a changed identity", lastBitFlipped(IDENTITY_KEY), ["store-differs"]],
  ["a number of the last commit that is too small", () => [SEQUENCE_KEY, Buffer.alloc(8)], ["store-differs"]],
  ["a changed number of the last commit", lastBitFlipped(SEQUENCE_KEY), ["store-differs"]],
  ["a changed number of the next node", lastBitFlipped(NODE_ID_KEY), ["store-differs"]],
  ["a number of the next node that is too small", () => [NODE_ID_KEY, Buffer.alloc(8)], ["store-differs"]],
  [
    "a missing node of a document",
    (environment) => [firstNode(environment), undefined],
    ["document-missing one session snapshot"],
  ],
])("%s is found", async (_what, change, expected) => {
  await damage(change);
  const found = await findings();
  for (const one of expected) expect(found).toContain(one);
});

/** The keys of this runtime contain only a hash of its id, and each record has a copy of the id after its header. */
const LONG = "long ".repeat(300);
const HEADER_BYTES = 20;
const damageIdIn = (key: Buffer): Promise<void> =>
  damage((environment) => {
    const value = Buffer.from(environment.get(key) ?? "");
    value[HEADER_BYTES] = (value[HEADER_BYTES] ?? 0) ^ 1;
    return [key, value];
  });

test.each([
  ["a manifest", { table: "runtimeManifest", runtimeId: LONG }, "runtime manifest"],
  ["a row", { table: "input", runtimeId: LONG, inputId: inputId(3) }, `input state ${inputId(3)}`],
] as const)(
  "a damaged copy of a long runtime id in %s is found, and is no other damage",
  async (_what, key, record) => {
    await withStore(async (store) => {
      await store.persistInputState({ runtimeId: LONG, state: inputState(3) });
      await store.persistInputState({ runtimeId: LONG, state: inputState(4) });
    });
    await damageIdIn(encodeKey(key));
    expect(await findings()).toEqual([`row-damaged ${LONG} ${record}`]);
  },
);

test("a runtime whose rows are uploaded is found when the copy of its long id in the manifest is damaged", async () => {
  await withStore(async (store) => {
    const parts = { [Symbol.asyncIterator]: () => onePart() };
    const inputUploadId = await store.uploadInputStates({ runtimeId: LONG, rowCount: 1, parts });
    await store.persistInputState({ runtimeId: LONG, state: undefined, inputUploadId });
  });
  await damageIdIn(encodeKey({ table: "runtimeManifest", runtimeId: LONG }));
  expect(await findings()).toEqual([`row-damaged ${LONG} runtime manifest`]);
  await withStore(async (store) => {
    const { runtimes } = await store.listRuntimes({ pageSize: 0, pageToken: "" });
    expect(runtimes.map(({ runtimeId }) => runtimeId)).toContain(LONG);
  });
});

// eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, the row is in memory
async function* onePart(): AsyncGenerator<readonly StoredInputState[], void> {
  yield [inputState(3)];
}

test("the store manifest shows that a whole runtime went back to an older state", async () => {
  const rows = new Map<string, Buffer>();
  const remember = (environment: Environment): void => {
    const transaction = environment.read();
    for (const { key, value } of transaction.range(Buffer.of(2, 0x6f), Buffer.of(2, 0x70)))
      rows.set(key.toString("hex"), value);
    transaction.done();
  };
  const before = new Environment(folder);
  remember(before);
  await before.close();
  await withStore((store) =>
    store.persistInputState({ runtimeId: "one", state: { ...inputState(3), attemptCount: 1 } }).then(() => undefined),
  );
  const after = new Environment(folder);
  await after.write([...rows].map(([key, value]): Put => [Buffer.from(key, "hex"), value]));
  await after.close();
  expect(await findings()).toEqual(["store-differs"]);
});

test("a page with a flag that LMDB never writes, or of a transaction that never was, is damaged", () => {
  const undamaged = readFileSync(data());
  const lastTransaction = Math.max(undamaged.readUInt32LE(152), undamaged.readUInt32LE(4096 + 152));
  walkPages(data());
  const root = undamaged.readUInt32LE((undamaged.readUInt32LE(152) === lastTransaction ? 0 : 4096) + 136);
  for (const change of [
    (page: Buffer) => page.writeUInt16LE(page.readUInt16LE(18) | 0x4000, 18),
    (page: Buffer) => page.writeUInt32LE(lastTransaction + 1, 8),
  ]) {
    const file = Buffer.from(undamaged);
    change(file.subarray(root * 4096, (root + 1) * 4096));
    writeFileSync(data(), file);
    expect(() => {
      walkPages(data());
    }).toThrow(DamagedPagesError);
  }
  writeFileSync(data(), undamaged);
  walkPages(data());
});

test("a data file with any page zeroed or swapped is walked without a crash, and damage is a DamagedPagesError", async () => {
  const undamaged = readFileSync(data());
  const pages = Math.max(...[0, PAGE].map((at) => Number(undamaged.readBigUInt64LE(at + 144)))) + 1;
  await fc.assert(
    fc.asyncProperty(fc.nat(pages - 1), fc.nat(pages - 1), fc.boolean(), (page, other, isSwap) => {
      const file = Buffer.from(undamaged);
      if (isSwap) undamaged.copy(file, page * PAGE, other * PAGE, (other + 1) * PAGE);
      else file.fill(0, page * PAGE, (page + 1) * PAGE);
      const path = join(folder, "mutated.mdb");
      writeFileSync(path, file);
      try {
        walkPages(path);
      } catch (error) {
        expect(error).toBeInstanceOf(DamagedPagesError);
      }
      return Promise.resolve();
    }),
    { numRuns: 300 },
  );
  copyFileSync(data(), join(folder, "mutated.mdb"));
  walkPages(join(folder, "mutated.mdb"));
});

test("a changed key in a branch is found, although every row exists: a search would miss rows", async () => {
  await withStore(async (store) => {
    for (let serial = 100; serial < 300; serial += 1) {
      await store.persistInputState({ runtimeId: "many", state: inputState(serial) });
    }
  });
  const file = readFileSync(data());
  const metas = [0, PAGE].sort((a, b) => Number(file.readBigUInt64LE(b + 152) - file.readBigUInt64LE(a + 152)));
  const root = Number(file.readBigUInt64LE((metas[0] ?? 0) + 96 + 40)) * PAGE;
  expect(file.readUInt16LE(root + 18)).toBe(1);
  // The key of the last child becomes larger than the keys below it.
  const last = root + 24 + file.readUInt16LE(root + 24 + file.readUInt16LE(root + 20) - 2);
  file[last + 8] = 0xff;
  writeFileSync(data(), file);
  expect(await findings()).toEqual(["pages-damaged"]);
});

test("a store is read completely before it is opened after an unclean end, and after a clean end only with level full", async () => {
  expect(existsSync(join(folder, "running"))).toBe(false);
  await damage(() => [encodeKey({ table: "oauth" }), undefined]);
  await withStore(() => Promise.resolve());
  const full = { check: { level: "full", maxBytes: Infinity } } as const;
  await expect(LmdbEngine.open(folder, full)).rejects.toBeInstanceOf(DamagedStoreError);
  writeFileSync(join(folder, "running"), "");
  await expect(LmdbEngine.open(folder)).rejects.toBeInstanceOf(DamagedStoreError);
  // A refusal changes nothing: the next start checks again.
  await expect(LmdbEngine.open(folder)).rejects.toThrow(/damaged.*restore a backup/);
  await withStore(() => Promise.resolve(), { check: { level: "quick", maxBytes: Infinity } });
  expect(existsSync(join(folder, "running"))).toBe(false);
});

test("findings of single records are reported, and the store opens", async () => {
  await damage(() => [keyOfInput, undefined]);
  const found: string[] = [];
  const options = {
    check: { level: "full", maxBytes: Infinity },
    onFinding: ({ code, runtimeId = "" }: Finding) => found.push(`${code} ${runtimeId}`),
  } as const;
  await withStore(async (_store, engine) => {
    const store = createEngineStore(quarantine(engine, new Set(["one"])));
    const damaged = { reason: "DAMAGED_RECORD", subject: { runtimeId: "one" } };
    await expect(store.loadInputState({ runtimeId: "one", inputId: inputId(4) })).rejects.toMatchObject(damaged);
    await expect(store.loadSessionSnapshot({ runtimeId: "one" })).rejects.toMatchObject(damaged);
    await expect(store.persistInputState({ runtimeId: "one", state: inputState(1) })).rejects.toMatchObject(damaged);
    expect(await store.loadInputState({ runtimeId: "two", inputId: inputId(4) })).toMatchObject({
      value: inputState(4),
    });
    await store.persistInputState({ runtimeId: "two", state: inputState(77) });
  }, options);
  expect(found).toEqual(["head-differs one"]);
});

test("an aborted check opens nothing and does not mark the folder", async () => {
  const check = { level: "full", maxBytes: Infinity, signal: AbortSignal.abort() } as const;
  await expect(LmdbEngine.open(folder, { check })).rejects.toMatchObject({ name: "AbortError" });
  expect(existsSync(join(folder, "running"))).toBe(false);
  await withStore(async (store) => {
    expect(await store.loadInputState({ runtimeId: "one", inputId: inputId(0) })).toBeDefined();
  });
});

describe("a disk that refuses a read", () => {
  test("is reported with the error number", async () => {
    const preload = join(folder, "refusing.cjs");
    writeFileSync(
      preload,
      `require("node:fs").openSync = () => {
        throw Object.assign(new Error("EIO: i/o error, open"), { errno: -5, code: "EIO" });
      };`,
    );
    const request: CheckRequest = { folder, pages: true, rows: true };
    const child = fork(join(__dirname, "check-process.js"), [JSON.stringify(request)], {
      execArgv: ["--require", preload],
      silent: true,
    });
    const messages: unknown[] = [];
    child.on("message", (message) => messages.push(message));
    await once(child, "close");
    expect(messages).toEqual([{ refused: "EIO: i/o error, open", errno: 5 }]);
  });

  test("is a DiskFailureError, not damage of the store", async () => {
    const refusal = Object.assign(new Error("EIO: i/o error, open"), { errno: -5 });
    jest.spyOn(checkProcess, "checkInProcess").mockImplementationOnce((_request, { onFinding }) => {
      onFinding({ code: "check-crashed", text: "it ended" });
      return Promise.reject(refusal);
    });
    const opening = LmdbEngine.open(folder, { check: { level: "full", maxBytes: Infinity } });
    await expect(opening).rejects.toBeInstanceOf(DiskFailureError);
  });
});
