import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type {
  Call,
  Limits,
  PersistedOpsSnapshot,
  RunBoundaryReceipt,
  RuntimeStore,
  StoreError,
  StoredInputState,
  VersionedStore,
} from "@bolthole/contract";
import { EMPTY_CONTENTS, assertEqual, assertRefused, assertSame, contentsOf } from "../assertions.js";
import { type CaseContext, chapter, testCase } from "../chapter.js";
import {
  RUNTIME,
  inputId,
  inputState,
  lifecycle,
  opsSnapshot,
  promptPayload,
  receipt,
  runId,
  session,
} from "../fixtures.js";

import { MUTATIONS, type MutatingMethod } from "./mutations.js";

const limitsOf = async ({ versioned }: CaseContext): Promise<Limits> => (await versioned.getServerInfo({})).limits;

const TOO_LARGE = { variant: "WriteFailed", reason: "TOO_LARGE" } as const;
const INVALID = { variant: "WriteFailed", reason: "INVALID_ARGUMENT" } as const;

/** Returns a row with about this many bytes as canonical JSON. */
const rowOf = (n: number, bytes: number): StoredInputState =>
  inputState(n, { persistedInput: promptPayload(n, "x".repeat(bytes)) });

/** Returns a value that breaks its type, which only a caller from JavaScript can pass. */
const mistyped = <T>(value: T, members: Record<string, unknown>): T => ({ ...value, ...members });

/** The methods that read records of one runtime. */
type RuntimeRead = {
  [Method in keyof VersionedStore]: Method extends MutatingMethod | "uploadSessionSnapshot" | "uploadInputStates"
    ? never
    : "runtimeId" extends keyof Parameters<VersionedStore[Method]>[0]
      ? string extends keyof Parameters<VersionedStore[Method]>[0]
        ? never
        : Method
      : never;
}[keyof VersionedStore];

/** A call of every method that reads records of one runtime. The compiler names a method that is missing. */
const READS: Readonly<Record<RuntimeRead, (store: VersionedStore) => Promise<unknown>>> = {
  loadInputStates: (store) => store.loadInputStates({ runtimeId: RUNTIME }),
  loadInputState: (store) => store.loadInputState({ runtimeId: RUNTIME, inputId: inputId(1) }),
  loadBoundaryReceipt: (store) => store.loadBoundaryReceipt({ runtimeId: RUNTIME, runId: runId(1), sequence: 0n }),
  loadSessionSnapshot: (store) => store.loadSessionSnapshot({ runtimeId: RUNTIME }),
  loadMachineLifecycleRecord: (store) => store.loadMachineLifecycleRecord({ runtimeId: RUNTIME }),
  loadOpsLifecycle: (store) => store.loadOpsLifecycle({ runtimeId: RUNTIME }),
  loadOpsLifecycleJson: (store) => store.loadOpsLifecycleJson({ runtimeId: RUNTIME }),
};

/** Returns the store with this runtime id in every request that has one. */
const withRuntimeId = (store: VersionedStore, runtimeId: string): VersionedStore =>
  new Proxy(store, {
    get: (target, name: keyof VersionedStore) => (request: object, call?: Call) =>
      (target[name] as (request: object, call?: Call) => unknown)(
        "runtimeId" in request ? { ...request, runtimeId } : request,
        call,
      ),
  });

const BAD_ROWS: readonly (readonly [field: string, row: StoredInputState])[] = [
  ["input_id", inputState(1, { inputId: "not-a-uuid" })],
  ["input_id", inputState(1, { inputId: "" })],
  ["input_id", inputState(1, { inputId: `${inputId(1)}0` })],
  ["created_at", inputState(1, { createdAt: "yesterday" })],
  ["updated_at", inputState(1, { updatedAt: "2026-05-28T24:00:00Z" })],
  ["last_run_id", inputState(1, { lastRunId: "x" })],
  ["history", inputState(1, { history: [{ timestamp: "", from: "accepted", to: "queued" }] })],
  [
    "superseded_by",
    inputState(1, { currentState: "superseded", terminalOutcome: { kind: "superseded", supersededBy: "x" } }),
  ],
  ["persisted_input", inputState(1, { persistedInput: "" })],
  ["persisted_input", inputState(1, { persistedInput: "{}" })],
  ["persisted_input", inputState(1, { persistedInput: `${promptPayload(1, "")} ` + "}" })],
  ["persisted_input", inputState(1, { persistedInput: promptPayload(1, "").replace(inputId(1), "x") })],
  ["persisted_input", inputState(1, { persistedInput: promptPayload(1, "").replace("prompt", "song") })],
  ["attempt_count", inputState(1, { attemptCount: -1 })],
  ["attempt_count", inputState(1, { attemptCount: 2 ** 32 })],
  ["recovery_count", inputState(1, { recoveryCount: 0.5 })],
  ["admission_sequence", inputState(1, { admissionSequence: 2n ** 64n })],
  ["last_boundary_sequence", inputState(1, { lastBoundarySequence: -1n })],
  ["current_state", mistyped(inputState(1), { currentState: "paused" })],
  ["durability", mistyped(inputState(1), { durability: "forever" })],
  ["idempotency_key", inputState(1, { idempotencyKey: "\ud800" })],
];

const BAD_RECEIPTS: readonly (readonly [field: string, receipt: RunBoundaryReceipt])[] = [
  ["run_id", { ...receipt(1, 0n), runId: "x" }],
  ["contributing_input_ids", receipt(1, 0n, { contributingInputIds: [inputId(1), "x"] })],
  ["message_count", receipt(1, 0n, { messageCount: 2n ** 64n })],
  ["sequence", receipt(1, -1n)],
  ["sequence", receipt(1, 2n ** 64n)],
  ["boundary", mistyped(receipt(1, 0n), { boundary: "never" })],
];

const BAD_OPS: readonly (readonly [field: string, snapshot: PersistedOpsSnapshot])[] = [
  ["epoch_id", { ...opsSnapshot(1), epochId: "x" }],
  ["agent_applied_cursor", { ...opsSnapshot(1), cursors: { ...opsSnapshot(1).cursors, agentAppliedCursor: -1n } }],
  ["operation_specs", { ...opsSnapshot(1), operationSpecs: mistyped({}, { x: opsSnapshot(1).operationSpecs }) }],
  ["completed_order", withAuthority({ completedOrder: ["x"] })],
  ["max_completed", withAuthority({ maxCompleted: 2n ** 64n })],
];

function withAuthority(members: Partial<PersistedOpsSnapshot["authorityState"]>): PersistedOpsSnapshot {
  const snapshot = opsSnapshot(1);
  return { ...snapshot, authorityState: { ...snapshot.authorityState, ...members } };
}

/** Checks that neither records nor the receipt of a refused call are stored. */
async function assertNothingStored(store: RuntimeStore): Promise<void> {
  assertSame(await contentsOf(store, RUNTIME), EMPTY_CONTENTS);
  assertEqual(await store.loadBoundaryReceipt(RUNTIME, runId(1), 0n), undefined);
}

/** Invalid arguments and limits: a refusal names the field, and nothing is stored. */
/** The longest runtime id that a store may have, whatever its present limit is. */
const STORED_RUNTIME_ID_BYTES = 32 * 1024;

export const sizesChapter = chapter(
  "sizes",
  [],
  [
    testCase(
      "a bad row is refused by every call that writes rows, and the error names its field",
      async ({ store }) => {
        for (const [field, row] of BAD_ROWS) {
          await assertRefused(store.persistInputState(RUNTIME, row), { ...INVALID, record: field });
          const batch = [inputState(5), row, inputState(6)];
          const delta = { sessionSnapshot: session(1, 1) };
          await assertRefused(store.atomicApply(RUNTIME, delta, receipt(1, 0n), batch, undefined), {
            ...INVALID,
            record: field,
          });
          await assertRefused(store.commitMachineLifecycle(RUNTIME, lifecycle("idle"), batch), {
            ...INVALID,
            record: field,
          });
        }
        await assertNothingStored(store);
      },
    ),

    testCase("the error for a bad row in a batch names the index of the row", async ({ store }) => {
      const batch = [inputState(5), inputState(1, { createdAt: "yesterday" })];
      const apply = store.atomicApply(RUNTIME, undefined, receipt(1, 0n), batch, undefined);
      await assertRefused(apply, { ...INVALID, record: "input_updates[1].created_at" });
      const commit = store.commitMachineLifecycle(RUNTIME, lifecycle("idle"), batch);
      await assertRefused(commit, { ...INVALID, record: "input_states[1].created_at" });
    }),

    testCase("a bad receipt is refused with the name of its field, and nothing is stored", async ({ store }) => {
      for (const [field, bad] of BAD_RECEIPTS) {
        const delta = { sessionSnapshot: session(1, 1) };
        await assertRefused(store.atomicApply(RUNTIME, delta, bad, [inputState(1)], undefined), {
          ...INVALID,
          record: field,
        });
      }
      await assertNothingStored(store);
    }),

    testCase(
      "a bad operation snapshot is refused with the name of its field, and the stored one stays",
      async ({ store }) => {
        await store.persistOpsLifecycle(RUNTIME, opsSnapshot(2));
        for (const [field, bad] of BAD_OPS) {
          await assertRefused(store.persistOpsLifecycle(RUNTIME, bad), { ...INVALID, record: field });
        }
        assertSame(await store.loadOpsLifecycle(RUNTIME), opsSnapshot(2));
      },
    ),

    testCase("a bad session key is refused, and nothing is stored", async ({ store }) => {
      const delta = { sessionSnapshot: session(1, 1) };
      const call = store.atomicApply(RUNTIME, delta, receipt(1, 0n), [inputState(1)], "not-a-uuid");
      await assertRefused(call, { ...INVALID, record: "session_store_key" });
      await assertNothingStored(store);
    }),

    testCase("every call checks its runtime id first", ["versions"], async (context) => {
      const { versioned } = context;
      const { runtimeIdBytes } = await limitsOf(context);
      const invalid = [
        { runtimeId: "x".repeat(runtimeIdBytes + 1), reason: "TOO_LARGE", isOnlyNew: true },
        { runtimeId: "x".repeat(STORED_RUNTIME_ID_BYTES + 1), reason: "TOO_LARGE", isOnlyNew: false },
        { runtimeId: `lone surrogate \ud800`, reason: "INVALID_ARGUMENT", isOnlyNew: false },
      ] as const;
      for (const { runtimeId, reason, isOnlyNew } of invalid) {
        const store = withRuntimeId(versioned, runtimeId);
        for (const read of isOnlyNew ? [] : Object.values(READS)) {
          await assertRefused(read(store), { variant: "ReadFailed", reason, record: "runtime_id" });
        }
        for (const [method, mutate] of Object.entries(MUTATIONS)) {
          // A lower limit than before must not keep a runtime from being cleared or deleted.
          if (method.includes("OauthFlow") || (isOnlyNew && /^(clear|delete)/.test(method))) continue;
          await assertRefused(mutate(store, {}), { variant: "WriteFailed", reason, record: "runtime_id" });
        }
      }
    }),

    testCase("a load with a malformed id is refused as a failed read", async ({ store }) => {
      const refusal = { variant: "ReadFailed", reason: "INVALID_ARGUMENT" } as const;
      await assertRefused(store.loadInputState(RUNTIME, "x"), { ...refusal, record: "input_id" });
      await assertRefused(store.loadBoundaryReceipt(RUNTIME, "", 0n), { ...refusal, record: "run_id" });
      for (const sequence of [-1n, 2n ** 64n]) {
        await assertRefused(store.loadBoundaryReceipt(RUNTIME, runId(1), sequence), { ...refusal, record: "sequence" });
      }
    }),

    testCase(
      "a row up to the limit is accepted, and a larger one is refused with its whole batch",
      ["versions"],
      async (context) => {
        const { inputRowBytes } = await limitsOf(context);
        await context.store.persistInputState(RUNTIME, rowOf(1, inputRowBytes - 2048));
        const before = await contentsOf(context.store, RUNTIME);
        const batch = [inputState(2), rowOf(3, inputRowBytes)];
        await assertRefused(context.store.persistInputState(RUNTIME, rowOf(3, inputRowBytes)), {
          ...TOO_LARGE,
          record: "state",
        });
        await assertRefused(context.store.atomicApply(RUNTIME, undefined, receipt(1, 0n), batch, undefined), {
          ...TOO_LARGE,
          record: "input_updates[1]",
        });
        assertSame(await contentsOf(context.store, RUNTIME), before);
      },
    ),

    testCase(
      "a batch of the largest size is accepted, and one row more is refused or uploaded by the client",
      ["versions"],
      async ({ store, versioned }) => {
        const { batchRows } = (await versioned.getServerInfo({})).limits;
        const rows = Array.from({ length: batchRows }, (_, n) => inputState(n));
        await store.atomicApply(RUNTIME, undefined, receipt(1, 0n), rows, undefined);
        const before = await contentsOf(store, RUNTIME);
        assertSame((await store.loadInputStates(RUNTIME)).length, batchRows);
        const larger = [...rows, inputState(batchRows)].map((row) => ({ ...row, attemptCount: 1 }));
        const error = await store.atomicApply(RUNTIME, undefined, receipt(1, 1n), larger, undefined).then(
          () => undefined,
          (refusal: unknown) => refusal,
        );
        if (error === undefined) {
          assertSame(await store.loadInputStates(RUNTIME), larger);
        } else {
          assertSame((error as StoreError).reason, "TOO_LARGE");
          assertSame((error as StoreError).subject.record, "input_updates");
          assertSame(await contentsOf(store, RUNTIME), before);
        }
      },
    ),

    testCase("documents above their limits are refused, and the stored ones stay", ["versions"], async (context) => {
      const { documentBytes, operationSnapshotBytes, oauthSnapshotBytes } = await limitsOf(context);
      const { store } = context;
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 1) });
      await store.persistAuthOauthFlowSnapshot(Buffer.from("kept"));
      const before = await contentsOf(store, RUNTIME);

      const document = Buffer.alloc(documentBytes + 1, 0x20);
      session(1, 1).copy(document);
      await assertRefused(store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: document }), {
        ...TOO_LARGE,
        record: "session_delta",
      });
      const wide = opsSnapshot(1);
      const [spec] = Object.values(wide.operationSpecs);
      assert.ok(spec, "expected a fixture with one operation");
      const operationSpecs = { [spec.id]: { ...spec, displayName: "x".repeat(operationSnapshotBytes) } };
      await assertRefused(store.persistOpsLifecycle(RUNTIME, { ...wide, operationSpecs }), {
        ...TOO_LARGE,
        record: "ops_delta",
      });
      const flow = Buffer.alloc(oauthSnapshotBytes + 1);
      await assertRefused(store.persistAuthOauthFlowSnapshot(flow), { ...TOO_LARGE, record: "snapshot" });
      await assertRefused(
        store.updateAuthOauthFlowSnapshot(() => flow),
        { ...TOO_LARGE, record: "snapshot" },
      );

      assertSame(await contentsOf(store, RUNTIME), before);
      assertSame(await store.loadAuthOauthFlowSnapshot(), Buffer.from("kept"));
    }),

    testCase("OAuth state of the largest size is accepted", ["versions"], async (context) => {
      const { oauthSnapshotBytes } = await limitsOf(context);
      const flow = Buffer.alloc(oauthSnapshotBytes, 1);
      await context.store.persistAuthOauthFlowSnapshot(flow);
      assertSame(await context.store.loadAuthOauthFlowSnapshot(), flow);
    }),
  ],
);
