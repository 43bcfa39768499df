import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type {
  Limits,
  PersistedOpsSnapshot,
  RunBoundaryReceipt,
  RuntimeStore,
  StoredInputState,
} from "@bolthole/contract";
import { EMPTY_CONTENTS, contents, refused, same } from "../assertions.js";
import { type CaseContext, chapter, step } from "../conformance-case.js";
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

const limitsOf = async ({ versioned }: CaseContext): Promise<Limits> => (await versioned.getServerInfo({})).limits;

const TOO_LARGE = { variant: "WriteFailed", reason: "TOO_LARGE" } as const;
const INVALID = { variant: "WriteFailed", reason: "INVALID_ARGUMENT" } as const;

/** A row whose written form has about this many bytes. */
const rowOf = (n: number, bytes: number): StoredInputState =>
  inputState(n, { persistedInput: promptPayload(n, "x".repeat(bytes)) });

/** Values that no typed caller can make; a caller from JavaScript can. */
const mistyped = <T>(value: T, members: Record<string, unknown>): T => ({ ...value, ...members });

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

async function nothingStored(store: RuntimeStore): Promise<void> {
  same(await contents(store, RUNTIME), EMPTY_CONTENTS);
  assert.equal(await store.loadBoundaryReceipt(RUNTIME, runId(1), 0n), undefined);
}

export const sizesChapter = chapter(
  "sizes",
  [],
  [
    step("a bad row is refused by every call that takes rows, by the name of its field", async ({ store }) => {
      for (const [field, row] of BAD_ROWS) {
        await refused(store.persistInputState(RUNTIME, row), { ...INVALID, record: field });
        const batch = [inputState(5), row, inputState(6)];
        const delta = { sessionSnapshot: session(1, 1) };
        await refused(store.atomicApply(RUNTIME, delta, receipt(1, 0n), batch, undefined), {
          ...INVALID,
          record: field,
        });
        await refused(store.commitMachineLifecycle(RUNTIME, lifecycle("idle"), batch), { ...INVALID, record: field });
      }
      await nothingStored(store);
    }),

    step("a bad row of a batch is named by its place", async ({ store }) => {
      const batch = [inputState(5), inputState(1, { createdAt: "yesterday" })];
      const apply = store.atomicApply(RUNTIME, undefined, receipt(1, 0n), batch, undefined);
      await refused(apply, { ...INVALID, record: "input_updates[1].created_at" });
      const commit = store.commitMachineLifecycle(RUNTIME, lifecycle("idle"), batch);
      await refused(commit, { ...INVALID, record: "input_states[1].created_at" });
    }),

    step("a bad receipt is refused by the name of its field, and nothing is stored", async ({ store }) => {
      for (const [field, bad] of BAD_RECEIPTS) {
        const delta = { sessionSnapshot: session(1, 1) };
        await refused(store.atomicApply(RUNTIME, delta, bad, [inputState(1)], undefined), {
          ...INVALID,
          record: field,
        });
      }
      await nothingStored(store);
    }),

    step("a bad registry is refused by the name of its field, and the stored one stays", async ({ store }) => {
      await store.persistOpsLifecycle(RUNTIME, opsSnapshot(2));
      for (const [field, bad] of BAD_OPS) {
        await refused(store.persistOpsLifecycle(RUNTIME, bad), { ...INVALID, record: field });
      }
      same(await store.loadOpsLifecycle(RUNTIME), opsSnapshot(2));
    }),

    step("a bad session key is refused, and nothing is stored", async ({ store }) => {
      const delta = { sessionSnapshot: session(1, 1) };
      const call = store.atomicApply(RUNTIME, delta, receipt(1, 0n), [inputState(1)], "not-a-uuid");
      await refused(call, { ...INVALID, record: "session_store_key" });
      await nothingStored(store);
    }),

    step("a bad id in a load is a read failure", async ({ store }) => {
      const refusal = { variant: "ReadFailed", reason: "INVALID_ARGUMENT" } as const;
      await refused(store.loadInputState(RUNTIME, "x"), { ...refusal, record: "input_id" });
      await refused(store.loadBoundaryReceipt(RUNTIME, "", 0n), { ...refusal, record: "run_id" });
      for (const sequence of [-1n, 2n ** 64n]) {
        await refused(store.loadBoundaryReceipt(RUNTIME, runId(1), sequence), { ...refusal, record: "sequence" });
      }
    }),

    step(
      "a row up to the limit is taken, a larger one is refused with its whole batch",
      ["versions"],
      async (context) => {
        const { inputRowBytes } = await limitsOf(context);
        await context.store.persistInputState(RUNTIME, rowOf(1, inputRowBytes - 2048));
        const before = await contents(context.store, RUNTIME);
        const batch = [inputState(2), rowOf(3, inputRowBytes)];
        await refused(context.store.persistInputState(RUNTIME, rowOf(3, inputRowBytes)), {
          ...TOO_LARGE,
          record: "state",
        });
        await refused(context.store.atomicApply(RUNTIME, undefined, receipt(1, 0n), batch, undefined), {
          ...TOO_LARGE,
          record: "input_updates[1]",
        });
        same(await contents(context.store, RUNTIME), before);
      },
    ),

    step("a batch of the largest size is taken, one row more is refused", ["versions"], async (context) => {
      const { batchRows } = await limitsOf(context);
      const rows = Array.from({ length: batchRows }, (_, n) => inputState(n));
      const larger = [...rows, inputState(batchRows)];
      await refused(context.store.atomicApply(RUNTIME, undefined, receipt(1, 0n), larger, undefined), {
        ...TOO_LARGE,
        record: "input_updates",
      });
      await nothingStored(context.store);
      await context.store.atomicApply(RUNTIME, undefined, receipt(1, 0n), rows, undefined);
      same((await context.store.loadInputStates(RUNTIME)).length, batchRows);
    }),

    step("documents above their limits are refused, and the stored ones stay", ["versions"], async (context) => {
      const { documentBytes, operationSnapshotBytes, oauthSnapshotBytes } = await limitsOf(context);
      const { store } = context;
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 1) });
      await store.persistAuthOauthFlowSnapshot(Buffer.from("kept"));
      const before = await contents(store, RUNTIME);

      const document = Buffer.alloc(documentBytes + 1, 0x20);
      session(1, 1).copy(document);
      await refused(store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: document }), {
        ...TOO_LARGE,
        record: "session_delta",
      });
      const wide = opsSnapshot(1);
      const [spec] = Object.values(wide.operationSpecs);
      assert.ok(spec);
      const operationSpecs = { [spec.id]: { ...spec, displayName: "x".repeat(operationSnapshotBytes) } };
      await refused(store.persistOpsLifecycle(RUNTIME, { ...wide, operationSpecs }), {
        ...TOO_LARGE,
        record: "snapshot",
      });
      const flow = Buffer.alloc(oauthSnapshotBytes + 1);
      await refused(store.persistAuthOauthFlowSnapshot(flow), { ...TOO_LARGE, record: "snapshot" });
      await refused(
        store.updateAuthOauthFlowSnapshot(() => flow),
        { ...TOO_LARGE, record: "snapshot" },
      );

      same(await contents(store, RUNTIME), before);
      same(await store.loadAuthOauthFlowSnapshot(), Buffer.from("kept"));
    }),

    step("OAuth state of the largest size is taken", ["versions"], async (context) => {
      const { oauthSnapshotBytes } = await limitsOf(context);
      const flow = Buffer.alloc(oauthSnapshotBytes, 1);
      await context.store.persistAuthOauthFlowSnapshot(flow);
      same(await context.store.loadAuthOauthFlowSnapshot(), flow);
    }),
  ],
);
