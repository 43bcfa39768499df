import type { DeletedRuntime, RuntimeSummary, VersionedStore } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import {
  EMPTY_CONTENTS,
  assertEqual,
  assertRefused,
  assertSame,
  assertSameBytes,
  callConcurrently,
  contentsOf,
} from "../assertions.js";
import { type CaseContext, chapter, testCase } from "../chapter.js";
import {
  RUNTIME,
  freshRequestId,
  inputId,
  inputState,
  lifecycle,
  opsSnapshot,
  receipt,
  runId,
  session,
} from "../fixtures.js";
import { DIFFICULT_IDS } from "./isolation.js";

const NOTHING = {
  inputStates: 0,
  receipts: 0,
  hadSessionSnapshot: false,
  hadMachineLifecycle: false,
  hadOpsLifecycle: false,
};

/** The counts of a runtime that `fill` has filled. */
const FILLED = {
  inputStates: 3,
  receipts: 2,
  hadSessionSnapshot: true,
  hadMachineLifecycle: true,
  hadOpsLifecycle: true,
};

const FENCE = 7n;

/** Stores every kind of record for a runtime. */
async function fill(store: VersionedStore, runtimeId = RUNTIME): Promise<void> {
  const boundary = { runtimeId, sessionStoreKey: undefined };
  const sessionDelta = { sessionSnapshot: session(1, 2) };
  const inputUpdates = [inputState(1), inputState(2)];
  await store.atomicApply({ ...boundary, sessionDelta, receipt: receipt(1, 0n), inputUpdates });
  await store.atomicApply({ ...boundary, sessionDelta: undefined, receipt: receipt(1, 1n), inputUpdates: [] });
  const record = encodeLifecycleRecord(lifecycle("idle", { fenceToken: FENCE }));
  await store.commitMachineLifecycle({ runtimeId, record, inputStates: [inputState(3)] });
  await store.persistOpsLifecycle({ runtimeId, snapshot: opsSnapshot(4) });
}

const countsOf = ({ version: _version, replayed: _replayed, ...counts }: DeletedRuntime): unknown => counts;

async function receiptsOf({ store }: CaseContext, runtimeId = RUNTIME): Promise<unknown[]> {
  const receipts = [];
  for (const sequence of [0n, 1n]) receipts.push(await store.loadBoundaryReceipt(runtimeId, runId(1), sequence));
  return receipts;
}

async function assertDeleted(context: CaseContext, runtimeId = RUNTIME): Promise<void> {
  assertSame(await contentsOf(context.store, runtimeId), EMPTY_CONTENTS);
  assertSame(await receiptsOf(context, runtimeId), [undefined, undefined]);
}

const listed = async (store: VersionedStore): Promise<readonly RuntimeSummary[]> =>
  (await store.listRuntimes({ pageSize: 1000, pageToken: "" })).runtimes;

/** Deleting a runtime as a whole. */
export const deletionChapter = chapter(
  "deletion",
  ["versions"],
  [
    testCase("every record of the runtime is deleted and counted", async (context) => {
      const { versioned } = context;
      await fill(versioned);
      const first = await versioned.deleteRuntime({ runtimeId: RUNTIME });
      assertSame(countsOf(first), FILLED);
      assertEqual(first.replayed, false);
      await assertDeleted(context);
      assertSame(await listed(versioned), []);
      const second = await versioned.deleteRuntime({ runtimeId: RUNTIME });
      assertSame(countsOf(second), NOTHING);
      assertEqual(second.version === first.version, false);
    }),

    testCase("a runtime that does not exist is deleted without an error", async (context) => {
      assertSame(countsOf(await context.versioned.deleteRuntime({ runtimeId: RUNTIME })), NOTHING);
      await assertDeleted(context);
      assertSame(await listed(context.versioned), []);
    }),

    testCase("a runtime with one kind of record is deleted", async (context) => {
      const { store, versioned } = context;
      const runtimeId = RUNTIME;
      const writers: readonly [() => Promise<void>, Partial<typeof FILLED>][] = [
        [
          () => store.commitSessionSnapshot(runtimeId, { sessionSnapshot: session(1, 1) }),
          { hadSessionSnapshot: true },
        ],
        [() => store.commitMachineLifecycle(runtimeId, lifecycle("idle"), []), { hadMachineLifecycle: true }],
        [() => store.persistOpsLifecycle(runtimeId, opsSnapshot(1)), { hadOpsLifecycle: true }],
        [() => store.persistInputState(runtimeId, inputState(1)), { inputStates: 1 }],
        [() => store.atomicApply(runtimeId, undefined, receipt(1, 0n), [], undefined), { receipts: 1 }],
      ];
      for (const [write, counts] of writers) {
        await write();
        assertSame(countsOf(await versioned.deleteRuntime({ runtimeId })), { ...NOTHING, ...counts });
        await assertDeleted(context);
        assertSame(await listed(versioned), []);
      }
    }),

    testCase("a runtime with thousands of rows is deleted", async (context) => {
      const { versioned } = context;
      for (const from of [0, 1100]) {
        await versioned.atomicApply({
          runtimeId: RUNTIME,
          sessionDelta: undefined,
          receipt: receipt(1, BigInt(from)),
          inputUpdates: Array.from({ length: 1100 }, (_, n) => inputState(from + n)),
          sessionStoreKey: undefined,
        });
      }
      const deleted = await versioned.deleteRuntime({ runtimeId: RUNTIME });
      assertSame(countsOf(deleted), { ...NOTHING, inputStates: 2200, receipts: 2 });
      await assertDeleted(context);
    }),

    testCase("other runtimes and the OAuth state are not touched", async (context) => {
      const { store, versioned } = context;
      const oauth = new Uint8Array([1, 2, 3]);
      await store.persistAuthOauthFlowSnapshot(oauth);
      for (const runtimeId of DIFFICULT_IDS) await store.persistInputState(runtimeId, inputState(1));
      const left = new Set(DIFFICULT_IDS);
      for (const runtimeId of DIFFICULT_IDS) {
        await versioned.deleteRuntime({ runtimeId });
        left.delete(runtimeId);
        assertSame((await listed(versioned)).map((one) => one.runtimeId).sort(), [...left].sort());
        for (const other of left) assertSame(await store.loadInputStates(other), [inputState(1)]);
      }
      assertSameBytes(await store.loadAuthOauthFlowSnapshot(), oauth);
    }),

    testCase(
      "a repeated request id returns the first counts and keeps what was stored since",
      async ({ store, versioned }) => {
        await fill(versioned);
        const request = { runtimeId: RUNTIME, requestId: freshRequestId() };
        const first = await versioned.deleteRuntime(request);
        assertSame(await versioned.deleteRuntime(request), { ...first, replayed: true });
        await store.persistInputState(RUNTIME, inputState(9));
        assertSame(await versioned.deleteRuntime(request), { ...first, replayed: true });
        assertSame(await store.loadInputStates(RUNTIME), [inputState(9)]);
        await assertRefused(versioned.deleteRuntime({ ...request, runtimeId: "other" }), {
          variant: "WriteFailed",
          reason: "REQUEST_ID_REUSED",
        });
      },
    ),

    testCase("a missed expectation refuses the deletion, and nothing is deleted", async (context) => {
      const { store, versioned } = context;
      await fill(versioned);
      const before = await contentsOf(store, RUNTIME);
      const row = await versioned.loadInputState({ runtimeId: RUNTIME, inputId: inputId(2) });
      const expectedVersions = [{ record: "input_state", inputId: inputId(2), version: row?.version }] as const;
      await assertRefused(versioned.deleteRuntime({ runtimeId: RUNTIME, expectedFenceToken: FENCE + 1n }), {
        variant: "WriteFailed",
        reason: "FENCE_CONFLICT",
      });
      await assertRefused(
        versioned.deleteRuntime({
          runtimeId: RUNTIME,
          expectedVersions: [{ record: "session_snapshot", version: undefined }],
        }),
        { variant: "WriteFailed", reason: "VERSION_CONFLICT" },
      );
      assertSame(await contentsOf(store, RUNTIME), before);
      const deleted = await versioned.deleteRuntime({
        runtimeId: RUNTIME,
        expectedFenceToken: FENCE,
        expectedVersions,
      });
      assertSame(countsOf(deleted), FILLED);
      await assertDeleted(context);
      await assertRefused(versioned.deleteRuntime({ runtimeId: RUNTIME, expectedVersions }), {
        variant: "WriteFailed",
        reason: "VERSION_CONFLICT",
      });
    }),

    testCase("a runtime that is used again starts empty, and no earlier version is current", async (context) => {
      const { store, versioned } = context;
      await versioned.commitSessionSnapshot({
        runtimeId: RUNTIME,
        sessionDelta: { sessionSnapshot: new Uint8Array([1]), profile: "opaque" },
      });
      const row = await versioned.persistInputState({ runtimeId: RUNTIME, state: inputState(1) });
      const loaded = await versioned.loadSessionSnapshot({ runtimeId: RUNTIME });
      await versioned.deleteRuntime({ runtimeId: RUNTIME });

      const boundary = { runtimeId: RUNTIME, receipt: receipt(1, 0n), inputUpdates: [], sessionStoreKey: undefined };
      const patch = {
        baseVersion: loaded?.version ?? "",
        resultLength: 1,
        resultCrc32: 0,
        pieces: [{ offset: 0, length: 1 }],
      };
      await assertRefused(versioned.atomicApply({ ...boundary, sessionDelta: { patch } }), {
        variant: "WriteFailed",
        reason: "BASE_NOT_CURRENT",
      });
      const unchangedInputs = { inputsVersion: row.inputs?.after ?? "" };
      await assertRefused(versioned.atomicApply({ ...boundary, sessionDelta: undefined, unchangedInputs }), {
        variant: "WriteFailed",
        reason: "INPUT_NOT_CURRENT",
      });
      await assertDeleted(context);
      // Neither the earlier profile nor the earlier receipts are kept.
      await fill(versioned);
      assertSame(await store.loadInputStates(RUNTIME), [inputState(1), inputState(2), inputState(3)]);
      assertSame(countsOf(await versioned.deleteRuntime({ runtimeId: RUNTIME })), FILLED);
    }),

    testCase("through RuntimeStore, a client drops its caches of a deleted runtime", async ({ store, versioned }) => {
      const inputs = [inputState(1), inputState(2)];
      const delta = { sessionSnapshot: session(1, 3) };
      await store.atomicApply(RUNTIME, delta, receipt(1, 0n), inputs, undefined);
      await versioned.deleteRuntime({ runtimeId: RUNTIME });
      await store.atomicApply(RUNTIME, delta, receipt(1, 0n), inputs, undefined);
      assertSame(await store.loadInputStates(RUNTIME), inputs);
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), delta.sessionSnapshot);
    }),

    testCase(
      "every row is deleted once when deletions and writes run at the same time",
      async ({ store, versioned }) => {
        const ROWS = 60;
        const counts = await callConcurrently(ROWS, async (n) => {
          await store.persistInputState(RUNTIME, inputState(n));
          return n % 10 === 0 ? (await versioned.deleteRuntime({ runtimeId: RUNTIME })).inputStates : 0;
        });
        const left = await store.loadInputStates(RUNTIME);
        assertEqual(counts.reduce((total, one) => total + one, 0) + left.length, ROWS);
        assertEqual((await versioned.deleteRuntime({ runtimeId: RUNTIME })).inputStates, left.length);
      },
    ),

    testCase("the deletion and its counts are the same after a reopen", ["durable"], async (context) => {
      await fill(context.versioned);
      const request = { runtimeId: RUNTIME, requestId: freshRequestId() };
      const first = await context.versioned.deleteRuntime(request);
      await context.reopen();
      await assertDeleted(context);
      assertSame(await context.versioned.deleteRuntime(request), { ...first, replayed: true });
    }),
  ],
);
