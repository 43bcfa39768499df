import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { type ExpectedVersion, RuntimeStoreAdapter, type VersionedStore } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { EMPTY_CONTENTS, assertEqual, assertRefused, assertSame, assertSameBytes, contentsOf } from "../assertions.js";
import { type CaseContext, chapter, testCase } from "../chapter.js";
import { RUNTIME, inputId, inputState, lifecycle, opsSnapshot, receipt, session } from "../fixtures.js";
import { MUTATING_METHODS, MUTATIONS } from "./mutations.js";

const CONFLICT = { variant: "WriteFailed", reason: "VERSION_CONFLICT" } as const;
const FENCE = { variant: "WriteFailed", reason: "FENCE_CONFLICT" } as const;

/** Functions that write a new value of a record of each kind and return its version. */
const WRITERS: Readonly<Record<ExpectedVersion["record"], (store: VersionedStore) => Promise<string>>> = {
  session_snapshot: async (store) =>
    (await store.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: { sessionSnapshot: session(1, 1) } }))
      .version,
  machine_lifecycle: async (store) => (await commitLifecycle(store, undefined)).version,
  ops_lifecycle: async (store) =>
    (await store.persistOpsLifecycle({ runtimeId: RUNTIME, snapshot: opsSnapshot(1) })).version,
  input_state: async (store) => {
    const state = inputState(1, { attemptCount: (await attemptsOf(store)) + 1 });
    return (await store.persistInputState({ runtimeId: RUNTIME, state })).version;
  },
};

/** Returns a number that changes with every write of the row. */
async function attemptsOf(store: VersionedStore): Promise<number> {
  const row = await store.loadInputState({ runtimeId: RUNTIME, inputId: inputId(1) });
  return row?.value.attemptCount ?? 0;
}

const commitLifecycle = (store: VersionedStore, fenceToken: bigint | undefined, expectedFenceToken?: bigint) =>
  store.commitMachineLifecycle({
    runtimeId: RUNTIME,
    record: encodeLifecycleRecord(lifecycle("idle", { fenceToken })),
    inputStates: [],
    expectedFenceToken,
  });

/** Applies receipt `receipt(7, sequence)` and input row 7 with these expected versions. */
const expecting = (store: VersionedStore, sequence: number, expectedVersions: readonly ExpectedVersion[]) =>
  store.atomicApply({
    runtimeId: RUNTIME,
    sessionDelta: undefined,
    receipt: receipt(7, BigInt(sequence)),
    inputUpdates: [inputState(7, { attemptCount: sequence })],
    sessionStoreKey: undefined,
    expectedVersions,
  });

async function storeIdOf({ versioned }: CaseContext): Promise<string> {
  return (await versioned.getServerInfo({})).storeId;
}

/** Expectations of a mutation: versions, a fence token and the store id that must hold for it to apply. */
export const expectationsChapter = chapter(
  "expectations",
  ["versions"],
  [
    ...(Object.keys(WRITERS) as ExpectedVersion["record"][]).map((record) =>
      testCase(`${record}: a mutation applies only at the expected version`, async ({ store, versioned }) => {
        const named = record === "input_state" ? { record, inputId: inputId(1) } : { record };
        await expecting(versioned, 0, [{ ...named, version: undefined }]);
        const first = await WRITERS[record](versioned);
        const before = await contentsOf(store, RUNTIME);
        await assertRefused(expecting(versioned, 1, [{ ...named, version: undefined }]), {
          ...CONFLICT,
          record,
          expected: "none",
          actual: first,
        });
        await assertRefused(expecting(versioned, 1, [{ ...named, version: `${first}0` }]), CONFLICT);
        await assertRefused(expecting(versioned, 1, [{ ...named, version: "" }]), CONFLICT);
        assertSame(await contentsOf(store, RUNTIME), before);
        await expecting(versioned, 1, [{ ...named, version: first }]);
        const second = await WRITERS[record](versioned);
        assert.notEqual(second, first);
        await assertRefused(expecting(versioned, 2, [{ ...named, version: first }]), { ...CONFLICT, actual: second });
        await expecting(versioned, 2, [{ ...named, version: second }]);
      }),
    ),

    testCase("a mutation applies only when all its expected versions hold", async ({ versioned }) => {
      const version = await WRITERS.ops_lifecycle(versioned);
      const held = { record: "ops_lifecycle", version } as const;
      const missed = { record: "session_snapshot", version } as const;
      await assertRefused(expecting(versioned, 0, [held, missed]), CONFLICT);
      await assertRefused(expecting(versioned, 0, [missed, held]), CONFLICT);
      await expecting(versioned, 0, [held, { record: "session_snapshot", version: undefined }]);
    }),

    testCase("an expected version of an input row needs an input id that is a UUID", async ({ store, versioned }) => {
      for (const id of [undefined, "x"]) {
        await assertRefused(expecting(versioned, 0, [{ record: "input_state", inputId: id, version: undefined }]), {
          variant: "WriteFailed",
          reason: "INVALID_ARGUMENT",
          record: "input_id",
        });
      }
      assertSame(await contentsOf(store, RUNTIME), EMPTY_CONTENTS);
    }),

    testCase("every load returns the version of the mutation that wrote the record", async ({ versioned }) => {
      const applied = await versioned.atomicApply({
        runtimeId: RUNTIME,
        sessionDelta: { sessionSnapshot: session(1, 1) },
        receipt: receipt(1, 0n),
        inputUpdates: [inputState(1)],
        sessionStoreKey: undefined,
      });
      const { version } = applied;
      assertEqual((await versioned.loadSessionSnapshot({ runtimeId: RUNTIME }))?.version, version);
      const key = { runtimeId: RUNTIME, runId: receipt(1, 0n).runId, sequence: 0n };
      assertEqual((await versioned.loadBoundaryReceipt(key))?.version, version);
      assertEqual((await versioned.loadInputState({ runtimeId: RUNTIME, inputId: inputId(1) }))?.version, version);
      for await (const batch of (await versioned.loadInputStates({ runtimeId: RUNTIME })).batches) {
        assertSame(batch, [{ value: inputState(1), version }]);
      }
      const record = await commitLifecycle(versioned, 1n);
      assertEqual((await versioned.loadMachineLifecycleRecord({ runtimeId: RUNTIME }))?.version, record.version);
      const ops = await WRITERS.ops_lifecycle(versioned);
      assertEqual((await versioned.loadOpsLifecycle({ runtimeId: RUNTIME }))?.version, ops);
    }),

    testCase("no version is used twice, not after a delete and not for equal bytes", async ({ versioned }) => {
      const seen: string[] = [];
      for (let round = 0; round < 4; round += 1) {
        for (const write of Object.values(WRITERS)) seen.push(await write(versioned));
        await versioned.clearSessionSnapshot({ runtimeId: RUNTIME });
        await versioned.deleteOpsLifecycle({ runtimeId: RUNTIME });
      }
      assertEqual(new Set(seen).size, seen.length);
    }),

    testCase("a compare-and-set of the snapshot accepts a version instead of bytes", async ({ store, versioned }) => {
      const first = await WRITERS.session_snapshot(versioned);
      const second = await WRITERS.session_snapshot(versioned);
      const replace = (version: string) =>
        versioned.replaceSessionSnapshotIfCurrent({
          runtimeId: RUNTIME,
          expected: { version },
          replacement: { sessionSnapshot: session(1, 2) },
        });
      assertEqual(await replace(first), undefined, "replace at the old version of equal bytes");
      assertEqual(await replace("nonsense"), undefined);
      const third = await replace(second);
      assert.ok(third, "expected a replacement at the current version, found a miss");
      assertEqual(
        await versioned.clearSessionSnapshotIfCurrent({ runtimeId: RUNTIME, expected: { version: second } }),
        undefined,
      );
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), session(1, 2));
      const cleared = await versioned.clearSessionSnapshotIfCurrent({
        runtimeId: RUNTIME,
        expected: { version: third.version },
      });
      assert.ok(cleared, "expected a clear at the current version, found a miss");
      assertEqual(await store.loadSessionSnapshot(RUNTIME), undefined);
    }),

    testCase("an expected digest of the wrong length is refused", async ({ versioned }) => {
      const call = versioned.clearSessionSnapshotIfCurrent({
        runtimeId: RUNTIME,
        expected: { sha256: new Uint8Array(31) },
      });
      await assertRefused(call, { variant: "WriteFailed", reason: "INVALID_ARGUMENT", record: "sha256" });
    }),

    testCase("a compare-and-set that misses is refused when another expectation does not hold", async (context) => {
      const { store, versioned } = context;
      const lifecycleVersion = (await commitLifecycle(versioned, 5n)).version;
      const expected = { sha256: Buffer.alloc(32) };
      const replacement = { sessionSnapshot: session(1, 2) };
      for (const base of [undefined, session(1, 1)]) {
        if (base) await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: base });
        const before = await contentsOf(store, RUNTIME);
        const replace = (expectations: object) =>
          versioned.replaceSessionSnapshotIfCurrent({ runtimeId: RUNTIME, ...expectations, expected, replacement });
        const clear = (expectations: object) =>
          versioned.clearSessionSnapshotIfCurrent({ runtimeId: RUNTIME, ...expectations, expected });
        for (const attempt of [replace, clear]) {
          await assertRefused(attempt({ expectedFenceToken: 4n }), FENCE);
          const versions = (version: string) => ({ expectedVersions: [{ record: "machine_lifecycle", version }] });
          await assertRefused(attempt(versions(`${lifecycleVersion}0`)), CONFLICT);
          assertSame(await attempt({ expectedFenceToken: 5n, ...versions(lifecycleVersion) }), undefined);
        }
        assertSame(await contentsOf(store, RUNTIME), before);
      }
    }),

    testCase("an expected fence token must equal that of the stored lifecycle record", async ({ store, versioned }) => {
      const persist = (expectedFenceToken: bigint) =>
        versioned.persistInputState({ runtimeId: RUNTIME, state: inputState(1), expectedFenceToken });
      await assertRefused(persist(0n), { ...FENCE, expected: "0", actual: "none" });
      await commitLifecycle(versioned, undefined);
      await assertRefused(persist(0n), { ...FENCE, actual: "none" });
      await commitLifecycle(versioned, 7n);
      for (const token of [0n, 6n, 8n, 2n ** 64n - 1n]) {
        await assertRefused(persist(token), { ...FENCE, expected: token.toString(), actual: "7" });
      }
      assertSame(await store.loadInputStates(RUNTIME), []);
      await persist(7n);
      assertSame(await store.loadInputStates(RUNTIME), [inputState(1)]);
      await assertRefused(
        versioned.persistInputState({ runtimeId: "other", state: inputState(1), expectedFenceToken: 7n }),
        FENCE,
      );
    }),

    testCase(
      "the expected fence token of a lifecycle commit is compared with the record that it replaces",
      async ({ versioned }) => {
        await assertRefused(commitLifecycle(versioned, 1n, 1n), FENCE);
        await commitLifecycle(versioned, 1n);
        await assertRefused(commitLifecycle(versioned, 2n, 2n), { ...FENCE, actual: "1" });
        await commitLifecycle(versioned, 2n, 1n);
        await commitLifecycle(versioned, 2n ** 64n - 1n, 2n);
        await commitLifecycle(versioned, 0n, 2n ** 64n - 1n);
        await commitLifecycle(versioned, undefined, 0n);
      },
    ),

    testCase("the id of another store is refused by every mutation", async (context) => {
      const { versioned } = context;
      const replaced = { variant: "WriteFailed", reason: "STORE_REPLACED", actual: await storeIdOf(context) } as const;
      const expectedStoreId = randomUUID();
      for (const method of MUTATING_METHODS) {
        await assertRefused(MUTATIONS[method](versioned, { expectedStoreId }), replaced);
      }
      assertSame(await contentsOf(context.store, RUNTIME), EMPTY_CONTENTS);
      await MUTATIONS.persistInputState(versioned, { expectedStoreId: await storeIdOf(context) });
    }),

    testCase("a store with expectations refuses every call whose expectations do not hold", async (context) => {
      const plain = new RuntimeStoreAdapter(context.versioned, await storeIdOf(context));
      const fenced = plain.withExpectations({ fenceToken: 5n });
      await assertRefused(fenced.persistOpsLifecycle(RUNTIME, opsSnapshot(1)), FENCE);
      await plain.commitMachineLifecycle(RUNTIME, lifecycle("running", { fenceToken: 5n }), []);
      await fenced.persistOpsLifecycle(RUNTIME, opsSnapshot(1));
      await fenced.commitMachineLifecycle(RUNTIME, lifecycle("running", { fenceToken: 6n }), []);
      await assertRefused(fenced.atomicApply(RUNTIME, undefined, receipt(1, 0n), [], undefined), FENCE);
      const absent = plain.withExpectations({ versions: [{ record: "ops_lifecycle", version: undefined }] });
      await assertRefused(absent.deleteOpsLifecycle(RUNTIME), CONFLICT);
      assertSame(await context.store.loadOpsLifecycle(RUNTIME), opsSnapshot(1));
    }),
  ],
);
