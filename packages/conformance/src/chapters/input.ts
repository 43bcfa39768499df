import assert from "node:assert/strict";
import type { RuntimeStore, StoredInputState } from "@bolthole/contract";
import { assertEqual, assertRefused, assertSame } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import { INSTANT, RUNTIME, inputId, inputState, lifecycle, promptPayload, receipt, runId } from "../fixtures.js";

const U32_MAX = 2 ** 32 - 1;
const U64_MAX = 2n ** 64n - 1n;

const FULL = inputState(1, {
  currentState: "queued",
  policy: {
    version: U64_MAX,
    decision: {
      applyMode: "stage_run_start",
      wakeMode: "wake_if_idle",
      queueMode: "fifo",
      consumePoint: "on_run_complete",
      drainPolicy: "steer_batch",
      routingDisposition: "drop",
      recordTranscript: false,
      emitOperatorContent: true,
      policyVersion: 0n,
    },
  },
  runtimeSemantics: {
    boundary: "run_checkpoint",
    executionKind: "resume_pending",
    peerResponseTerminalApplyIntent: "append_context_and_run",
  },
  durability: "ephemeral",
  idempotencyKey: "",
  attemptCount: U32_MAX,
  recoveryCount: U32_MAX,
  history: [
    { timestamp: "2026-05-28T15:31:27.200Z", from: "accepted", to: "queued", reason: "QueueAccepted" },
    { timestamp: "2026-05-28T15:31:27.123456789Z", from: "queued", to: "queued" },
  ],
  reconstructionSource: { kind: "coalescing", sourceInputIds: [inputId(3), inputId(2)] },
  persistedInput: promptPayload(1, 'hello "\u{1f600}" \u0001'),
  lastRunId: runId(1),
  lastBoundarySequence: U64_MAX,
  admissionSequence: 1_000_000_000n,
  recoveryLane: "steer",
  createdAt: "2026-05-28T15:31:27.100Z",
  updatedAt: "2026-05-28T15:31:27.123456Z",
});

const PHASES = ["accepted", "queued", "staged", "applied", "applied_pending_consumption"] as const;

const TERMINAL: readonly StoredInputState[] = [
  inputState(1, { currentState: "consumed", terminalOutcome: { kind: "consumed" } }),
  inputState(2, { currentState: "superseded", terminalOutcome: { kind: "superseded", supersededBy: inputId(9) } }),
  inputState(3, { currentState: "coalesced", terminalOutcome: { kind: "coalesced", aggregateId: inputId(9) } }),
  ...(["retired", "reset", "stopped", "destroyed", "cancelled"] as const).map((kind, index) =>
    inputState(4 + index, { currentState: "abandoned", terminalOutcome: { kind: "abandoned", reason: { kind } } }),
  ),
  inputState(9, {
    currentState: "abandoned",
    attemptCount: 3,
    terminalOutcome: { kind: "abandoned", reason: { kind: "max_attempts_exhausted", attempts: 3 } },
  }),
];

const exhausted = (attempts: number, attemptCount: number): StoredInputState =>
  inputState(1, {
    currentState: "abandoned",
    attemptCount,
    terminalOutcome: { kind: "abandoned", reason: { kind: "max_attempts_exhausted", attempts } },
  });

const CONTRADICTIONS: readonly StoredInputState[] = [
  inputState(1, { currentState: "consumed" }),
  inputState(1, { terminalOutcome: { kind: "consumed" } }),
  inputState(1, { currentState: "superseded", terminalOutcome: { kind: "coalesced", aggregateId: inputId(2) } }),
  inputState(1, { currentState: "consumed", terminalOutcome: { kind: "consumed" }, recoveryLane: "queue" }),
  exhausted(3, 2),
  exhausted(2, 2),
  exhausted(0, 0),
  exhausted(4, 3),
];

const REJECTED = {
  variant: "WriteFailed",
  reason: "RECORD_REJECTED",
  message:
    `Store write failed: MeerkatMachine rejected stored input-state seed for '${inputId(1)}': ` +
    "guard rejected transition from phase Idle for input::AuthorizeStoredInputStateSeed",
} as const;

/** Stores a row, and checks that it is loaded as `expected`, alone and in the list. */
async function assertLoadedAs(
  store: RuntimeStore,
  persisted: StoredInputState,
  expected: StoredInputState,
): Promise<void> {
  await store.persistInputState(RUNTIME, persisted);
  assertSame(await store.loadInputState(RUNTIME, expected.inputId), expected);
  const listed = await store.loadInputStates(RUNTIME);
  assertSame(
    listed.find((row) => row.inputId === expected.inputId),
    expected,
  );
}

/** Input rows: their written form, order, replacement and validity. */
export const inputChapter = chapter(
  "input",
  [],
  [
    testCase("a row with every member is loaded unchanged", async ({ store }) => {
      await assertLoadedAs(store, FULL, FULL);
      const projection = { kind: "projection", ruleId: "r", sourceEventId: "" } as const;
      const other = inputState(2, { reconstructionSource: projection, durability: "derived", recoveryLane: "queue" });
      await assertLoadedAs(store, other, other);
    }),

    testCase("a row of every phase and every terminal outcome is loaded unchanged", async ({ store }) => {
      const phases = PHASES.map((currentState, index) => inputState(20 + index, { currentState }));
      for (const row of [...phases, ...TERMINAL]) await assertLoadedAs(store, row, row);
    }),

    testCase("an empty runtime has no input rows", async ({ store }) => {
      assertEqual(await store.loadInputState(RUNTIME, inputId(1)), undefined);
      assertSame(await store.loadInputStates(RUNTIME), []);
    }),

    testCase("rows are listed by ascending id, not in the order of their writes", async ({ store }) => {
      const ids = [
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "80000000-0000-0000-0000-000000000000",
        inputId(7),
        "7fffffff-ffff-ffff-ffff-ffffffffffff",
        "00000000-0000-0000-0000-000000000000",
        inputId(3),
      ];
      for (const id of ids) await store.persistInputState(RUNTIME, inputState(0, { inputId: id }));
      await store.persistInputState(RUNTIME, inputState(7, { currentState: "queued" }));
      const listed = await store.loadInputStates(RUNTIME);
      assertSame(
        listed.map((row) => row.inputId),
        [...ids].sort(),
      );
    }),

    testCase("a row may be overwritten in any phase, and nothing of the old row remains", async ({ store }) => {
      for (const row of [FULL, inputState(1), exhausted(5, 5), inputState(1, { currentState: "applied" })]) {
        await assertLoadedAs(store, row, row);
      }
      assertEqual((await store.loadInputStates(RUNTIME)).length, 1);
    }),

    testCase("input ids are compared by value and returned in lower case", async ({ store }) => {
      const id = "0198f01a-0000-7000-8000-00000000abcd";
      for (const spelling of [id.toUpperCase(), id.replaceAll("-", ""), `{${id}}`, `urn:uuid:${id}`]) {
        await store.persistInputState(RUNTIME, inputState(0, { inputId: spelling, attemptCount: spelling.length }));
        for (const requested of [id, spelling]) {
          assertSame(
            await store.loadInputState(RUNTIME, requested),
            inputState(0, { inputId: id, attemptCount: spelling.length }),
          );
        }
      }
      assertEqual((await store.loadInputStates(RUNTIME)).length, 1);
    }),

    testCase("instants and payloads are returned as canonical JSON", async ({ store }) => {
      const header =
        `"header":{"visibility":{"operator_eligible":false,"transcript_eligible":false},"durability":"derived",` +
        `"source":{"type":"system","more":1},"timestamp":"2026-05-28 17:31:27+02:00","id":"${inputId(1).toUpperCase()}"}`;
      const persisted = inputState(1, {
        createdAt: "2026-05-28T17:31:27.120000+02:00",
        updatedAt: "2026-5-28t15:31:27utc",
        history: [{ timestamp: "2026-05-28T15:31:27.5Z", from: "accepted", to: "queued" }],
        persistedInput: ` { "reason" : "\\u0041" , ${header}, "unknown":null, "input_type":"system_generated" } `,
      });
      const canonical = inputState(1, {
        createdAt: "2026-05-28T15:31:27.120Z",
        updatedAt: INSTANT,
        history: [{ timestamp: "2026-05-28T15:31:27.500Z", from: "accepted", to: "queued" }],
        persistedInput:
          `{"input_type":"continuation","header":{"id":"${inputId(1)}","timestamp":"${INSTANT}","source":{"type":"system"},` +
          `"durability":"derived","visibility":{"transcript_eligible":false,"operator_eligible":false}},` +
          `"reason":"A","handling_mode":"queue"}`,
      });
      await assertLoadedAs(store, persisted, canonical);
      await store.atomicApply("other", undefined, receipt(1, 0n), [persisted], undefined);
      await store.commitMachineLifecycle("third", lifecycle("idle"), [persisted]);
      for (const runtimeId of ["other", "third"]) assertSame(await store.loadInputStates(runtimeId), [canonical]);
    }),

    testCase("numbers in a payload keep their kind and value", async ({ store }) => {
      const header = promptPayload(1, "").slice('{"input_type":"prompt",'.length, -',"text":""}'.length);
      const event = (payload: string) =>
        `{"input_type":"external_event",${header},"event_type":"e","payload":${payload},"handling_mode":"queue"}`;
      const persisted = event('{"b":[1E2,-0,18446744073709551615,0.1],"a":"\\u2028","a":null}');
      const canonical = event('{"a":null,"b":[100.0,-0.0,18446744073709551615,0.1]}');
      await assertLoadedAs(
        store,
        inputState(1, { persistedInput: persisted }),
        inputState(1, { persistedInput: canonical }),
      );
    }),

    testCase("a row that contradicts itself is refused by every call that writes rows", async ({ store }) => {
      for (const row of CONTRADICTIONS) {
        await assertRefused(store.persistInputState(RUNTIME, row), REJECTED);
        const batch = [inputState(2), row];
        await assertRefused(store.atomicApply(RUNTIME, undefined, receipt(1, 0n), batch, undefined), REJECTED);
        await assertRefused(store.commitMachineLifecycle(RUNTIME, lifecycle("idle"), batch), REJECTED);
      }
      assertSame(await store.loadInputStates(RUNTIME), []);
      assertEqual(await store.loadBoundaryReceipt(RUNTIME, runId(1), 0n), undefined);
      assertEqual(await store.loadMachineLifecycleRecord(RUNTIME), undefined);
    }),

    testCase(
      "rows may share an idempotency key, and the id in a payload may differ from the row's id",
      async ({ store }) => {
        const rows = [1, 2].map((n) => inputState(n, { idempotencyKey: "same", persistedInput: promptPayload(3, "") }));
        for (const row of rows) await store.persistInputState(RUNTIME, row);
        assertSame(await store.loadInputStates(RUNTIME), rows);
        assertEqual(await store.loadInputState(RUNTIME, inputId(3)), undefined);
      },
    ),

    testCase("input rows of several MiB together are loaded completely and in order", async ({ store }) => {
      const rows = Array.from({ length: 600 }, (_, n) =>
        inputState(n, { persistedInput: promptPayload(n, "x".repeat(6000)) }),
      );
      await store.atomicApply(RUNTIME, undefined, receipt(1, 0n), rows, undefined);
      assertSame(await store.loadInputStates(RUNTIME), rows);
      const updated = rows.map((row) => ({ ...row, currentState: "queued" as const }));
      await store.commitMachineLifecycle(RUNTIME, lifecycle("idle"), updated.toReversed());
      assertSame(await store.loadInputStates(RUNTIME), updated);
    }),

    testCase("a row equal to the stored one keeps its version", ["versions"], async ({ versioned }) => {
      const first = await versioned.persistInputState({ runtimeId: RUNTIME, state: inputState(1) });
      const again = await versioned.persistInputState({ runtimeId: RUNTIME, state: inputState(1) });
      assertEqual(again.version, first.version);
      const applied = await versioned.atomicApply({
        runtimeId: RUNTIME,
        sessionDelta: undefined,
        receipt: receipt(1, 0n),
        inputUpdates: [inputState(1), inputState(2)],
        sessionStoreKey: undefined,
      });
      assertSame(applied.keptInputs, [{ inputId: inputId(1), version: first.version }]);
      assert.notEqual(applied.version, first.version);
      const loaded = (n: number) => versioned.loadInputState({ runtimeId: RUNTIME, inputId: inputId(n) });
      assertEqual((await loaded(1))?.version, first.version);
      assertEqual((await loaded(2))?.version, applied.version);
    }),
  ],
);
