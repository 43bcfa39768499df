import { Buffer } from "node:buffer";
import type { RuntimeStore } from "@bolthole/contract";
import { EMPTY_CONTENTS, assertEqual, assertRefused, assertSame, assertSameBytes, contentsOf } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import {
  RUNTIME,
  inputId,
  inputState,
  lifecycle,
  opsSnapshot,
  receipt,
  runId,
  session,
  sessionId,
} from "../fixtures.js";

const U64_MAX = 2n ** 64n - 1n;
const loadReceipt = (store: RuntimeStore, run: number, sequence: bigint) =>
  store.loadBoundaryReceipt(RUNTIME, runId(run), sequence);

const apply = (store: RuntimeStore, run: number, sequence: bigint) =>
  store.atomicApply(RUNTIME, undefined, receipt(run, sequence), [], undefined);

/** `atomicApply`: a session snapshot, a receipt and input rows in one step, and the receipts that it stores. */
export const boundaryChapter = chapter(
  "boundary",
  [],
  [
    testCase("an apply stores snapshot, receipt and input rows together", async ({ store }) => {
      const applied = receipt(1, 0n, {
        contributingInputIds: [inputId(2), inputId(1), inputId(2)],
        conversationDigest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        messageCount: 2n,
      });
      await store.atomicApply(
        RUNTIME,
        { sessionSnapshot: session(1, 2) },
        applied,
        [inputState(2), inputState(1)],
        sessionId(1),
      );
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), session(1, 2));
      assertSame(await loadReceipt(store, 1, 0n), applied);
      assertSame(await store.loadInputStates(RUNTIME), [inputState(1), inputState(2)]);
    }),

    testCase("an apply without a snapshot keeps the stored one and ignores the session key", async ({ store }) => {
      await store.atomicApply(RUNTIME, undefined, receipt(1, 0n), [], sessionId(9));
      assertEqual(await store.loadSessionSnapshot(RUNTIME), undefined);
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 1) });
      await store.atomicApply(RUNTIME, undefined, receipt(1, 1n), [inputState(1)], sessionId(9));
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), session(1, 1));
      assertSame(await store.loadInputStates(RUNTIME), [inputState(1)]);
      assertSame(await loadReceipt(store, 1, 1n), receipt(1, 1n));
    }),

    testCase("an apply changes neither the lifecycle record nor the operation snapshot", async ({ store }) => {
      await store.commitMachineLifecycle(RUNTIME, lifecycle("running", { fenceToken: 3n }), [inputState(1)]);
      await store.persistOpsLifecycle(RUNTIME, opsSnapshot(2));
      await store.atomicApply(RUNTIME, undefined, receipt(1, 0n), [], undefined);
      assertSame(await contentsOf(store, RUNTIME), {
        lifecycle: lifecycle("running", { fenceToken: 3n }),
        ops: opsSnapshot(2),
        inputs: [inputState(1)],
      });
    }),

    testCase(
      "a used receipt key is refused, also for an identical receipt, and nothing of the apply is visible",
      async ({ store }) => {
        const first = receipt(1, 0n, { messageCount: 1n });
        await store.atomicApply(RUNTIME, { sessionSnapshot: session(1, 1) }, first, [inputState(1)], undefined);
        const before = await contentsOf(store, RUNTIME);
        const other = receipt(1, 0n, { messageCount: 2n, boundary: "immediate" });
        for (const [again, identical] of [
          [first, true],
          [other, false],
        ] as const) {
          const call = store.atomicApply(
            RUNTIME,
            { sessionSnapshot: session(1, 2) },
            again,
            [inputState(1, { currentState: "queued" }), inputState(2)],
            undefined,
          );
          await assertRefused(call, { variant: "WriteFailed", reason: "RECEIPT_EXISTS", record: "receipt", identical });
          assertSame(await contentsOf(store, RUNTIME), before);
          assertSame(await loadReceipt(store, 1, 0n), first);
        }
      },
    ),

    testCase("an apply without a snapshot stores no input rows when its receipt is refused", async ({ store }) => {
      await apply(store, 1, 0n);
      const call = store.atomicApply(RUNTIME, undefined, receipt(1, 0n), [inputState(1)], undefined);
      await assertRefused(call, { variant: "WriteFailed", reason: "RECEIPT_EXISTS", identical: true });
      assertSame(await contentsOf(store, RUNTIME), EMPTY_CONTENTS);
    }),

    testCase("a receipt is identified by its runtime, run and sequence", async ({ store }) => {
      const keys = [
        ["a", 1, 0n],
        ["b", 1, 0n],
        ["a", 2, 0n],
        ["a", 1, 1n],
      ] as const;
      for (const [index, [runtimeId, run, sequence]] of keys.entries()) {
        const applied = receipt(run, sequence, { messageCount: BigInt(index) });
        await store.atomicApply(runtimeId, undefined, applied, [], undefined);
      }
      for (const [index, [runtimeId, run, sequence]] of keys.entries()) {
        const applied = receipt(run, sequence, { messageCount: BigInt(index) });
        assertSame(await store.loadBoundaryReceipt(runtimeId, runId(run), sequence), applied);
      }
      assertEqual(await store.loadBoundaryReceipt("b", runId(2), 0n), undefined);
      assertEqual(await store.loadBoundaryReceipt("a", runId(2), 1n), undefined);
    }),

    testCase("every sequence up to 2^63-2 is a distinct receipt key, in any order of writes", async ({ store }) => {
      const sequences = [2n ** 63n - 2n, 0n, 2n ** 53n, 2n ** 53n - 1n, 256n, 1n];
      for (const sequence of sequences) await apply(store, 1, sequence);
      for (const sequence of sequences) assertSame(await loadReceipt(store, 1, sequence), receipt(1, sequence));
      assertEqual(await loadReceipt(store, 1, 2n), undefined);
    }),

    testCase("every sequence up to 2^64-1 is a distinct receipt key", ["fullSequences"], async ({ store }) => {
      const sequences = [2n ** 63n - 1n, 2n ** 63n, U64_MAX - 1n, U64_MAX];
      for (const sequence of sequences) await apply(store, 1, sequence);
      for (const sequence of sequences) assertSame(await loadReceipt(store, 1, sequence), receipt(1, sequence));
      await assertRefused(apply(store, 1, U64_MAX), { variant: "WriteFailed", reason: "RECEIPT_EXISTS" });
    }),

    testCase(
      "the content of a receipt is stored unchanged and is not compared with other records",
      async ({ store }) => {
        const receipts = [
          receipt(1, 7n, { messageCount: U64_MAX, boundary: "run_checkpoint" }),
          receipt(2, 0n, { conversationDigest: "", contributingInputIds: [inputId(5)] }),
          receipt(3, 0n, { conversationDigest: "no digest \u{1f600} \0", boundary: "immediate" }),
        ];
        for (const applied of receipts) await store.atomicApply(RUNTIME, undefined, applied, [], undefined);
        for (const applied of receipts)
          assertSame(await store.loadBoundaryReceipt(RUNTIME, applied.runId, applied.sequence), applied);
        assertSame(await store.loadInputStates(RUNTIME), []);
      },
    ),

    testCase("any UUID is a run id, and run ids are compared by value", async ({ store }) => {
      const ids = [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
      ];
      for (const id of ids) {
        await store.atomicApply(RUNTIME, undefined, { ...receipt(1, 0n), runId: id }, [], undefined);
        for (const spelling of [id, id.toUpperCase(), id.replaceAll("-", ""), `{${id}}`, `urn:uuid:${id}`]) {
          assertSame(await store.loadBoundaryReceipt(RUNTIME, spelling, 0n), { ...receipt(1, 0n), runId: id });
        }
        const again = { ...receipt(1, 0n), runId: id.toUpperCase() };
        const call = store.atomicApply(RUNTIME, undefined, again, [], undefined);
        await assertRefused(call, { variant: "WriteFailed", reason: "RECEIPT_EXISTS", identical: true });
      }
    }),

    testCase(
      "a session key that differs from the session id in the snapshot is refused, and nothing is stored",
      async ({ store }) => {
        const delta = { sessionSnapshot: session(1, 1) };
        const call = store.atomicApply(RUNTIME, delta, receipt(1, 0n), [inputState(1)], sessionId(2));
        await assertRefused(call, {
          variant: "SessionKeyMismatch",
          reason: "SESSION_KEY_MISMATCH",
          message: `Session store key mismatch: expected ${sessionId(2)}, actual ${sessionId(1)}`,
          expected: sessionId(2),
          actual: sessionId(1),
        });
        assertSame(await contentsOf(store, RUNTIME), EMPTY_CONTENTS);
        assertEqual(await loadReceipt(store, 1, 0n), undefined);
        await store.atomicApply(RUNTIME, delta, receipt(1, 0n), [], sessionId(1).toUpperCase());
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), session(1, 1));
      },
    ),

    testCase("bytes that are not a session are refused, and nothing is stored", async ({ store }) => {
      for (const key of [undefined, sessionId(1)]) {
        const delta = { sessionSnapshot: Buffer.from("session-data") };
        const call = store.atomicApply(RUNTIME, delta, receipt(1, 0n), [inputState(1)], key);
        await assertRefused(call, { variant: "WriteFailed", reason: "INVALID_ARGUMENT", record: "session_delta" });
        assertSame(await contentsOf(store, RUNTIME), EMPTY_CONTENTS);
        assertEqual(await loadReceipt(store, 1, 0n), undefined);
      }
    }),

    testCase("a session that grows with every apply is stored each time", async ({ store }) => {
      for (let n = 0; n < 8; n += 1) {
        const delta = { sessionSnapshot: session(1, n * 2) };
        await store.atomicApply(RUNTIME, delta, receipt(n, 0n), [inputState(n)], sessionId(1));
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), session(1, n * 2));
      }
      assertEqual((await store.loadInputStates(RUNTIME)).length, 8);
    }),

    testCase("a session without messages may be replaced by another session", async ({ store }) => {
      await store.atomicApply(RUNTIME, { sessionSnapshot: session(1, 0) }, receipt(1, 0n), [], undefined);
      await store.atomicApply(RUNTIME, { sessionSnapshot: session(2, 0) }, receipt(1, 1n), [], undefined);
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), session(2, 0));
    }),

    testCase("the last of two rows with one id in a batch is stored", async ({ store }) => {
      const rows = [inputState(1), inputState(2), inputState(1, { currentState: "queued" })];
      await store.atomicApply(RUNTIME, undefined, receipt(1, 0n), rows, undefined);
      assertSame(await store.loadInputStates(RUNTIME), [inputState(1, { currentState: "queued" }), inputState(2)]);
    }),

    testCase("a session commit writes no receipt and no input rows", async ({ store }) => {
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 1) });
      assertEqual(await loadReceipt(store, 1, 0n), undefined);
      assertSame(await store.loadInputStates(RUNTIME), []);
    }),
  ],
);
