import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { type ExpectedVersion, RuntimeStoreAdapter, type VersionedStore } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { EMPTY_CONTENTS, contents, refused, same, sameBytes } from "../assertions.js";
import { type CaseContext, chapter, step } from "../conformance-case.js";
import { RUNTIME, inputId, inputState, lifecycle, opsSnapshot, receipt, session } from "../fixtures.js";

const CONFLICT = { variant: "WriteFailed", reason: "VERSION_CONFLICT" } as const;
const FENCE = { variant: "WriteFailed", reason: "FENCE_CONFLICT" } as const;

/** Writes each kind of record anew; answers its version. */
const WRITERS: Readonly<Record<ExpectedVersion["record"], (store: VersionedStore) => Promise<string>>> = {
  session_snapshot: async (store) =>
    (await store.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: { sessionSnapshot: session(1, 1) } }))
      .version,
  machine_lifecycle: async (store) => (await commitLifecycle(store, undefined)).version,
  ops_lifecycle: async (store) =>
    (await store.persistOpsLifecycle({ runtimeId: RUNTIME, snapshot: opsSnapshot(1) })).version,
  input_state: async (store) => {
    const state = inputState(1, { attemptCount: (await rowsOf(store)) + 1 });
    return (await store.persistInputState({ runtimeId: RUNTIME, state })).version;
  },
};

/** A number that differs with every write of the row. */
async function rowsOf(store: VersionedStore): Promise<number> {
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

/** A mutation of its own record under the expectations; its record is `receipt(7, n)` with row 7. */
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

export const expectationsChapter = chapter(
  "expectations",
  ["versions"],
  [
    ...(Object.keys(WRITERS) as ExpectedVersion["record"][]).map((record) =>
      step(`${record}: a mutation applies only at the expected version`, async ({ store, versioned }) => {
        const named = record === "input_state" ? { record, inputId: inputId(1) } : { record };
        await expecting(versioned, 0, [{ ...named, version: undefined }]);
        const first = await WRITERS[record](versioned);
        const before = await contents(store, RUNTIME);
        await refused(expecting(versioned, 1, [{ ...named, version: undefined }]), {
          ...CONFLICT,
          record,
          expected: "none",
          actual: first,
        });
        await refused(expecting(versioned, 1, [{ ...named, version: `${first}0` }]), CONFLICT);
        await refused(expecting(versioned, 1, [{ ...named, version: "" }]), CONFLICT);
        same(await contents(store, RUNTIME), before);
        await expecting(versioned, 1, [{ ...named, version: first }]);
        const second = await WRITERS[record](versioned);
        assert.notEqual(second, first);
        await refused(expecting(versioned, 2, [{ ...named, version: first }]), { ...CONFLICT, actual: second });
        await expecting(versioned, 2, [{ ...named, version: second }]);
      }),
    ),

    step("all expected versions must hold together", async ({ versioned }) => {
      const version = await WRITERS.ops_lifecycle(versioned);
      const held = { record: "ops_lifecycle", version } as const;
      const missed = { record: "session_snapshot", version } as const;
      await refused(expecting(versioned, 0, [held, missed]), CONFLICT);
      await refused(expecting(versioned, 0, [missed, held]), CONFLICT);
      await expecting(versioned, 0, [held, { record: "session_snapshot", version: undefined }]);
    }),

    step("an expected row needs an id, which must be a UUID", async ({ store, versioned }) => {
      for (const id of [undefined, "x"]) {
        await refused(expecting(versioned, 0, [{ record: "input_state", inputId: id, version: undefined }]), {
          variant: "WriteFailed",
          reason: "INVALID_ARGUMENT",
          record: "input_id",
        });
      }
      same(await contents(store, RUNTIME), EMPTY_CONTENTS);
    }),

    step("every load gives the version of the mutation that wrote", async ({ versioned }) => {
      const applied = await versioned.atomicApply({
        runtimeId: RUNTIME,
        sessionDelta: { sessionSnapshot: session(1, 1) },
        receipt: receipt(1, 0n),
        inputUpdates: [inputState(1)],
        sessionStoreKey: undefined,
      });
      const { version } = applied;
      assert.equal((await versioned.loadSessionSnapshot({ runtimeId: RUNTIME }))?.version, version);
      const asked = { runtimeId: RUNTIME, runId: receipt(1, 0n).runId, sequence: 0n };
      assert.equal((await versioned.loadBoundaryReceipt(asked))?.version, version);
      assert.equal((await versioned.loadInputState({ runtimeId: RUNTIME, inputId: inputId(1) }))?.version, version);
      for await (const batch of (await versioned.loadInputStates({ runtimeId: RUNTIME })).batches) {
        same(batch, [{ value: inputState(1), version }]);
      }
      const record = await commitLifecycle(versioned, 1n);
      assert.equal((await versioned.loadMachineLifecycleRecord({ runtimeId: RUNTIME }))?.version, record.version);
      const ops = await WRITERS.ops_lifecycle(versioned);
      assert.equal((await versioned.loadOpsLifecycle({ runtimeId: RUNTIME }))?.version, ops);
    }),

    step("no version comes twice, not after a delete and not for the same bytes", async ({ versioned }) => {
      const seen: string[] = [];
      for (let round = 0; round < 4; round += 1) {
        for (const write of Object.values(WRITERS)) seen.push(await write(versioned));
        await versioned.clearSessionSnapshot({ runtimeId: RUNTIME });
        await versioned.deleteOpsLifecycle({ runtimeId: RUNTIME });
      }
      assert.equal(new Set(seen).size, seen.length);
    }),

    step("a version stands for the bytes in a compare-and-set of the snapshot", async ({ store, versioned }) => {
      const first = await WRITERS.session_snapshot(versioned);
      const second = await WRITERS.session_snapshot(versioned);
      const replace = (version: string) =>
        versioned.replaceSessionSnapshotIfCurrent({
          runtimeId: RUNTIME,
          expected: { version },
          replacement: { sessionSnapshot: session(1, 2) },
        });
      assert.equal(await replace(first), undefined, "equal bytes at another version");
      assert.equal(await replace("nonsense"), undefined);
      const third = await replace(second);
      assert.ok(third);
      assert.equal(
        await versioned.clearSessionSnapshotIfCurrent({ runtimeId: RUNTIME, expected: { version: second } }),
        undefined,
      );
      sameBytes(await store.loadSessionSnapshot(RUNTIME), session(1, 2));
      const cleared = await versioned.clearSessionSnapshotIfCurrent({
        runtimeId: RUNTIME,
        expected: { version: third.version },
      });
      assert.ok(cleared);
      assert.equal(await store.loadSessionSnapshot(RUNTIME), undefined);
    }),

    step("a digest of the wrong length is refused", async ({ versioned }) => {
      const call = versioned.clearSessionSnapshotIfCurrent({
        runtimeId: RUNTIME,
        expected: { sha256: new Uint8Array(31) },
      });
      await refused(call, { variant: "WriteFailed", reason: "INVALID_ARGUMENT", record: "sha256" });
    }),

    step("a fence token must be that of the stored lifecycle record", async ({ store, versioned }) => {
      const persist = (expectedFenceToken: bigint) =>
        versioned.persistInputState({ runtimeId: RUNTIME, state: inputState(1), expectedFenceToken });
      await refused(persist(0n), { ...FENCE, expected: "0", actual: "none" });
      await commitLifecycle(versioned, undefined);
      await refused(persist(0n), { ...FENCE, actual: "none" });
      await commitLifecycle(versioned, 7n);
      for (const token of [0n, 6n, 8n, 2n ** 64n - 1n]) {
        await refused(persist(token), { ...FENCE, expected: token.toString(), actual: "7" });
      }
      same(await store.loadInputStates(RUNTIME), []);
      await persist(7n);
      same(await store.loadInputStates(RUNTIME), [inputState(1)]);
      await refused(
        versioned.persistInputState({ runtimeId: "other", state: inputState(1), expectedFenceToken: 7n }),
        FENCE,
      );
    }),

    step("a lifecycle commit is compared with the record that it replaces", async ({ versioned }) => {
      await refused(commitLifecycle(versioned, 1n, 1n), FENCE);
      await commitLifecycle(versioned, 1n);
      await refused(commitLifecycle(versioned, 2n, 2n), { ...FENCE, actual: "1" });
      await commitLifecycle(versioned, 2n, 1n);
      await commitLifecycle(versioned, 2n ** 64n - 1n, 2n);
      await commitLifecycle(versioned, 0n, 2n ** 64n - 1n);
      await commitLifecycle(versioned, undefined, 0n);
    }),

    step("another store's id is refused by every mutation", async (context) => {
      const { versioned } = context;
      const replaced = { variant: "WriteFailed", reason: "STORE_REPLACED", actual: await storeIdOf(context) } as const;
      const expectedStoreId = randomUUID();
      const of = { runtimeId: RUNTIME, expectedStoreId };
      const sessionDelta = { sessionSnapshot: session(1, 1) };
      await refused(versioned.commitSessionSnapshot({ ...of, sessionDelta }), replaced);
      await refused(versioned.persistInputState({ ...of, state: inputState(1) }), replaced);
      await refused(versioned.clearSessionSnapshot(of), replaced);
      await refused(versioned.persistAuthOauthFlowSnapshot({ expectedStoreId, snapshot: new Uint8Array() }), replaced);
      same(await contents(context.store, RUNTIME), EMPTY_CONTENTS);
      await versioned.persistInputState({ ...of, expectedStoreId: await storeIdOf(context), state: inputState(1) });
    }),

    step("a store with expectations refuses when they do not hold", async (context) => {
      const plain = new RuntimeStoreAdapter(context.versioned, await storeIdOf(context));
      const fenced = plain.withExpectations({ fenceToken: 5n });
      await refused(fenced.persistOpsLifecycle(RUNTIME, opsSnapshot(1)), FENCE);
      await plain.commitMachineLifecycle(RUNTIME, lifecycle("running", { fenceToken: 5n }), []);
      await fenced.persistOpsLifecycle(RUNTIME, opsSnapshot(1));
      await fenced.commitMachineLifecycle(RUNTIME, lifecycle("running", { fenceToken: 6n }), []);
      await refused(fenced.atomicApply(RUNTIME, undefined, receipt(1, 0n), [], undefined), FENCE);
      const absent = plain.withExpectations({ versions: [{ record: "ops_lifecycle", version: undefined }] });
      await refused(absent.deleteOpsLifecycle(RUNTIME), CONFLICT);
      same(await context.store.loadOpsLifecycle(RUNTIME), opsSnapshot(1));
    }),
  ],
);
