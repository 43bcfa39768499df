import assert from "node:assert/strict";
import type { PersistedOpsSnapshot, RuntimeStore } from "@bolthole/contract";
import { contents, same } from "../assertions.js";
import { chapter, step } from "../conformance-case.js";
import { RUNTIME, inputState, lifecycle, opsSnapshot, receipt, runId, session } from "../fixtures.js";

async function comesBack(store: RuntimeStore, snapshot: PersistedOpsSnapshot): Promise<void> {
  await store.persistOpsLifecycle(RUNTIME, snapshot);
  same(await store.loadOpsLifecycle(RUNTIME), snapshot);
}

export const opsChapter = chapter(
  "ops",
  [],
  [
    step("a registry comes back as it was: empty, with every kind of member, and wide", async ({ store }) => {
      for (const count of [0, 7, 300, 14]) await comesBack(store, opsSnapshot(count, count));
    }),

    step("of nothing there is no registry, and deleting nothing is fine", async ({ store }) => {
      assert.equal(await store.loadOpsLifecycle(RUNTIME), undefined);
      await store.deleteOpsLifecycle(RUNTIME);
      assert.equal(await store.loadOpsLifecycle(RUNTIME), undefined);
    }),

    step("delete is idempotent, and a late persist makes the registry anew", async ({ store }) => {
      await store.persistOpsLifecycle(RUNTIME, opsSnapshot(2));
      for (let round = 0; round < 2; round += 1) {
        await store.deleteOpsLifecycle(RUNTIME);
        assert.equal(await store.loadOpsLifecycle(RUNTIME), undefined);
      }
      await comesBack(store, opsSnapshot(3));
    }),

    step("persist and delete touch nothing else", async ({ store }) => {
      const rest = { snapshot: session(1, 1), lifecycle: lifecycle("idle"), inputs: [inputState(1)] };
      await store.atomicApply(RUNTIME, { sessionSnapshot: rest.snapshot }, receipt(1, 0n), rest.inputs, undefined);
      await store.commitMachineLifecycle(RUNTIME, rest.lifecycle, []);
      await store.persistOpsLifecycle(RUNTIME, opsSnapshot(2));
      await store.persistOpsLifecycle("other", opsSnapshot(3));
      same(await contents(store, RUNTIME), { ...rest, ops: opsSnapshot(2) });
      await store.deleteOpsLifecycle(RUNTIME);
      same(await contents(store, RUNTIME), rest);
      same(await store.loadBoundaryReceipt(RUNTIME, runId(1), 0n), receipt(1, 0n));
      same(await store.loadOpsLifecycle("other"), opsSnapshot(3));
    }),
  ],
);
