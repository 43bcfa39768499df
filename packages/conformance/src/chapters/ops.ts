import type { PersistedOpsSnapshot, RuntimeStore } from "@bolthole/contract";
import { assertEqual, assertSame, contentsOf } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import { RUNTIME, inputState, lifecycle, opsSnapshot, receipt, runId, session } from "../fixtures.js";

/** Stores an operation snapshot, and checks that it is loaded unchanged. */
async function assertLoadedUnchanged(store: RuntimeStore, snapshot: PersistedOpsSnapshot): Promise<void> {
  await store.persistOpsLifecycle(RUNTIME, snapshot);
  assertSame(await store.loadOpsLifecycle(RUNTIME), snapshot);
}

/** The operation snapshot of a runtime. */
export const opsChapter = chapter(
  "ops",
  [],
  [
    testCase(
      "an operation snapshot is loaded unchanged: empty, with every kind of member, and large",
      async ({ store }) => {
        for (const count of [0, 7, 300, 14]) await assertLoadedUnchanged(store, opsSnapshot(count, count));
      },
    ),

    testCase("an empty runtime has no operation snapshot, and a delete of it succeeds", async ({ store }) => {
      assertEqual(await store.loadOpsLifecycle(RUNTIME), undefined);
      await store.deleteOpsLifecycle(RUNTIME);
      assertEqual(await store.loadOpsLifecycle(RUNTIME), undefined);
    }),

    testCase("a delete is idempotent, and a later persist stores a snapshot again", async ({ store }) => {
      await store.persistOpsLifecycle(RUNTIME, opsSnapshot(2));
      for (let round = 0; round < 2; round += 1) {
        await store.deleteOpsLifecycle(RUNTIME);
        assertEqual(await store.loadOpsLifecycle(RUNTIME), undefined);
      }
      await assertLoadedUnchanged(store, opsSnapshot(3));
    }),

    testCase("persist and delete change nothing but the operation snapshot", async ({ store }) => {
      const rest = { snapshot: session(1, 1), lifecycle: lifecycle("idle"), inputs: [inputState(1)] };
      await store.atomicApply(RUNTIME, { sessionSnapshot: rest.snapshot }, receipt(1, 0n), rest.inputs, undefined);
      await store.commitMachineLifecycle(RUNTIME, rest.lifecycle, []);
      await store.persistOpsLifecycle(RUNTIME, opsSnapshot(2));
      await store.persistOpsLifecycle("other", opsSnapshot(3));
      assertSame(await contentsOf(store, RUNTIME), { ...rest, ops: opsSnapshot(2) });
      await store.deleteOpsLifecycle(RUNTIME);
      assertSame(await contentsOf(store, RUNTIME), rest);
      assertSame(await store.loadBoundaryReceipt(RUNTIME, runId(1), 0n), receipt(1, 0n));
      assertSame(await store.loadOpsLifecycle("other"), opsSnapshot(3));
    }),
  ],
);
