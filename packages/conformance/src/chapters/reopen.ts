import { Buffer } from "node:buffer";
import { assertEqual, assertRefused, assertSame, assertSameBytes, contentsOf } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import { RUNTIME, freshRequestId, inputState, lifecycle, opsSnapshot, receipt, runId, session } from "../fixtures.js";
import { DIFFICULT_IDS } from "./isolation.js";

/** Durability: a store that is closed and opened again has everything that it acknowledged. */
export const reopenChapter = chapter(
  "reopen",
  ["durable"],
  [
    testCase("every record is loaded unchanged after a reopen", async (context) => {
      const rows = Array.from({ length: 50 }, (_, n) => inputState(n));
      const delta = { sessionSnapshot: session(1, 120, 10_000) };
      await context.store.atomicApply(RUNTIME, delta, receipt(1, 2n ** 63n - 2n), rows, undefined);
      await context.store.commitMachineLifecycle(RUNTIME, lifecycle("retired", { fenceToken: 2n ** 64n - 1n }), []);
      await context.store.persistOpsLifecycle(RUNTIME, opsSnapshot(20));
      await context.store.persistAuthOauthFlowSnapshot(Buffer.of(0xff, 0));
      const before = await contentsOf(context.store, RUNTIME);
      for (let round = 0; round < 3; round += 1) {
        await context.reopen();
        assertSame(await contentsOf(context.store, RUNTIME), before);
        assertSame(
          await context.store.loadBoundaryReceipt(RUNTIME, runId(1), 2n ** 63n - 2n),
          receipt(1, 2n ** 63n - 2n),
        );
        assertSameBytes(await context.store.loadAuthOauthFlowSnapshot(), Buffer.of(0xff, 0));
      }
    }),

    testCase("removed records stay removed, and replaced records stay replaced", async (context) => {
      await context.store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 200, 10_000) });
      await context.store.persistOpsLifecycle(RUNTIME, opsSnapshot(2));
      await context.store.commitSessionSnapshot("other", { sessionSnapshot: session(1, 200, 10_000) });
      await context.store.clearSessionSnapshot(RUNTIME);
      await context.store.deleteOpsLifecycle(RUNTIME);
      await context.store.commitSessionSnapshot("other", { sessionSnapshot: session(2, 1) });
      await context.reopen();
      assertSame(await contentsOf(context.store, RUNTIME), { inputs: [] });
      assertSame(await contentsOf(context.store, "other"), { snapshot: session(2, 1), inputs: [] });
    }),

    testCase("a refused apply stores nothing", async (context) => {
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
      await assertRefused(call(), { variant: "WriteFailed", reason: "RECEIPT_EXISTS" });
      await context.reopen();
      assertSame(await contentsOf(context.store, RUNTIME), { inputs: [inputState(1)] });
    }),

    testCase("difficult runtime ids keep their data separate", async (context) => {
      for (const [n, id] of DIFFICULT_IDS.entries()) await context.store.persistInputState(id, inputState(n));
      await context.reopen();
      for (const [n, id] of DIFFICULT_IDS.entries())
        assertSame(await context.store.loadInputStates(id), [inputState(n)]);
    }),

    testCase("writes continue after each reopen", async (context) => {
      for (let n = 1; n <= 5; n += 1) {
        const delta = { sessionSnapshot: session(1, n) };
        await context.store.atomicApply(RUNTIME, delta, receipt(n, 0n), [inputState(n)], undefined);
        await context.reopen();
      }
      assertSameBytes(await context.store.loadSessionSnapshot(RUNTIME), session(1, 5));
      assertEqual((await context.store.loadInputStates(RUNTIME)).length, 5);
    }),

    testCase("the store keeps its id", ["versions"], async (context) => {
      const before = await context.versioned.getServerInfo({});
      const key = context.store.authAuthorityKey();
      await context.reopen();
      assertEqual((await context.versioned.getServerInfo({})).storeId, before.storeId);
      assertEqual(context.store.authAuthorityKey(), key);
    }),

    testCase("records keep their versions, and no version is used twice", ["versions"], async (context) => {
      const persist = (n: number) =>
        context.versioned.persistInputState({ runtimeId: RUNTIME, state: inputState(1, { attemptCount: n }) });
      const seen: string[] = [];
      for (let n = 0; n < 4; n += 1) {
        const { version } = await persist(n);
        seen.push(version);
        await context.versioned.clearSessionSnapshot({ runtimeId: RUNTIME });
        await context.reopen();
        const row = await context.versioned.loadInputState({ runtimeId: RUNTIME, inputId: inputState(1).inputId });
        assertEqual(row?.version, version);
      }
      assertEqual(new Set(seen).size, seen.length);
    }),

    testCase("a repeated request id returns the first response after a reopen", ["versions"], async (context) => {
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
      assertSame([again.version, again.replayed], [first.version, true]);
      assertSame(await context.versioned.getCommit({ requestId, seal: true }), {
        state: "applied",
        version: first.version,
        method: "AtomicApply",
      });
    }),

    testCase("a sealed request stays sealed", ["versions"], async (context) => {
      const requestId = freshRequestId();
      await context.versioned.getCommit({ requestId, seal: true });
      await context.reopen();
      assertSame(await context.versioned.getCommit({ requestId, seal: false }), { state: "sealed" });
      const call = context.versioned.persistInputState({ runtimeId: RUNTIME, requestId, state: inputState(1) });
      await assertRefused(call, { variant: "WriteFailed", reason: "REQUEST_ID_SEALED" });
    }),

    testCase("a snapshot keeps its profile", ["versions"], async (context) => {
      await context.store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: Buffer.of(0xff), profile: "opaque" });
      await context.reopen();
      await context.store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: Buffer.of(0xfe) });
      const call = context.store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 1), profile: "session" });
      await assertRefused(call, { variant: "WriteFailed", reason: "PROFILE_MISMATCH" });
    }),

    testCase("the list of runtimes is the same after a reopen", ["versions"], async (context) => {
      for (const id of DIFFICULT_IDS) await context.store.commitMachineLifecycle(id, lifecycle("idle"), []);
      const list = async () => (await context.versioned.listRuntimes({ pageSize: 1000, pageToken: "" })).runtimes;
      const before = await list();
      assertEqual(before.length, DIFFICULT_IDS.length);
      await context.reopen();
      assertSame(await list(), before);
    }),
  ],
);
