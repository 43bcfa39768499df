import { Buffer } from "node:buffer";
import {
  type MachineLifecycle,
  RUNTIME_STATES,
  type RuntimeStore,
  loadMachineLifecycle,
  loadRuntimeState,
} from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { assertEqual, assertRefused, assertSame, assertSameBytes, contentsOf } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import { RUNTIME, inputState, lifecycle, opsSnapshot, receipt, runId, session } from "../fixtures.js";

const U64_MAX = 2n ** 64n - 1n;

/** Commits a record, and checks that it is loaded with the same facts and bytes. */
async function assertLoadedUnchanged(store: RuntimeStore, record: MachineLifecycle): Promise<void> {
  await store.commitMachineLifecycle(RUNTIME, record, []);
  assertSame(await loadMachineLifecycle(store, RUNTIME), record);
  assertSameBytes(await store.loadMachineLifecycleRecord(RUNTIME), encodeLifecycleRecord(record));
}

/** The lifecycle record of a runtime, and the input rows that are committed with it. */
export const lifecycleChapter = chapter(
  "lifecycle",
  [],
  [
    testCase("a record of every runtime state is loaded unchanged", async ({ store }) => {
      for (const state of RUNTIME_STATES) {
        await assertLoadedUnchanged(store, lifecycle(state));
        assertEqual(await loadRuntimeState(store, RUNTIME), state);
      }
    }),

    testCase("an empty runtime has no lifecycle record", async ({ store }) => {
      assertEqual(await store.loadMachineLifecycleRecord(RUNTIME), undefined);
      assertEqual(await loadRuntimeState(store, RUNTIME), undefined);
    }),

    testCase("the facts of a binding are loaded unchanged, including empty texts and zeros", async ({ store }) => {
      await assertLoadedUnchanged(store, lifecycle("idle", { fenceToken: 0n, runtimeGeneration: U64_MAX }));
      await assertLoadedUnchanged(store, lifecycle("idle", { agentRuntimeId: "", runtimeEpochId: "" }));
      await assertLoadedUnchanged(
        store,
        lifecycle("idle", { agentRuntimeId: 'a\0\u{1f600}"\\', runtimeEpochId: "\u2028" }),
      );
      await assertLoadedUnchanged(
        store,
        lifecycle("running", { agentRuntimeId: "a", fenceToken: U64_MAX, runtimeGeneration: 0n, runtimeEpochId: "e" }),
      );
      await assertLoadedUnchanged(store, lifecycle("running"));
    }),

    testCase("a commit replaces the stored record, whatever its state and fence token", async ({ store }) => {
      for (const [state, fenceToken] of [
        ["running", 9n],
        ["destroyed", 10n],
        ["idle", 1n],
        ["running", undefined],
      ] as const) {
        await assertLoadedUnchanged(store, lifecycle(state, { fenceToken }));
      }
    }),

    testCase("a commit writes its input rows with the record and changes nothing else", async ({ store }) => {
      await store.atomicApply(RUNTIME, { sessionSnapshot: session(1, 1) }, receipt(1, 0n), [inputState(1)], undefined);
      await store.persistOpsLifecycle(RUNTIME, opsSnapshot(1));
      const rows = [inputState(3), inputState(2), inputState(3, { currentState: "queued" })];
      await store.commitMachineLifecycle(RUNTIME, lifecycle("retired"), rows);
      assertSame(await contentsOf(store, RUNTIME), {
        snapshot: session(1, 1),
        lifecycle: lifecycle("retired"),
        inputs: [inputState(1), inputState(2), inputState(3, { currentState: "queued" })],
        ops: opsSnapshot(1),
      });
      assertSame(await store.loadBoundaryReceipt(RUNTIME, runId(1), 0n), receipt(1, 0n));
    }),

    testCase(
      "a record with another version or an unknown state, and bytes that are no record, are refused",
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
          const advice = version === 0 ? ": set record_version to 1" : "";
          await assertRefused(commit([8, version, 16, 2]), {
            variant: "WriteFailed",
            reason: "UNSUPPORTED_RECORD_VERSION",
            message: `Store write failed: unsupported machine lifecycle store record version ${String(version)}${advice}`,
          });
        }
        for (const state of [0, 99]) {
          await assertRefused(commit([8, 1, 16, state]), {
            variant: "WriteFailed",
            reason: "INVALID_ARGUMENT",
            record: "runtime_state",
          });
        }
        // A number without its end: no message.
        await assertRefused(commit([8, 255]), {
          variant: "WriteFailed",
          reason: "INVALID_ARGUMENT",
          record: "record",
        });
        assertSame(await contentsOf(store, RUNTIME), { lifecycle: lifecycle("idle"), inputs: [] });
      },
    ),

    testCase("unknown fields of a record are kept", ["versions"], async ({ versioned }) => {
      const record = Buffer.concat([
        encodeLifecycleRecord(lifecycle("idle", { fenceToken: 7n })),
        Buffer.of(0x78, 0x2a),
      ]);
      await versioned.commitMachineLifecycle({ runtimeId: RUNTIME, record, inputStates: [] });
      assertSameBytes((await versioned.loadMachineLifecycleRecord({ runtimeId: RUNTIME }))?.value, record);
    }),
  ],
);
