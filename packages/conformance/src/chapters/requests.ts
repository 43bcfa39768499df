import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Committed, VersionedStore } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import {
  EMPTY_CONTENTS,
  assertEqual,
  assertRefused,
  assertSame,
  assertSameBytes,
  callConcurrently,
  contentsOf,
  refusalOf,
} from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import {
  RUNTIME,
  freshRequestId,
  inputState,
  lifecycle,
  opsSnapshot,
  receipt,
  requestIdAt,
  session,
} from "../fixtures.js";
import { MUTATING_METHODS, MUTATIONS, MUTATION_BASE, type MutatingMethod, type MutationResult } from "./mutations.js";

const HOUR = 60 * 60 * 1000;
const DAY = 24 * HOUR;

type Call = (store: VersionedStore, requestId: string, runtimeId?: string) => Promise<Committed>;

const delta = (messages: number) => ({ sessionSnapshot: session(1, messages) });

const apply = (messages: number, sequence = 0n): Call => {
  return (store, requestId, runtimeId = RUNTIME) =>
    store.atomicApply({
      runtimeId,
      requestId,
      sessionDelta: delta(messages),
      receipt: receipt(1, sequence),
      inputUpdates: [inputState(1), inputState(2)],
      sessionStoreKey: undefined,
    });
};
const persist = (n: number): Call => {
  return (store, requestId, runtimeId = RUNTIME) =>
    store.persistInputState({ runtimeId, requestId, state: inputState(n) });
};

/** Changes every record that one of the mutations can write. */
async function changeEverything(store: VersionedStore): Promise<void> {
  await store.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: { sessionSnapshot: session(2, 1) } });
  await store.persistInputState({ runtimeId: RUNTIME, state: inputState(1, { currentState: "queued" }) });
  const record = encodeLifecycleRecord(lifecycle("destroyed"));
  await store.commitMachineLifecycle({ runtimeId: RUNTIME, record, inputStates: [] });
  await store.persistOpsLifecycle({ runtimeId: RUNTIME, snapshot: opsSnapshot(5) });
  await store.persistAuthOauthFlowSnapshot({ snapshot: Buffer.from("changed") });
}

/** Returns the response of a mutation that must have applied, now or in an earlier call. */
function committed(result: MutationResult): Committed {
  assert.ok(result !== undefined && "version" in result, "expected a mutation that applied, found a miss");
  return result;
}

/** These return a miss in an empty store, and never use their request id. */
const MISSES_WITHOUT_SNAPSHOT: readonly MutatingMethod[] = [
  "replaceSessionSnapshotIfCurrent",
  "clearSessionSnapshotIfCurrent",
];

const REUSED = { variant: "WriteFailed", reason: "REQUEST_ID_REUSED", record: "request_id" } as const;
const SEALED = { variant: "WriteFailed", reason: "REQUEST_ID_SEALED", record: "request_id" } as const;

/** Retries: a request id makes a repeated call safe. The first cases cover every mutating method, as `MUTATIONS` does. */
export const requestsChapter = chapter(
  "requests",
  ["versions"],
  [
    ...MUTATING_METHODS.map((method) =>
      testCase(
        `${method}: a repeated request id returns the first response and applies nothing, however late`,
        method === "commitSessionTranscriptRewriteSnapshot" ? ["transcriptRules"] : [],
        async ({ store, versioned }) => {
          const call = async (id: string) => committed(await MUTATIONS[method](versioned, { requestId: id }));
          await versioned.commitSessionSnapshot({
            runtimeId: RUNTIME,
            sessionDelta: { sessionSnapshot: MUTATION_BASE },
          });
          // So that a mutation of several rows keeps one.
          await versioned.persistInputState({ runtimeId: RUNTIME, state: inputState(1) });
          const requestId = freshRequestId();
          const first = await call(requestId);
          assertEqual(first.replayed, false);
          // Every field of the first response, with `replayed` set.
          assertSame(await call(requestId), { ...first, replayed: true });
          await changeEverything(versioned);
          const before = await contentsOf(store, RUNTIME);
          assertSame(await call(requestId.toUpperCase()), { ...first, replayed: true });
          assertSame(await contentsOf(store, RUNTIME), before);
          assertSameBytes(await store.loadAuthOauthFlowSnapshot(), Buffer.from("changed"));
          const status = await versioned.getCommit({ requestId, seal: false });
          assertSame(status, {
            state: "applied",
            version: first.version,
            method: method.charAt(0).toUpperCase() + method.slice(1),
          });
        },
      ),
    ),

    testCase("calls without a request id are separate requests", async ({ store }) => {
      await store.atomicApply(RUNTIME, undefined, receipt(1, 0n), [], undefined);
      const again = store.atomicApply(RUNTIME, undefined, receipt(1, 0n), [], undefined);
      await assertRefused(again, { variant: "WriteFailed", reason: "RECEIPT_EXISTS", identical: true });
    }),

    testCase("a repeated request id succeeds through RuntimeStore too", async ({ store }) => {
      const options = { requestId: freshRequestId() };
      for (let round = 0; round < 3; round += 1) {
        await store.atomicApply(RUNTIME, delta(1), receipt(1, 0n), [inputState(1)], undefined, options);
      }
    }),

    testCase(
      "a repeated request id with other arguments is refused, whichever argument differs",
      async ({ store, versioned }) => {
        const requestId = freshRequestId();
        await apply(2)(versioned, requestId);
        const before = await contentsOf(store, RUNTIME);
        const others: Call[] = [apply(3), apply(2, 1n), persist(1), (one, id) => apply(2)(one, id, "other")];
        for (const call of others) await assertRefused(call(versioned, requestId), REUSED);
        const expecting = versioned.atomicApply({
          runtimeId: RUNTIME,
          requestId,
          sessionDelta: delta(2),
          receipt: receipt(1, 0n),
          inputUpdates: [inputState(1)],
          sessionStoreKey: undefined,
          expectedFenceToken: 1n,
        });
        await assertRefused(expecting, REUSED);
        assertSame(await contentsOf(store, RUNTIME), before);
        assertSame(await contentsOf(store, "other"), EMPTY_CONTENTS);
        assertEqual(committed(await apply(2)(versioned, requestId)).replayed, true);
      },
    ),

    testCase(
      "the order of map members in an operation snapshot does not make another request",
      async ({ versioned }) => {
        const snapshot = opsSnapshot(5);
        const reversed = {
          ...snapshot,
          operationSpecs: Object.fromEntries(Object.entries(snapshot.operationSpecs).reverse()),
        };
        const requestId = freshRequestId();
        const persistOps = (one: typeof snapshot) =>
          versioned.persistOpsLifecycle({ runtimeId: RUNTIME, requestId, snapshot: one });
        const first = await persistOps(snapshot);
        const again = await persistOps(reversed);
        assertSame([again.version, again.replayed], [first.version, true]);
      },
    ),

    testCase("a refusal is not stored as an outcome, so its request id may be used again", async ({ versioned }) => {
      const requestId = freshRequestId();
      await apply(1)(versioned, freshRequestId());
      await assertRefused(apply(1)(versioned, requestId), { variant: "WriteFailed", reason: "RECEIPT_EXISTS" });
      assertSame(await versioned.getCommit({ requestId, seal: false }), { state: "not_found" });
      assertEqual(committed(await apply(2, 1n)(versioned, requestId)).replayed, false);
    }),

    testCase("a compare-and-set that misses is not stored as an outcome", async ({ versioned }) => {
      const requestId = freshRequestId();
      const clear = () => MUTATIONS.clearSessionSnapshotIfCurrent(versioned, { requestId });
      assertEqual(await clear(), undefined);
      await versioned.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: { sessionSnapshot: MUTATION_BASE } });
      assertEqual(committed(await clear()).replayed, false);
    }),

    testCase(
      "one of several identical concurrent requests applies, and all return its response",
      async ({ store, versioned }) => {
        const requestId = freshRequestId();
        const responses = (await callConcurrently(16, () => apply(2)(versioned, requestId))).map(committed);
        assertEqual(responses.filter(({ replayed }) => !replayed).length, 1);
        assertEqual(new Set(responses.map(({ version }) => version)).size, 1);
        assertSame(await store.loadInputStates(RUNTIME), [inputState(1), inputState(2)]);
      },
    ),

    testCase(
      "an unknown request id is not found, and never applies once it is sealed",
      async ({ store, versioned }) => {
        const requestId = freshRequestId();
        assertSame(await versioned.getCommit({ requestId, seal: false }), { state: "not_found" });
        for (const seal of [true, false, true])
          assertSame(await versioned.getCommit({ requestId, seal }), { state: "sealed" });
        for (const method of MUTATING_METHODS.filter((name) => !MISSES_WITHOUT_SNAPSHOT.includes(name))) {
          await assertRefused(MUTATIONS[method](versioned, { requestId }), SEALED);
        }
        assertSame(await contentsOf(store, RUNTIME), EMPTY_CONTENTS);
        assertEqual(await store.loadAuthOauthFlowSnapshot(), undefined);
      },
    ),

    testCase("sealing an applied request changes nothing", async ({ versioned }) => {
      const requestId = freshRequestId();
      const { version } = committed(await persist(1)(versioned, requestId));
      for (const seal of [true, false]) {
        assertSame(await versioned.getCommit({ requestId, seal }), {
          state: "applied",
          version,
          method: "PersistInputState",
        });
      }
      assertEqual(committed(await persist(1)(versioned, requestId)).replayed, true);
    }),

    testCase(
      "a request id below the horizon is expired and never applied, unless its outcome is kept",
      ["transfers"],
      async ({ store, versioned, transfer }) => {
        const horizonMs = Date.now() - HOUR;
        const appliedId = requestIdAt(horizonMs - 2);
        const expiredId = requestIdAt(horizonMs - 1);
        const { version } = committed(await persist(1)(versioned, appliedId, "other"));
        const times = await transfer.setHorizon({ horizonMs });
        assertEqual(times.horizonMs, horizonMs);
        assertEqual((await versioned.getServerInfo({})).requestIdTimes?.horizonMs, horizonMs);
        const refused = await refusalOf(apply(1)(versioned, expiredId));
        assertSame([refused.variant, refused.reason], ["WriteFailed", "REQUEST_ID_EXPIRED"]);
        assertEqual(refused.subject.record, "request_id");
        assertEqual(refused.subject.requestIdTimes?.horizonMs, horizonMs);
        for (const seal of [false, true])
          assertSame(await versioned.getCommit({ requestId: expiredId, seal }), { state: "expired" });
        assertSame(await contentsOf(store, RUNTIME), EMPTY_CONTENTS);
        const replayed = committed(await persist(1)(versioned, appliedId, "other"));
        assertSame([replayed.version, replayed.replayed], [version, true]);
        assertEqual(committed(await apply(1)(versioned, requestIdAt(horizonMs))).replayed, false);
      },
    ),

    testCase(
      "a horizon above the times of new request ids is refused",
      ["transfers"],
      async ({ versioned, transfer }) => {
        await assertRefused(transfer.setHorizon({ horizonMs: Date.now() + 2 * DAY }), {
          variant: "WriteFailed",
          reason: "INVALID_ARGUMENT",
          record: "horizon_ms",
        });
        assertEqual(committed(await persist(1)(versioned, freshRequestId())).replayed, false);
      },
    ),

    testCase("a request id that is not a UUIDv7, or has a future time, is refused", async ({ store, versioned }) => {
      const invalid = ["", "x", "f47ac10b-58cc-4372-a567-0e02b2c3d479", requestIdAt(Date.now() + 2 * DAY)];
      for (const requestId of invalid) {
        const refusal = { variant: "WriteFailed", reason: "INVALID_ARGUMENT", record: "request_id" } as const;
        await assertRefused(persist(1)(versioned, requestId), refusal);
        await assertRefused(apply(1)(versioned, requestId), refusal);
        await assertRefused(versioned.getCommit({ requestId, seal: true }), refusal);
      }
      assertSame(await contentsOf(store, RUNTIME), EMPTY_CONTENTS);
    }),

    testCase("a request in progress is pending, and applied afterwards", ["holds"], async (context) => {
      for (const call of [persist(1), apply(1)]) {
        const requestId = freshRequestId();
        const release = context.hold();
        const held = call(context.versioned, requestId);
        // When a later request has returned, the store has received the held one.
        await context.store.loadInputStates(RUNTIME);
        const status = await context.versioned.getCommit({ requestId, seal: false });
        release();
        const { version } = committed(await held);
        assertSame(status, { state: "pending" });
        assertSame((await context.versioned.getCommit({ requestId, seal: false })).state, "applied");
        assert.notEqual(version, "");
      }
    }),
  ],
);
