import {
  type Finding,
  type ImportResult,
  type RuntimeContents,
  emptyContents,
  exportContents,
  importContents,
} from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { writeOpsSnapshot } from "@bolthole/json";
import { StoreAudit } from "../audit/store-audit.js";
import { ReadSet, makeRow } from "../commit/row.js";
import type { Row, RowKey } from "../engine.js";
import { type EngineStore, createEngineStore } from "../engine-store.js";
import { MemoryEngine } from "../memory-engine.js";
import { inputId, inputState } from "../testing/input-states.js";
import { SINGLE_TABLES } from "./stored-runtime.js";

const RUN_ID = "0198f0a0-0000-7000-8000-0000000000c1";

const CONTENTS: RuntimeContents = {
  runtimeId: "rt",
  session: { snapshot: Buffer.alloc(1_000, "document"), profile: "opaque" },
  lifecycle: encodeLifecycleRecord({ runtimeState: "idle", binding: { fenceToken: 7n } }),
  ops: writeOpsSnapshot({
    epochId: inputId(9),
    authorityState: {
      operations: {},
      completionFeedEntries: {},
      completedOrder: [],
      maxCompleted: 0n,
      activeCount: 0n,
      waitOperationIds: [],
      nextCompletionSeq: 1n,
    },
    operationSpecs: {},
    completionEntries: [],
    cursors: { agentAppliedCursor: 1n, runtimeObservedSeq: 2n, runtimeLastInjectedSeq: 3n },
  }),
  inputs: [inputState(1), inputState(2)],
  receipts: [
    { runId: RUN_ID, boundary: "run_start", contributingInputIds: [inputId(1)], messageCount: 1n, sequence: 0n },
  ],
};

const KEYS = {
  snapshot: { table: "snapshot", runtimeId: "rt" },
  lifecycle: { table: "lifecycle", runtimeId: "rt" },
  ops: { table: "ops", runtimeId: "rt" },
  input: { table: "input", runtimeId: "rt", inputId: inputId(2) },
  receipt: { table: "receipt", runtimeId: "rt", runId: RUN_ID, sequence: 0n },
  manifest: { table: "runtimeManifest", runtimeId: "rt" },
} as const satisfies Record<string, RowKey>;

let engine: MemoryEngine;
let store: EngineStore;
beforeEach(async () => {
  engine = new MemoryEngine();
  store = createEngineStore(engine);
  await store.persistInputState({ runtimeId: "other", state: inputState(1) });
  expect(await imported(CONTENTS)).toBe("added");
});

const imported = (contents: RuntimeContents, overwrite = true, dryRun = false): Promise<ImportResult> =>
  importContents(store, { contents, overwrite, dryRun });

/** Changes a row without updating the manifests. The document of a snapshot row stays. */
async function damage(key: RowKey, change: (row: Row) => Row | undefined): Promise<void> {
  const reads = new ReadSet();
  const handle = reads.add(key);
  const stored = await engine.view((view) => view.get(key));
  if (!stored) throw new Error("the row to damage is missing");
  const document =
    key.table === "snapshot" ? await engine.stage(key, stored.sequence, [{ offset: 0, length: 1_000 }]) : undefined;
  await engine.commit({
    reads,
    bytes: 0,
    decide: () => ({ writes: [{ handle, row: change(stored), document }], result: undefined, freesSpace: false }),
  });
}

const flipped = (row: Row): Row => {
  const value = Buffer.from(row.value);
  value[value.length - 1] = (value.at(-1) ?? 0) ^ 1;
  return { ...row, value };
};
const missing = (): undefined => undefined;

/** Verifies the rows of the store and of the runtimes "other" and "rt", and returns the findings. */
async function verified(): Promise<string[]> {
  const audit = new StoreAudit();
  const findings: Finding[] = [];
  await engine.view(async (view) => {
    const take = (key: RowKey, row: Row | undefined): void => {
      const document = key.table === "snapshot" ? { length: 1_000, crc32: row?.value ? factsCrc(row) : 0 } : undefined;
      if (row) findings.push(...audit.take({ key, row, document }));
    };
    take({ table: "storeManifest" }, await view.get({ table: "storeManifest" }));
    for (const runtimeId of ["other", "rt"]) {
      for (const table of ["runtimeManifest", ...SINGLE_TABLES] as const) {
        take({ table, runtimeId }, await view.get({ table, runtimeId }));
      }
      for (const table of ["input", "receipt"] as const) {
        for (const { key, row } of await view.scan({ table, runtimeId }, 100)) take(key, row);
      }
    }
  });
  return [...findings, ...audit.end()].map(nameOf);
}

/** Returns the checksum in the facts of a snapshot row. The engine in memory has no other one. */
const factsCrc = ({ value }: Row): number => Buffer.from(value).readUInt32LE(2);

const nameOf = ({ code, runtimeId, record }: Finding): string => [code, runtimeId, record].filter(Boolean).join(" ");

const damagedRecord = { reason: "DAMAGED_RECORD", subject: { runtimeId: "rt" } };

test("a salvage of an undamaged runtime returns what an export returns", async () => {
  const exported = await exportContents(store, { runtimeId: "rt" });
  expect(exported).toMatchObject({ ...CONTENTS, findings: [] });
  expect(await exportContents(store, { runtimeId: "rt", salvage: true })).toEqual(exported);
  expect(await exportContents(store, { runtimeId: "nothing", salvage: true })).toBeUndefined();
  expect(await verified()).toEqual([]);
});

test.each<[string, RowKey, (row: Row) => Row | undefined, Partial<RuntimeContents>, string[]]>([
  [
    "a changed input row",
    KEYS.input,
    flipped,
    { inputs: [inputState(1)] },
    [`row-damaged rt input state ${inputId(2)}`],
  ],
  [
    "an input row with a changed checksum",
    KEYS.input,
    (row) => ({ ...row, checksum: row.checksum ^ 1 }),
    { inputs: [inputState(1)] },
    [`row-damaged rt input state ${inputId(2)}`],
  ],
  [
    "an input row that cannot be decoded",
    KEYS.input,
    ({ sequence }) => makeRow(KEYS.input, sequence, Buffer.from("text")),
    { inputs: [inputState(1)] },
    [`row-unreadable rt input state ${inputId(2)}`, "head-differs rt runtime manifest"],
  ],
  ["a missing input row", KEYS.input, missing, { inputs: [inputState(1)] }, ["head-differs rt runtime manifest"]],
  ["a changed receipt", KEYS.receipt, flipped, { receipts: [] }, [`row-damaged rt boundary receipt ${RUN_ID} 0`]],
  [
    "a changed lifecycle record",
    KEYS.lifecycle,
    flipped,
    { lifecycle: undefined },
    ["row-damaged rt machine lifecycle record"],
  ],
  ["a changed operation snapshot", KEYS.ops, flipped, { ops: undefined }, ["row-damaged rt operation snapshot"]],
  ["a changed snapshot row", KEYS.snapshot, flipped, { session: undefined }, ["row-damaged rt session snapshot"]],
  [
    "a lifecycle record with a damaged sequence",
    KEYS.lifecycle,
    (row) => ({ ...row, sequence: NaN }),
    { lifecycle: undefined },
    ["row-damaged rt machine lifecycle record"],
  ],
  [
    "a changed manifest",
    KEYS.manifest,
    flipped,
    {},
    ["row-damaged rt runtime manifest", "head-missing rt runtime manifest"],
  ],
  [
    "a manifest with a damaged sequence",
    KEYS.manifest,
    (row) => ({ ...row, sequence: NaN }),
    {},
    ["row-damaged rt runtime manifest", "head-missing rt runtime manifest"],
  ],
  [
    "a manifest with a changed checksum",
    KEYS.manifest,
    (row) => ({ ...row, checksum: row.checksum ^ 1 }),
    {},
    ["row-damaged rt runtime manifest", "head-missing rt runtime manifest"],
  ],
  [
    "a manifest that is no row",
    KEYS.manifest,
    () => ({ sequence: -1, checksum: -1, value: Buffer.from("text") }),
    {},
    ["row-damaged rt runtime manifest", "head-missing rt runtime manifest"],
  ],
  ["a missing manifest", KEYS.manifest, missing, {}, ["head-missing rt runtime manifest"]],
])("%s is left out and reported by a salvage, and is gone after an import", async (_what, key, change, lost, found) => {
  await damage(key, change);
  await expect(exportContents(store, { runtimeId: "rt" })).rejects.toMatchObject(damagedRecord);

  const { findings = [], ...salvaged } = (await exportContents(store, { runtimeId: "rt", salvage: true })) ?? {};
  expect(salvaged).toMatchObject({ ...CONTENTS, ...lost });
  expect(findings.map(nameOf)).toEqual(found);

  expect(await imported(CONTENTS, false)).toBe("kept");
  expect(await imported(CONTENTS, true, true)).toBe("replaced");
  expect(await exportContents(store, { runtimeId: "rt", salvage: true })).toMatchObject({ findings });
  expect(await imported(salvaged as RuntimeContents)).toBe("replaced");
  expect(await verified()).toEqual([]);
  expect(await exportContents(store, { runtimeId: "rt" })).toMatchObject({ ...CONTENTS, ...lost, findings: [] });
  expect(await imported(salvaged as RuntimeContents)).toBe("unchanged");
  expect(await imported(CONTENTS)).toBe(Object.keys(lost).length === 0 ? "unchanged" : "replaced");
  expect(await verified()).toEqual([]);
});

test("an import without records is refused also for a runtime whose rows are missing, which a deletion removes", async () => {
  const others = Object.values(KEYS).filter((key) => key !== KEYS.manifest);
  for (const key of [...others, { ...KEYS.input, inputId: inputId(1) }]) await damage(key, missing);
  for (const overwrite of [false, true]) {
    await expect(imported(emptyContents("rt"), overwrite)).rejects.toMatchObject({
      reason: "INVALID_ARGUMENT",
      applied: "no",
      message: expect.stringContaining("use DeleteRuntime") as string,
    });
  }
  await store.deleteRuntime({ runtimeId: "rt" });
  expect(await exportContents(store, { runtimeId: "rt" })).toBeUndefined();
  expect(await verified()).toEqual([]);
});

test("two damaged runtimes are replaced at the same time, and the store manifest counts both once", async () => {
  expect(await imported({ ...CONTENTS, runtimeId: "other" })).toBe("replaced");
  await damage(KEYS.manifest, missing);
  await damage({ table: "runtimeManifest", runtimeId: "other" }, missing);
  const results = await Promise.all(
    ["rt", "other"].map(async (runtimeId) => {
      await store.persistInputState({ runtimeId: "busy", state: inputState(1, 1) });
      return imported({ ...CONTENTS, runtimeId });
    }),
  );
  expect(results).toEqual(["replaced", "replaced"]);
  await store.deleteRuntime({ runtimeId: "busy" });
  expect(await verified()).toEqual([]);
});

test("every record has a new version after an import over damage, so that no client continues with an old one", async () => {
  const versions = async (): Promise<unknown[]> => [
    (await store.loadInputState({ runtimeId: "rt", inputId: inputId(1) }))?.version,
    (await store.loadInputStates({ runtimeId: "rt" })).inputsVersion,
  ];
  const before = await versions();
  await damage(KEYS.manifest, flipped);
  expect(await imported(CONTENTS)).toBe("replaced");
  for (const [index, version] of (await versions()).entries()) expect(version).not.toBe(before[index]);
});

test("a list names the damaged runtimes, and those that are refused", async () => {
  await damage(KEYS.manifest, flipped);
  store = createEngineStore(engine, { damagedRuntimes: new Set(["other"]) });
  const { runtimes } = await store.listRuntimes({ pageSize: 0, pageToken: "" });
  expect(runtimes.map(({ runtimeId, hasDamagedManifest }) => [runtimeId, hasDamagedManifest])).toEqual([
    ["other", true],
    ["rt", true],
  ]);
});

describe("a runtime that is refused as damaged", () => {
  const refused = new Set<string>();
  beforeEach(async () => {
    store = createEngineStore(engine, { damagedRuntimes: refused.add("rt") });
    await damage(KEYS.input, missing);
  });

  test("is salvaged, replaced, and then no longer refused", async () => {
    await expect(exportContents(store, { runtimeId: "rt" })).rejects.toMatchObject(damagedRecord);
    const salvaged = await exportContents(store, { runtimeId: "rt", salvage: true });
    expect(salvaged).toMatchObject({ inputs: [inputState(1)], findings: [{ code: "head-differs" }] });
    expect(await imported(CONTENTS, false)).toBe("kept");
    expect(await imported(CONTENTS, true, true)).toBe("replaced");
    await expect(store.loadInputStates({ runtimeId: "rt" })).rejects.toMatchObject(damagedRecord);
    expect(await imported(CONTENTS)).toBe("replaced");
    expect(await exportContents(store, { runtimeId: "rt" })).toMatchObject(CONTENTS);
    await store.persistInputState({ runtimeId: "rt", state: inputState(3) });
    expect(await verified()).toEqual([]);
  });

  test("is no longer refused after an import that finds it undamaged", async () => {
    expect(await imported(CONTENTS)).toBe("replaced");
    refused.add("rt");
    expect(await imported(CONTENTS)).toBe("unchanged");
    expect(await store.loadInputState({ runtimeId: "rt", inputId: inputId(1) })).toBeDefined();
  });
});
