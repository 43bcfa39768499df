import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { RuntimeStore } from "@bolthole/contract";
import { EMPTY_CONTENTS, contents, refused, same, sameBytes } from "../assertions.js";
import { chapter, step } from "../conformance-case.js";
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
const load = (store: RuntimeStore, run: number, sequence: bigint) =>
  store.loadBoundaryReceipt(RUNTIME, runId(run), sequence);

const apply = (store: RuntimeStore, run: number, sequence: bigint) =>
  store.atomicApply(RUNTIME, undefined, receipt(run, sequence), [], undefined);

export const boundaryChapter = chapter(
  "boundary",
  [],
  [
    step("an apply stores snapshot, receipt and input rows together", async ({ store }) => {
      const proof = receipt(1, 0n, {
        contributingInputIds: [inputId(2), inputId(1), inputId(2)],
        conversationDigest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        messageCount: 2n,
      });
      await store.atomicApply(
        RUNTIME,
        { sessionSnapshot: session(1, 2) },
        proof,
        [inputState(2), inputState(1)],
        sessionId(1),
      );
      sameBytes(await store.loadSessionSnapshot(RUNTIME), session(1, 2));
      same(await load(store, 1, 0n), proof);
      same(await store.loadInputStates(RUNTIME), [inputState(1), inputState(2)]);
    }),

    step("without a snapshot the stored one stays, and a key is ignored", async ({ store }) => {
      await store.atomicApply(RUNTIME, undefined, receipt(1, 0n), [], sessionId(9));
      assert.equal(await store.loadSessionSnapshot(RUNTIME), undefined);
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 1) });
      await store.atomicApply(RUNTIME, undefined, receipt(1, 1n), [inputState(1)], sessionId(9));
      sameBytes(await store.loadSessionSnapshot(RUNTIME), session(1, 1));
      same(await store.loadInputStates(RUNTIME), [inputState(1)]);
      same(await load(store, 1, 1n), receipt(1, 1n));
    }),

    step("an apply touches neither lifecycle nor operations", async ({ store }) => {
      await store.commitMachineLifecycle(RUNTIME, lifecycle("running", { fenceToken: 3n }), [inputState(1)]);
      await store.persistOpsLifecycle(RUNTIME, opsSnapshot(2));
      await store.atomicApply(RUNTIME, undefined, receipt(1, 0n), [], undefined);
      same(await contents(store, RUNTIME), {
        lifecycle: lifecycle("running", { fenceToken: 3n }),
        ops: opsSnapshot(2),
        inputs: [inputState(1)],
      });
    }),

    step("a taken receipt key is refused, identical or not, and nothing of the apply is visible", async ({ store }) => {
      const first = receipt(1, 0n, { messageCount: 1n });
      await store.atomicApply(RUNTIME, { sessionSnapshot: session(1, 1) }, first, [inputState(1)], undefined);
      const before = await contents(store, RUNTIME);
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
        await refused(call, { variant: "WriteFailed", reason: "RECEIPT_EXISTS", record: "receipt", identical });
        same(await contents(store, RUNTIME), before);
        same(await load(store, 1, 0n), first);
      }
    }),

    step("a refused receipt does not even store rows when no snapshot is given", async ({ store }) => {
      await apply(store, 1, 0n);
      const call = store.atomicApply(RUNTIME, undefined, receipt(1, 0n), [inputState(1)], undefined);
      await refused(call, { variant: "WriteFailed", reason: "RECEIPT_EXISTS", identical: true });
      same(await contents(store, RUNTIME), EMPTY_CONTENTS);
    }),

    step("the key of a receipt is runtime, run and sequence", async ({ store }) => {
      const keys = [
        ["a", 1, 0n],
        ["b", 1, 0n],
        ["a", 2, 0n],
        ["a", 1, 1n],
      ] as const;
      for (const [index, [runtimeId, run, sequence]] of keys.entries()) {
        const proof = receipt(run, sequence, { messageCount: BigInt(index) });
        await store.atomicApply(runtimeId, undefined, proof, [], undefined);
      }
      for (const [index, [runtimeId, run, sequence]] of keys.entries()) {
        const proof = receipt(run, sequence, { messageCount: BigInt(index) });
        same(await store.loadBoundaryReceipt(runtimeId, runId(run), sequence), proof);
      }
      assert.equal(await store.loadBoundaryReceipt("b", runId(2), 0n), undefined);
      assert.equal(await store.loadBoundaryReceipt("a", runId(2), 1n), undefined);
    }),

    step("sequences up to 2^63-2 are keys of their own, in any order", async ({ store }) => {
      const sequences = [2n ** 63n - 2n, 0n, 2n ** 53n, 2n ** 53n - 1n, 256n, 1n];
      for (const sequence of sequences) await apply(store, 1, sequence);
      for (const sequence of sequences) same(await load(store, 1, sequence), receipt(1, sequence));
      assert.equal(await load(store, 1, 2n), undefined);
    }),

    step("sequences up to 2^64-1 are keys of their own", ["fullSequences"], async ({ store }) => {
      const sequences = [2n ** 63n - 1n, 2n ** 63n, U64_MAX - 1n, U64_MAX];
      for (const sequence of sequences) await apply(store, 1, sequence);
      for (const sequence of sequences) same(await load(store, 1, sequence), receipt(1, sequence));
      await refused(apply(store, 1, U64_MAX), { variant: "WriteFailed", reason: "RECEIPT_EXISTS" });
    }),

    step("the content of a receipt is kept as it is, and compared with nothing", async ({ store }) => {
      const contents = [
        receipt(1, 7n, { messageCount: U64_MAX, boundary: "run_checkpoint" }),
        receipt(2, 0n, { conversationDigest: "", contributingInputIds: [inputId(5)] }),
        receipt(3, 0n, { conversationDigest: "no digest \u{1f600} \0", boundary: "immediate" }),
      ];
      for (const proof of contents) await store.atomicApply(RUNTIME, undefined, proof, [], undefined);
      for (const proof of contents) same(await store.loadBoundaryReceipt(RUNTIME, proof.runId, proof.sequence), proof);
      same(await store.loadInputStates(RUNTIME), []);
    }),

    step("a run id is any UUID, compared by its value", async ({ store }) => {
      const ids = [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
      ];
      for (const id of ids) {
        await store.atomicApply(RUNTIME, undefined, { ...receipt(1, 0n), runId: id }, [], undefined);
        for (const spelling of [id, id.toUpperCase(), id.replaceAll("-", ""), `{${id}}`, `urn:uuid:${id}`]) {
          same(await store.loadBoundaryReceipt(RUNTIME, spelling, 0n), { ...receipt(1, 0n), runId: id });
        }
        const again = { ...receipt(1, 0n), runId: id.toUpperCase() };
        const call = store.atomicApply(RUNTIME, undefined, again, [], undefined);
        await refused(call, { variant: "WriteFailed", reason: "RECEIPT_EXISTS", identical: true });
      }
    }),

    step("the session key must name the session in the snapshot, else nothing is stored", async ({ store }) => {
      const delta = { sessionSnapshot: session(1, 1) };
      const call = store.atomicApply(RUNTIME, delta, receipt(1, 0n), [inputState(1)], sessionId(2));
      await refused(call, {
        variant: "SessionKeyMismatch",
        reason: "SESSION_KEY_MISMATCH",
        message: `Session store key mismatch: expected ${sessionId(2)}, actual ${sessionId(1)}`,
        expected: sessionId(2),
        actual: sessionId(1),
      });
      same(await contents(store, RUNTIME), EMPTY_CONTENTS);
      assert.equal(await load(store, 1, 0n), undefined);
      await store.atomicApply(RUNTIME, delta, receipt(1, 0n), [], sessionId(1).toUpperCase());
      sameBytes(await store.loadSessionSnapshot(RUNTIME), session(1, 1));
    }),

    step("bytes that are no session are refused, and nothing is stored", async ({ store }) => {
      for (const key of [undefined, sessionId(1)]) {
        const delta = { sessionSnapshot: Buffer.from("session-data") };
        const call = store.atomicApply(RUNTIME, delta, receipt(1, 0n), [inputState(1)], key);
        await refused(call, { variant: "WriteFailed", reason: "INVALID_ARGUMENT", record: "session_delta" });
        same(await contents(store, RUNTIME), EMPTY_CONTENTS);
        assert.equal(await load(store, 1, 0n), undefined);
      }
    }),

    step("a growing session is applied turn by turn", async ({ store }) => {
      for (let turn = 0; turn < 8; turn += 1) {
        const delta = { sessionSnapshot: session(1, turn * 2) };
        await store.atomicApply(RUNTIME, delta, receipt(turn, 0n), [inputState(turn)], sessionId(1));
        sameBytes(await store.loadSessionSnapshot(RUNTIME), session(1, turn * 2));
      }
      assert.equal((await store.loadInputStates(RUNTIME)).length, 8);
    }),

    step("without messages a session may be followed by another one", async ({ store }) => {
      await store.atomicApply(RUNTIME, { sessionSnapshot: session(1, 0) }, receipt(1, 0n), [], undefined);
      await store.atomicApply(RUNTIME, { sessionSnapshot: session(2, 0) }, receipt(1, 1n), [], undefined);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), session(2, 0));
    }),

    step("of two rows with one id the last wins", async ({ store }) => {
      const rows = [inputState(1), inputState(2), inputState(1, { currentState: "queued" })];
      await store.atomicApply(RUNTIME, undefined, receipt(1, 0n), rows, undefined);
      same(await store.loadInputStates(RUNTIME), [inputState(1, { currentState: "queued" }), inputState(2)]);
    }),

    step("a plain commit writes neither receipt nor rows", async ({ store }) => {
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 1) });
      assert.equal(await load(store, 1, 0n), undefined);
      same(await store.loadInputStates(RUNTIME), []);
    }),
  ],
);
