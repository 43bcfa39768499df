import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { contents, refused, same, sameBytes } from "../assertions.js";
import { chapter, step } from "../conformance-case.js";
import { RUNTIME, freshRequestId, inputState, lifecycle, opsSnapshot, receipt, runId, session } from "../fixtures.js";
import { HOSTILE_IDS } from "./isolation.js";

export const reopenChapter = chapter(
  "reopen",
  ["durable"],
  [
    step("everything is there after a reopen", async (context) => {
      const rows = Array.from({ length: 50 }, (_, n) => inputState(n));
      const delta = { sessionSnapshot: session(1, 120, 10_000) };
      await context.store.atomicApply(RUNTIME, delta, receipt(1, 2n ** 63n - 2n), rows, undefined);
      await context.store.commitMachineLifecycle(RUNTIME, lifecycle("retired", { fenceToken: 2n ** 64n - 1n }), []);
      await context.store.persistOpsLifecycle(RUNTIME, opsSnapshot(20));
      await context.store.persistAuthOauthFlowSnapshot(Buffer.of(0xff, 0));
      const before = await contents(context.store, RUNTIME);
      for (let round = 0; round < 3; round += 1) {
        await context.reopen();
        same(await contents(context.store, RUNTIME), before);
        same(await context.store.loadBoundaryReceipt(RUNTIME, runId(1), 2n ** 63n - 2n), receipt(1, 2n ** 63n - 2n));
        sameBytes(await context.store.loadAuthOauthFlowSnapshot(), Buffer.of(0xff, 0));
      }
    }),

    step("what was removed stays removed, what was replaced stays replaced", async (context) => {
      await context.store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 200, 10_000) });
      await context.store.persistOpsLifecycle(RUNTIME, opsSnapshot(2));
      await context.store.commitSessionSnapshot("other", { sessionSnapshot: session(1, 200, 10_000) });
      await context.store.clearSessionSnapshot(RUNTIME);
      await context.store.deleteOpsLifecycle(RUNTIME);
      await context.store.commitSessionSnapshot("other", { sessionSnapshot: session(2, 1) });
      await context.reopen();
      same(await contents(context.store, RUNTIME), { inputs: [] });
      same(await contents(context.store, "other"), { snapshot: session(2, 1), inputs: [] });
    }),

    step("a refused apply has left nothing", async (context) => {
      await context.store.atomicApply(RUNTIME, undefined, receipt(1, 0n), [inputState(1)], undefined);
      await context.reopen();
      const call = () =>
        context.store.atomicApply(
          RUNTIME,
          { sessionSnapshot: session(1, 1) },
          receipt(1, 0n),
          [inputState(2)],
          undefined,
        );
      await refused(call(), { variant: "WriteFailed", reason: "RECEIPT_EXISTS" });
      await context.reopen();
      same(await contents(context.store, RUNTIME), { inputs: [inputState(1)] });
    }),

    step("hostile ids find their own data", async (context) => {
      for (const [n, id] of HOSTILE_IDS.entries()) await context.store.persistInputState(id, inputState(n));
      await context.reopen();
      for (const [n, id] of HOSTILE_IDS.entries()) same(await context.store.loadInputStates(id), [inputState(n)]);
    }),

    step("writes go on where they were", async (context) => {
      for (let turn = 1; turn <= 5; turn += 1) {
        const delta = { sessionSnapshot: session(1, turn) };
        await context.store.atomicApply(RUNTIME, delta, receipt(turn, 0n), [inputState(turn)], undefined);
        await context.reopen();
      }
      sameBytes(await context.store.loadSessionSnapshot(RUNTIME), session(1, 5));
      assert.equal((await context.store.loadInputStates(RUNTIME)).length, 5);
    }),

    step("the store is the same one", ["versions"], async (context) => {
      const before = await context.versioned.getServerInfo({});
      const key = context.store.authAuthorityKey();
      await context.reopen();
      assert.equal((await context.versioned.getServerInfo({})).storeId, before.storeId);
      assert.equal(context.store.authAuthorityKey(), key);
    }),

    step("versions stay, and none comes twice", ["versions"], async (context) => {
      const persist = (n: number) =>
        context.versioned.persistInputState({ runtimeId: RUNTIME, state: inputState(1, { attemptCount: n }) });
      const seen: string[] = [];
      for (let n = 0; n < 4; n += 1) {
        const { version } = await persist(n);
        seen.push(version);
        await context.versioned.clearSessionSnapshot({ runtimeId: RUNTIME });
        await context.reopen();
        const row = await context.versioned.loadInputState({ runtimeId: RUNTIME, inputId: inputState(1).inputId });
        assert.equal(row?.version, version);
      }
      assert.equal(new Set(seen).size, seen.length);
    }),

    step("a repeat after a reopen gets the first answer", ["versions"], async (context) => {
      const requestId = freshRequestId();
      const apply = () =>
        context.versioned.atomicApply({
          runtimeId: RUNTIME,
          requestId,
          sessionDelta: { sessionSnapshot: session(1, 1) },
          receipt: receipt(1, 0n),
          inputUpdates: [inputState(1)],
          sessionStoreKey: undefined,
        });
      const first = await apply();
      await context.reopen();
      const again = await apply();
      same([again.version, again.replayed], [first.version, true]);
      same(await context.versioned.getCommit({ requestId, seal: true }), {
        state: "applied",
        version: first.version,
        method: "AtomicApply",
      });
    }),

    step("a sealed request stays sealed", ["versions"], async (context) => {
      const requestId = freshRequestId();
      await context.versioned.getCommit({ requestId, seal: true });
      await context.reopen();
      same(await context.versioned.getCommit({ requestId, seal: false }), { state: "sealed" });
      const call = context.versioned.persistInputState({ runtimeId: RUNTIME, requestId, state: inputState(1) });
      await refused(call, { variant: "WriteFailed", reason: "REQUEST_ID_SEALED" });
    }),

    step("a snapshot keeps its profile", ["versions"], async (context) => {
      await context.store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: Buffer.of(0xff), profile: "opaque" });
      await context.reopen();
      await context.store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: Buffer.of(0xfe) });
      const call = context.store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 1), profile: "session" });
      await refused(call, { variant: "WriteFailed", reason: "PROFILE_MISMATCH" });
    }),

    step("runtimes are listed as before", ["versions"], async (context) => {
      for (const id of HOSTILE_IDS) await context.store.commitMachineLifecycle(id, lifecycle("idle"), []);
      const list = async () => (await context.versioned.listRuntimes({ pageSize: 1000, pageToken: "" })).runtimes;
      const before = await list();
      assert.equal(before.length, HOSTILE_IDS.length);
      await context.reopen();
      same(await list(), before);
    }),
  ],
);
