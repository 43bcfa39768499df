import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { opsWithResults } from "@bolthole/conformance";
import {
  type DocumentPart,
  type Finding,
  type OpsDelta,
  type VersionedStore,
  exportContents,
} from "@bolthole/contract";
import { createEngineStore } from "@bolthole/core";
import { writeOpsSnapshot } from "@bolthole/json";
import { Environment } from "./environment.js";
import { documentBounds, encodeKey } from "./keys.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { checkFolder } from "./maintenance/check.js";
import { decodeRecord } from "./record.js";
import { damageFolder, lastBitFlipped } from "./testing/damaged-folder.js";
import { inspect } from "./testing/engine-documents.js";
import { noise } from "./testing/noise.js";
import { runScrub } from "./testing/scrub-run.js";

const runtime = { runtimeId: "rt" } as const;
const SESSION = noise(200_000, 1);
const SMALL = writeOpsSnapshot(opsWithResults(2, 100));
const LARGE = writeOpsSnapshot(opsWithResults(8, 100_000));
/** `LARGE` with a member that another version has added. */
const MEMBER = Buffer.from('{"added":0,');
const PATCHED = Buffer.concat([MEMBER, LARGE.subarray(1)]);
const PIECES: readonly DocumentPart[] = [MEMBER, { offset: 1, length: LARGE.length - 1 }];

let site: string;
let folder: string;
beforeEach(() => {
  site = mkdtempSync(join(tmpdir(), "bolthole-ops-"));
  folder = join(site, "live");
  mkdirSync(folder);
});
afterEach(() => {
  jest.restoreAllMocks();
  rmSync(site, { recursive: true });
});

async function withStore<T>(use: (store: VersionedStore, engine: LmdbEngine) => Promise<T>, at = folder): Promise<T> {
  const engine = await LmdbEngine.open(at);
  try {
    return await use(createEngineStore(engine), engine);
  } finally {
    await engine.close();
  }
}

const persist = (store: VersionedStore, opsDelta: OpsDelta) => store.persistOpsLifecycle({ ...runtime, opsDelta });

async function patch(store: VersionedStore): Promise<unknown> {
  const loaded = await store.loadOpsLifecycleJson(runtime);
  const { version = "" } = loaded ?? {};
  // A document that is not read to its end keeps a lease.
  await bytesOf(loaded);
  const resultCrc32 = 0xd4d4d4d4;
  const attempt = { baseVersion: version, resultLength: PATCHED.length, resultCrc32, pieces: PIECES };
  const refused: unknown = await persist(store, { patch: attempt }).catch((error: unknown) => error);
  // The refusal of a wrong checksum names the right one.
  const { expected = "" } = (refused as { readonly subject: { readonly expected?: string } }).subject;
  return persist(store, { patch: { ...attempt, resultCrc32: Number.parseInt(expected, 10) } });
}

async function bytesOf(loaded: { readonly chunks: AsyncIterable<Uint8Array> } | undefined): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of loaded?.chunks ?? []) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const ops = async (store: VersionedStore): Promise<Buffer> => bytesOf(await store.loadOpsLifecycleJson(runtime));
const session = async (store: VersionedStore): Promise<Buffer> => bytesOf(await store.loadSessionSnapshot(runtime));
const commitSession = (store: VersionedStore) =>
  store.commitSessionSnapshot({ ...runtime, sessionDelta: { sessionSnapshot: SESSION, profile: "opaque" } });

test("after a crash between any two transactions the operation snapshot is complete, and nothing is left over", async () => {
  const crashes: { readonly at: string; readonly allowed: readonly Buffer[] }[] = [];
  let allowed: Buffer[] = [Buffer.of()];
  const { write } = Environment.prototype;
  jest.spyOn(Environment.prototype, "write").mockImplementation(async function (this: Environment, puts) {
    await write.call(this, puts);
    const at = join(site, String(crashes.length));
    cpSync(folder, at, { recursive: true });
    crashes.push({ at, allowed });
  });
  await withStore(async (store, engine) => {
    const step = async (next: Buffer, change: () => Promise<unknown>): Promise<void> => {
      allowed = [...allowed.slice(-1), next];
      await change();
      await engine.reclaimed();
    };
    await step(LARGE, () => persist(store, { opsSnapshot: LARGE }));
    await step(LARGE, () => commitSession(store));
    await step(PATCHED, () => patch(store));
    await step(SMALL, () => persist(store, { opsSnapshot: SMALL }));
    await step(LARGE, () => persist(store, { opsSnapshot: LARGE }));
    await step(Buffer.of(), () => store.deleteOpsLifecycle(runtime));
    await step(LARGE, () => persist(store, { opsSnapshot: LARGE }));
    await step(Buffer.of(), () => store.deleteRuntime(runtime));
  });
  jest.restoreAllMocks();
  expect(await inspect(folder)).toEqual({ findings: [], values: 0 });
  expect(crashes.length).toBeGreaterThan(15);
  for (const { at, allowed: possible } of crashes) {
    await withStore(async (store, engine) => {
      await engine.reclaimed();
      const found = await ops(store);
      expect(possible.some((json) => json.equals(found))).toBe(true);
    }, at);
    expect((await inspect(at)).findings).toEqual([]);
  }
});

test("two documents of one runtime are replaced without garbage, and the check finds nothing", async () => {
  await withStore(async (store, engine) => {
    await commitSession(store);
    for (const json of [LARGE, SMALL, LARGE]) await persist(store, { opsSnapshot: json });
    await patch(store);
    await commitSession(store);
    await engine.reclaimed();
    expect((await ops(store)).equals(PATCHED)).toBe(true);
    expect((await session(store)).equals(SESSION)).toBe(true);
    const findings: Finding[] = [];
    const { counts } = await engine.check({ onFinding: (finding) => findings.push(finding) });
    expect(findings).toEqual([]);
    expect(counts).toMatchObject({ runtimes: 1, rows: 2 });
    expect(await runScrub(engine)).toMatchObject({ found: [], faults: [] });
  });
});

test("a patch of a large operation snapshot writes what it adds", async () => {
  await withStore(async (store, engine) => {
    await persist(store, { opsSnapshot: LARGE });
    await engine.reclaimed();
    const { usedBytes: before } = await engine.stats();
    await patch(store);
    await engine.reclaimed();
    const { usedBytes } = await engine.stats();
    // A leaf, the branches above it and some rows.
    expect(usedBytes - before).toBeLessThan(200_000);
  });
});

/** Damages a leaf of the operation snapshot: the session was stored before it, so its nodes have lower ids. */
const damageLeaf = (): Promise<void> =>
  damageFolder(folder, (environment) => {
    const transaction = environment.read();
    const { start, end } = documentBounds("node");
    const leaves = [...transaction.range(start, end)].filter(({ value }) => value.includes("of operation 3, line"));
    transaction.done();
    const [leaf] = leaves;
    if (!leaf) throw new Error("expected a leaf with a result");
    return lastBitFlipped(leaf.key)(environment);
  });

test("damage in an operation snapshot is found by a load, a check and a scrub, and a whole snapshot repairs it", async () => {
  await withStore(async (store, engine) => {
    await commitSession(store);
    await persist(store, { opsSnapshot: LARGE });
    await engine.reclaimed();
  });
  await damageLeaf();
  const record = "operation snapshot";
  const findings: Finding[] = [];
  await checkFolder(folder, { onFinding: (finding) => findings.push(finding) });
  expect(findings).toMatchObject([{ code: "document-damaged", runtimeId: "rt", record }]);
  await withStore(async (store, engine) => {
    const refusal = { variant: "ReadFailed", reason: "DAMAGED_RECORD", subject: { runtimeId: "rt", record } };
    await expect(ops(store)).rejects.toMatchObject(refusal);
    expect((await session(store)).equals(SESSION)).toBe(true);
    expect((await runScrub(engine)).found).toMatchObject([{ code: "document-damaged", runtimeId: "rt", record }]);
    const exporter = createEngineStore(engine);
    await expect(exportContents(exporter, runtime)).rejects.toMatchObject(refusal);
    const salvaged = await exportContents(exporter, { ...runtime, salvage: true });
    expect(salvaged?.ops).toBeUndefined();
    expect(SESSION.equals(salvaged?.session?.snapshot ?? Buffer.of())).toBe(true);
    expect(salvaged?.findings).toMatchObject([{ code: "document-damaged", record }]);
    await persist(store, { opsSnapshot: LARGE });
    expect((await ops(store)).equals(LARGE)).toBe(true);
    await engine.reclaimed();
    expect((await runScrub(engine)).found).toEqual([]);
  });
});

test("a check reports a document that is not the one of its row", async () => {
  await withStore(async (store, engine) => {
    await persist(store, { opsSnapshot: LARGE });
    await store.persistOpsLifecycle({ runtimeId: "other", opsDelta: { opsSnapshot: SMALL } });
    await engine.reclaimed();
  });
  // The row of the runtime without a document gets the root of the other one.
  await damageFolder(folder, (environment) => {
    const key = encodeKey({ table: "ops", runtimeId: "other" });
    const donor = environment.get(encodeKey({ table: "ops", runtimeId: "rt" }));
    const own = environment.get(key);
    if (!donor || !own) throw new Error("expected two operation snapshots");
    const record = Buffer.concat([donor.subarray(0, donor.length - decodeRecord(donor).value.length), SMALL]);
    return [key, record];
  });
  const findings: Finding[] = [];
  await checkFolder(folder, { onFinding: (finding) => findings.push(finding) });
  expect(findings.map(({ code, runtimeId }) => [code, runtimeId])).toContainEqual(["row-damaged", "other"]);
});
