import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { RUNTIME_STATES, type RuntimeStore, loadMachineLifecycle, loadRuntimeState } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { contents, refused, same, sameBytes } from "../assertions.js";
import { chapter, step } from "../conformance-case.js";
import { RUNTIME, inputState, lifecycle, opsSnapshot, receipt, runId, session } from "../fixtures.js";

const U64_MAX = 2n ** 64n - 1n;

async function comesBack(store: RuntimeStore, commit: ReturnType<typeof lifecycle>): Promise<void> {
  await store.commitMachineLifecycle(RUNTIME, commit, []);
  same(await loadMachineLifecycle(store, RUNTIME), commit);
  sameBytes(await store.loadMachineLifecycleRecord(RUNTIME), encodeLifecycleRecord(commit));
}

export const lifecycleChapter = chapter(
  "lifecycle",
  [],
  [
    step("every state comes back as it was", async ({ store }) => {
      for (const state of RUNTIME_STATES) {
        await comesBack(store, lifecycle(state));
        assert.equal(await loadRuntimeState(store, RUNTIME), state);
      }
    }),

    step("of nothing there is no record", async ({ store }) => {
      assert.equal(await store.loadMachineLifecycleRecord(RUNTIME), undefined);
      assert.equal(await loadRuntimeState(store, RUNTIME), undefined);
    }),

    step("the binding's facts come back, the empty and the zero ones too", async ({ store }) => {
      await comesBack(store, lifecycle("idle", { fenceToken: 0n, runtimeGeneration: U64_MAX }));
      await comesBack(store, lifecycle("idle", { agentRuntimeId: "", runtimeEpochId: "" }));
      await comesBack(store, lifecycle("idle", { agentRuntimeId: 'a\0\u{1f600}"\\', runtimeEpochId: "\u2028" }));
      await comesBack(
        store,
        lifecycle("running", { agentRuntimeId: "a", fenceToken: U64_MAX, runtimeGeneration: 0n, runtimeEpochId: "e" }),
      );
      await comesBack(store, lifecycle("running"));
    }),

    step("every commit replaces, whatever state and fence token were stored", async ({ store }) => {
      for (const [state, fenceToken] of [
        ["running", 9n],
        ["destroyed", 10n],
        ["idle", 1n],
        ["running", undefined],
      ] as const) {
        await comesBack(store, lifecycle(state, { fenceToken }));
      }
    }),

    step("rows go with the record, and nothing else is touched", async ({ store }) => {
      await store.atomicApply(RUNTIME, { sessionSnapshot: session(1, 1) }, receipt(1, 0n), [inputState(1)], undefined);
      await store.persistOpsLifecycle(RUNTIME, opsSnapshot(1));
      const rows = [inputState(3), inputState(2), inputState(3, { currentState: "queued" })];
      await store.commitMachineLifecycle(RUNTIME, lifecycle("retired"), rows);
      same(await contents(store, RUNTIME), {
        snapshot: session(1, 1),
        lifecycle: lifecycle("retired"),
        inputs: [inputState(1), inputState(2), inputState(3, { currentState: "queued" })],
        ops: opsSnapshot(1),
      });
      same(await store.loadBoundaryReceipt(RUNTIME, runId(1), 0n), receipt(1, 0n));
    }),

    step(
      "a record of another version, or of no known state, is refused",
      ["versions"],
      async ({ store, versioned }) => {
        await store.commitMachineLifecycle(RUNTIME, lifecycle("idle"), []);
        const commit = (bytes: readonly number[]) =>
          versioned.commitMachineLifecycle({
            runtimeId: RUNTIME,
            record: Uint8Array.from(bytes),
            inputStates: [inputState(1)],
          });
        for (const version of [0, 2, 3]) {
          await refused(commit([8, version, 16, 2]), {
            variant: "WriteFailed",
            reason: "UNSUPPORTED_RECORD_VERSION",
            message: `Store write failed: unsupported machine lifecycle store record version ${String(version)}`,
          });
        }
        for (const state of [0, 99]) {
          await refused(commit([8, 1, 16, state]), {
            variant: "WriteFailed",
            reason: "INVALID_ARGUMENT",
            record: "runtime_state",
          });
        }
        same(await contents(store, RUNTIME), { lifecycle: lifecycle("idle"), inputs: [] });
      },
    ),

    step("members of the record that nobody knows yet are kept", ["versions"], async ({ versioned }) => {
      const record = Buffer.concat([
        encodeLifecycleRecord(lifecycle("idle", { fenceToken: 7n })),
        Buffer.of(0x78, 0x2a),
      ]);
      await versioned.commitMachineLifecycle({ runtimeId: RUNTIME, record, inputStates: [] });
      sameBytes((await versioned.loadMachineLifecycleRecord({ runtimeId: RUNTIME }))?.value, record);
    }),
  ],
);
