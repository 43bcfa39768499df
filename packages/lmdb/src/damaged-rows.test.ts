import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import type { Finding } from "@bolthole/contract";
import { type EngineStore, type RowKey, createEngineStore } from "@bolthole/core";
import { inputId, inputState } from "@bolthole/core/testing";
import { Environment } from "./environment.js";
import { encodeKey } from "./keys.js";
import { LmdbEngine } from "./lmdb-engine.js";
import { checkStore } from "./maintenance/check-store.js";
import { damageFolder } from "./testing/damaged-folder.js";

/*
 * One flipped bit in a row, and then ordinary calls that replace or delete it. Whatever they do, the manifests must agree with the
 * rows afterwards: the checksum of a damaged row must not be subtracted unseen.
 */

let site: string;
let base: string;
let folder: string;
let copies = 0;

beforeAll(async () => {
  site = mkdtempSync(join(tmpdir(), "bolthole-damaged-rows-"));
  folder = base = join(site, "base");
  mkdirSync(base);
  await withStore(async (store) => {
    for (const serial of [1, 2, 3]) {
      await store.persistInputState({ runtimeId, state: inputState(serial), requestId: requestId(serial) });
      await store.atomicApply({ runtimeId, ...boundary(BigInt(serial)), inputUpdates: [] });
    }
    await store.commitMachineLifecycle({ runtimeId, record: LIFECYCLE, inputStates: [] });
    const sessionDelta = { sessionSnapshot: Buffer.from("one"), profile: "opaque" } as const;
    await store.commitSessionSnapshot({ runtimeId, sessionDelta, requestId: requestId(4) });
    await store.persistAuthOauthFlowSnapshot({ snapshot: Buffer.from("before"), requestId: requestId(5) });
  });
});

afterAll(() => {
  rmSync(site, { recursive: true });
});

/** Works on a fresh copy of the store. */
beforeEach(() => {
  copies += 1;
  folder = join(site, String(copies));
  cpSync(base, folder, { recursive: true });
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

const RUN = inputId(900);
const runtimeId = "rt";
const OAUTH = Buffer.from("oauth state");
const LIFECYCLE = encodeLifecycleRecord({ runtimeState: "idle", binding: {} });
/** Returns a request id of the present. A larger serial number is later. */
const requestId = (serial: number): string => {
  const time = (START_MS + serial).toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-000000000000`;
};
const START_MS = Date.now();
const boundary = (sequence: bigint) => ({
  sessionDelta: undefined,
  sessionStoreKey: undefined,
  receipt: { runId: RUN, boundary: "run_start" as const, contributingInputIds: [], messageCount: 1n, sequence },
});

async function withStore<T>(use: (store: EngineStore, engine: LmdbEngine) => Promise<T>): Promise<T> {
  const engine = await LmdbEngine.open(folder);
  try {
    return await use(createEngineStore(engine, { outcomeRetention: { maxCount: 2, maxAgeSeconds: 1e9 } }), engine);
  } finally {
    await engine.close();
  }
}

async function findings(): Promise<Finding[]> {
  const found: Finding[] = [];
  const environment = new Environment(folder, { readOnly: true });
  const transaction = environment.read();
  try {
    await checkStore(transaction, { onFinding: (finding) => found.push(finding) });
  } finally {
    transaction.done();
    await environment.close();
  }
  return found;
}

/** Flips one bit of a stored row. */
const damage = (key: RowKey, at: number, bit: number): Promise<void> =>
  damageFolder(folder, (environment) => {
    const stored = encodeKey(key);
    const record = Buffer.from(environment.get(stored) ?? "");
    const index = at % record.length;
    record[index] = (record[index] ?? 0) ^ (1 << bit);
    return [stored, record];
  });

/** The calls that replace or delete a row of each table, or keep it because it is equal. */
const CALLS: readonly (readonly [name: string, key: RowKey, call: (store: EngineStore) => Promise<unknown>])[] = [
  [
    "an input row is replaced",
    { table: "input", runtimeId, inputId: inputId(1) },
    (store) => store.persistInputState({ runtimeId, state: inputState(1, 7) }),
  ],
  [
    "an equal input row is committed",
    { table: "input", runtimeId, inputId: inputId(1) },
    (store) => store.persistInputState({ runtimeId, state: inputState(1) }),
  ],
  [
    "a boundary replaces input rows",
    { table: "input", runtimeId, inputId: inputId(2) },
    (store) => store.atomicApply({ runtimeId, ...boundary(5n), inputUpdates: [inputState(1, 3), inputState(2, 3)] }),
  ],
  [
    "the lifecycle record is replaced",
    { table: "lifecycle", runtimeId },
    (store) => store.commitMachineLifecycle({ runtimeId, record: LIFECYCLE, inputStates: [inputState(1, 4)] }),
  ],
  [
    "the snapshot is replaced",
    { table: "snapshot", runtimeId },
    (store) =>
      store.commitSessionSnapshot({
        runtimeId,
        sessionDelta: { sessionSnapshot: Buffer.from("two"), profile: "opaque" },
      }),
  ],
  ["the snapshot is deleted", { table: "snapshot", runtimeId }, (store) => store.clearSessionSnapshot({ runtimeId })],
  ["OAuth state is replaced", { table: "oauth" }, (store) => store.persistAuthOauthFlowSnapshot({ snapshot: OAUTH })],
  [
    "the runtime is deleted",
    { table: "receipt", runtimeId, runId: RUN, sequence: 1n },
    (store) => store.deleteRuntime({ runtimeId }),
  ],
  ["outcomes are pruned", { table: "outcome", requestId: requestId(1) }, (store) => store.prune()],
];

/** Bits of a record: its form, its level, the length of its id, its checksum, its sequence, the checksum of its root, its value. */
const BITS = [
  [0, 0],
  [1, 0],
  [2, 3],
  [4, 0],
  [7, 7],
  [8, 1],
  [14, 4],
  [17, 2],
  [21, 0],
  [30, 5],
] as const;

describe.each(CALLS)("%s", (_name, key, call) => {
  test.each(BITS)("bit %i.%i of the row does not make a manifest differ", async (at, bit) => {
    await damage(key, at, bit);
    await withStore(async (store) => {
      await call(store).catch((error: unknown) => {
        expect(error).toMatchObject({ reason: "DAMAGED_RECORD", applied: "no" });
      });
    });
    const codes = (await findings()).map(({ code }) => code);
    expect(
      codes.filter((code) => code === "head-differs" || code === "head-missing" || code === "store-differs"),
    ).toEqual([]);
  });
});
