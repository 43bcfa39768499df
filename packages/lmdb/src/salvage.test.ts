import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import {
  type ExportedRuntime,
  type Finding,
  type RuntimeContents,
  emptyContents,
  exportContents,
  importContents,
  isDamageFinding,
} from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { type EngineStore, createEngineStore } from "@bolthole/core";
import { LEAF_BYTES } from "./document-tree/node.js";
import { Environment, type Put } from "./environment.js";
import { documentKey, encodeKey } from "./keys.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { checkStore } from "./maintenance/check-store.js";
import { decodeRecord } from "./record.js";
import { damageFolder, lastBitFlipped } from "./testing/damaged-folder.js";
import { inputId, inputState } from "@bolthole/core/testing";

const RUN_ID = "0198f0a0-0000-7000-8000-0000000000c1";
/** An id that is too long for a key, so that only its hash is in the keys. */
const LONG_ID = "long ".repeat(200);

const documentOf = (runtimeId: string): Buffer => Buffer.alloc(3 * LEAF_BYTES + 17, runtimeId);

const contentsOf = (runtimeId: string): RuntimeContents => ({
  runtimeId,
  session: { snapshot: documentOf(runtimeId), profile: "opaque" },
  lifecycle: encodeLifecycleRecord({ runtimeState: "idle", binding: { fenceToken: 7n } }),
  ops: undefined,
  inputs: [inputState(1), inputState(2)],
  receipts: [
    { runId: RUN_ID, boundary: "run_start", contributingInputIds: [inputId(1)], messageCount: 1n, sequence: 0n },
  ],
});

/** Returns the contents with a checksum of the document, because jest compares long bytes slowly. */
const comparable = (contents: RuntimeContents | undefined): object => {
  const { session, ...records } = contents ?? emptyContents("nothing");
  return { ...records, session: session && [session.profile, session.snapshot.length, crc32(session.snapshot)] };
};

let folder: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-salvage-"));
  const engine = await LmdbEngine.open(folder);
  const store = createEngineStore(engine);
  for (const runtimeId of ["rt", "other", LONG_ID]) {
    const request = { contents: contentsOf(runtimeId), overwrite: false, dryRun: false };
    expect(await importContents(store, request)).toBe("added");
  }
  await engine.close();
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Opens a store as the daemon does: it refuses the runtimes whose manifests are damaged. */
async function withStore<T>(use: (store: EngineStore) => Promise<T>): Promise<T> {
  const damagedRuntimes = new Set<string>();
  for (const { code, runtimeId } of await damageFindings()) {
    if (runtimeId !== undefined && code.startsWith("head-")) damagedRuntimes.add(runtimeId);
  }
  const engine = await LmdbEngine.open(folder, { check: { level: "quick", maxBytes: Infinity } });
  try {
    const result = await use(createEngineStore(engine, { damagedRuntimes }));
    await engine.reclaimed();
    return result;
  } finally {
    await engine.close();
  }
}

/** Verifies the store in this process. */
async function damageFindings(): Promise<Finding[]> {
  const environment = new Environment(folder);
  const transaction = environment.read();
  try {
    const found: Finding[] = [];
    await checkStore(transaction, { onFinding: (finding) => found.push(finding) });
    return found.filter(isDamageFinding);
  } finally {
    transaction.done();
    await environment.close();
  }
}

const nameOf = ({ code, record }: Finding): string => (record === undefined ? code : `${code} ${record}`);

type DamagedTable = "input" | "receipt" | "snapshot" | "lifecycle" | "runtimeManifest";
type Damage = (runtimeId: string) => (environment: Environment) => Put;

function keyOf(table: DamagedTable, runtimeId: string): Buffer {
  switch (table) {
    case "input":
      return encodeKey({ table, runtimeId, inputId: inputId(2) });
    case "receipt":
      return encodeKey({ table, runtimeId, runId: RUN_ID, sequence: 0n });
    case "snapshot":
    case "lifecycle":
    case "runtimeManifest":
      return encodeKey({ table, runtimeId });
  }
}

const flipped =
  (table: DamagedTable): Damage =>
  (runtimeId) =>
    lastBitFlipped(keyOf(table, runtimeId));
const missing =
  (table: DamagedTable): Damage =>
  (runtimeId) =>
  () => [keyOf(table, runtimeId), undefined];
const garbage =
  (table: DamagedTable): Damage =>
  (runtimeId) =>
  () => [keyOf(table, runtimeId), Buffer.from("garbage")];

/** Changes bytes at a fixed position of a row. */
const withBytes =
  (table: DamagedTable, at: number, bytes: Buffer): Damage =>
  (runtimeId) =>
  (environment) => {
    const record = Buffer.from(environment.get(keyOf(table, runtimeId)) ?? "");
    record.set(bytes, at);
    return [keyOf(table, runtimeId), record];
  };
const CHECKSUM_AT = 4;
const SEQUENCE_AT = 8;
const ROOT_AT = 20;
const NAN = Buffer.from("000000000000f87f", "hex");

const rootOf = (environment: Environment, runtimeId: string): Buffer => {
  const row = decodeRecord(environment.get(keyOf("snapshot", runtimeId)) ?? Buffer.of());
  return documentKey("node", row.root?.id ?? -1);
};
const leafOf = (environment: Environment, runtimeId: string): Buffer =>
  documentKey("node", environment.get(rootOf(environment, runtimeId))?.readUIntLE(1, 6) ?? -1);

/** Gives a snapshot row the root of another runtime's document. */
const rootOfOther: Damage = (runtimeId) => (environment) => {
  const other = environment.get(keyOf("snapshot", "other")) ?? Buffer.of();
  const record = Buffer.from(environment.get(keyOf("snapshot", runtimeId)) ?? "");
  other.copy(record, ROOT_AT, ROOT_AT, ROOT_AT + 6);
  return [keyOf("snapshot", runtimeId), record];
};

const noSession = { session: undefined };
const oneInput = { inputs: [inputState(1)] };
const noReceipt = { receipts: [] };
const noLifecycle = { lifecycle: undefined };

const INPUT = `input state ${inputId(2)}`;
const MANIFEST = "runtime manifest";

test.each<[string, Damage, Partial<RuntimeContents>, string[]]>([
  ["a changed input row", flipped("input"), oneInput, [`row-damaged ${INPUT}`]],
  ["a missing input row", missing("input"), oneInput, [`head-differs ${MANIFEST}`]],
  ["an input row that is no row", garbage("input"), oneInput, [`row-damaged ${INPUT}`]],
  [
    "an input row with another checksum",
    withBytes("input", CHECKSUM_AT, Buffer.of(1, 2, 3)),
    oneInput,
    [`row-damaged ${INPUT}`],
  ],
  ["a changed receipt", flipped("receipt"), noReceipt, [`row-damaged boundary receipt ${RUN_ID} 0`]],
  ["a lifecycle record that is no row", garbage("lifecycle"), noLifecycle, ["row-damaged machine lifecycle record"]],
  ["a changed snapshot row", flipped("snapshot"), noSession, ["row-damaged session snapshot"]],
  [
    "a snapshot row with a sequence that is not a number",
    withBytes("snapshot", SEQUENCE_AT, NAN),
    noSession,
    ["row-damaged session snapshot"],
  ],
  ["the root of another document", rootOfOther, noSession, ["document-damaged session snapshot"]],
  [
    "a changed leaf",
    (runtimeId) => (environment) => lastBitFlipped(leafOf(environment, runtimeId))(environment),
    noSession,
    ["document-damaged session snapshot"],
  ],
  [
    "a missing leaf",
    (runtimeId) => (environment) => [leafOf(environment, runtimeId), undefined],
    noSession,
    ["document-damaged session snapshot"],
  ],
  [
    "a missing branch",
    (runtimeId) => (environment) => [rootOf(environment, runtimeId), undefined],
    noSession,
    ["document-damaged session snapshot"],
  ],
  ["a changed manifest", flipped("runtimeManifest"), {}, [`row-damaged ${MANIFEST}`, `head-missing ${MANIFEST}`]],
  ["a missing manifest", missing("runtimeManifest"), {}, [`head-missing ${MANIFEST}`]],
  [
    "a manifest with a sequence that is not a number",
    withBytes("runtimeManifest", SEQUENCE_AT, NAN),
    {},
    [`row-damaged ${MANIFEST}`, `head-missing ${MANIFEST}`],
  ],
  [
    "a manifest with another checksum",
    withBytes("runtimeManifest", CHECKSUM_AT, Buffer.of(1, 2, 3)),
    {},
    [`row-damaged ${MANIFEST}`, `head-missing ${MANIFEST}`],
  ],
])("%s is reported by a salvage, and is gone after the salvage is imported", async (_what, change, lost, expected) => {
  for (const runtimeId of ["rt", LONG_ID]) {
    await damageFolder(folder, change(runtimeId));
    expect(await damageFindings()).not.toEqual([]);
    const salvaged = await withStore(async (store) => {
      await expect(exportContents(store, { runtimeId })).rejects.toMatchObject({ reason: "DAMAGED_RECORD" });
      const { findings, ...contents } = (await exportContents(store, { runtimeId, salvage: true })) as ExportedRuntime;
      expect(findings.map(nameOf)).toEqual(expected);
      expect(comparable(contents)).toEqual(comparable({ ...contentsOf(runtimeId), ...lost }));
      expect(await importContents(store, { contents, overwrite: false, dryRun: false })).toBe("kept");
      expect(await importContents(store, { contents, overwrite: true, dryRun: false })).toBe("replaced");
      expect(comparable(await exportContents(store, { runtimeId }))).toEqual({ ...comparable(contents), findings: [] });
      await store.persistInputState({ runtimeId, state: inputState(3) });
      return contents;
    });
    expect(await damageFindings()).toEqual([]);
    await withStore(async (store) => {
      const inputs = [...salvaged.inputs, inputState(3)];
      const exported = await exportContents(store, { runtimeId });
      expect(comparable(exported)).toEqual({ ...comparable({ ...salvaged, inputs }), findings: [] });
      const other = await exportContents(store, { runtimeId: "other" });
      expect(comparable(other)).toEqual({ ...comparable(contentsOf("other")), findings: [] });
    });
  }
});

test("a runtime in which everything is damaged can be replaced by a backup, or deleted", async () => {
  for (const contents of [contentsOf("rt"), undefined]) {
    for (const table of ["snapshot", "lifecycle", "input", "receipt", "runtimeManifest"] as const) {
      await damageFolder(folder, garbage(table)("rt"));
    }
    await damageFolder(folder, () => [encodeKey({ table: "input", runtimeId: "rt", inputId: inputId(1) }), undefined]);
    await withStore(async (store) => {
      const { findings, ...left } = (await exportContents(store, { runtimeId: "rt", salvage: true })) ?? {};
      expect(left).toEqual(emptyContents("rt"));
      expect(findings).toHaveLength(6);
      if (!contents) await store.deleteRuntime({ runtimeId: "rt" });
      else expect(await importContents(store, { contents, overwrite: true, dryRun: false })).toBe("replaced");
    });
    expect(await damageFindings()).toEqual([]);
  }
});

test("the damage of one runtime stays reported while another one is replaced", async () => {
  await damageFolder(folder, missing("runtimeManifest")("rt"));
  await damageFolder(folder, missing("runtimeManifest")(LONG_ID));
  await withStore((store) => importContents(store, { contents: contentsOf("rt"), overwrite: true, dryRun: false }));
  expect((await damageFindings()).map(nameOf)).toEqual([`head-missing ${MANIFEST}`]);
  await withStore((store) => importContents(store, { contents: contentsOf(LONG_ID), overwrite: true, dryRun: false }));
  expect(await damageFindings()).toEqual([]);
});
