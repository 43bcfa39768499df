import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Committed, RuntimeMutation, UpdatedOauth, VersionedStore } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { EMPTY_CONTENTS, contents, refused, same, sameBytes, together } from "../assertions.js";
import { chapter, step } from "../conformance-case.js";
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

const DAY = 24 * 60 * 60 * 1000;

type Answer = Committed | UpdatedOauth | undefined;
type Call = (store: VersionedStore, requestId: string, runtimeId?: string) => Promise<Answer>;

const delta = (messages: number) => ({ sessionSnapshot: session(1, messages) });
const of = (runtimeId: string, requestId: string): RuntimeMutation => ({ runtimeId, requestId });

const apply = (messages: number, sequence = 0n): Call => {
  return (store, requestId, runtimeId = RUNTIME) =>
    store.atomicApply({
      ...of(runtimeId, requestId),
      sessionDelta: delta(messages),
      receipt: receipt(1, sequence),
      inputUpdates: [inputState(1), inputState(2)],
      sessionStoreKey: undefined,
    });
};
const persist = (n: number): Call => {
  return (store, requestId, runtimeId = RUNTIME) =>
    store.persistInputState({ ...of(runtimeId, requestId), state: inputState(n) });
};

/** Every mutation with arguments of its own, over a store where session 1 of three messages is stored. */
const MUTATIONS: Readonly<Record<string, Call>> = {
  commitSessionSnapshot: (store, id) => store.commitSessionSnapshot({ ...of(RUNTIME, id), sessionDelta: delta(4) }),
  atomicApply: apply(4),
  clearSessionSnapshot: (store, id) => store.clearSessionSnapshot(of(RUNTIME, id)),
  replaceSessionSnapshotIfCurrent: async (store, id) =>
    store.replaceSessionSnapshotIfCurrent({
      ...of(RUNTIME, id),
      expected: { sha256: await digestOf(session(1, 3)) },
      replacement: delta(4),
    }),
  clearSessionSnapshotIfCurrent: async (store, id) =>
    store.clearSessionSnapshotIfCurrent({ ...of(RUNTIME, id), expected: { sha256: await digestOf(session(1, 3)) } }),
  persistInputState: persist(1),
  commitMachineLifecycle: (store, id) =>
    store.commitMachineLifecycle({
      ...of(RUNTIME, id),
      record: encodeLifecycleRecord(lifecycle("idle")),
      inputStates: [inputState(1)],
    }),
  persistOpsLifecycle: (store, id) => store.persistOpsLifecycle({ ...of(RUNTIME, id), snapshot: opsSnapshot(3) }),
  deleteOpsLifecycle: (store, id) => store.deleteOpsLifecycle(of(RUNTIME, id)),
  persistAuthOauthFlowSnapshot: (store, id) =>
    store.persistAuthOauthFlowSnapshot({ requestId: id, snapshot: Buffer.from("oauth") }),
  updateAuthOauthFlowSnapshot: (store, id) =>
    store.updateAuthOauthFlowSnapshot({ requestId: id, expected: undefined, snapshot: Buffer.from("oauth") }),
};

const digestOf = async (bytes: Uint8Array): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", Buffer.from(bytes)));

/** Everything that the mutations can touch becomes something else again. */
async function moveOn(store: VersionedStore): Promise<void> {
  await store.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: { sessionSnapshot: session(2, 1) } });
  await store.persistInputState({ runtimeId: RUNTIME, state: inputState(1, { currentState: "queued" }) });
  const record = encodeLifecycleRecord(lifecycle("destroyed"));
  await store.commitMachineLifecycle({ runtimeId: RUNTIME, record, inputStates: [] });
  await store.persistOpsLifecycle({ runtimeId: RUNTIME, snapshot: opsSnapshot(5) });
  await store.persistAuthOauthFlowSnapshot({ snapshot: Buffer.from("moved on") });
}

function committed(answer: Answer): Committed {
  assert.ok(answer !== undefined && "version" in answer, "the mutation did not apply");
  return answer;
}

const reused = { variant: "WriteFailed", reason: "REQUEST_ID_REUSED", record: "request_id" } as const;

export const requestsChapter = chapter(
  "requests",
  ["versions"],
  [
    ...Object.entries(MUTATIONS).map(([method, call]) =>
      step(
        `${method}: a repeat gets the first answer and applies nothing, however late`,
        async ({ store, versioned }) => {
          await versioned.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: delta(3) });
          const requestId = freshRequestId();
          const first = committed(await call(versioned, requestId));
          assert.equal(first.replayed, false);
          const again = committed(await call(versioned, requestId));
          same([again.version, again.replayed], [first.version, true]);
          await moveOn(versioned);
          const before = await contents(store, RUNTIME);
          const late = committed(await call(versioned, requestId.toUpperCase()));
          same([late.version, late.replayed], [first.version, true]);
          same(await contents(store, RUNTIME), before);
          sameBytes(await store.loadAuthOauthFlowSnapshot(), Buffer.from("moved on"));
          const status = await versioned.getCommit({ requestId, seal: false });
          same(status, {
            state: "applied",
            version: first.version,
            method: method.charAt(0).toUpperCase() + method.slice(1),
          });
        },
      ),
    ),

    step("without a request id every call is another one", async ({ store }) => {
      await store.atomicApply(RUNTIME, undefined, receipt(1, 0n), [], undefined);
      const again = store.atomicApply(RUNTIME, undefined, receipt(1, 0n), [], undefined);
      await refused(again, { variant: "WriteFailed", reason: "RECEIPT_EXISTS", identical: true });
    }),

    step("a repeat through the plain store is a success too", async ({ store }) => {
      const options = { requestId: freshRequestId() };
      for (let round = 0; round < 3; round += 1) {
        await store.atomicApply(RUNTIME, delta(1), receipt(1, 0n), [inputState(1)], undefined, options);
      }
    }),

    step("the same id with other arguments is refused, whatever differs", async ({ store, versioned }) => {
      const requestId = freshRequestId();
      await apply(2)(versioned, requestId);
      const before = await contents(store, RUNTIME);
      const others: Call[] = [apply(3), apply(2, 1n), persist(1), (one, id) => apply(2)(one, id, "other")];
      for (const call of others) await refused(call(versioned, requestId), reused);
      const expecting = versioned.atomicApply({
        ...of(RUNTIME, requestId),
        sessionDelta: delta(2),
        receipt: receipt(1, 0n),
        inputUpdates: [inputState(1)],
        sessionStoreKey: undefined,
        expectedFenceToken: 1n,
      });
      await refused(expecting, reused);
      same(await contents(store, RUNTIME), before);
      same(await contents(store, "other"), EMPTY_CONTENTS);
      assert.equal(committed(await apply(2)(versioned, requestId)).replayed, true);
    }),

    step("the order of a registry's maps does not make it another request", async ({ versioned }) => {
      const snapshot = opsSnapshot(5);
      const backwards = {
        ...snapshot,
        operationSpecs: Object.fromEntries(Object.entries(snapshot.operationSpecs).reverse()),
      };
      const requestId = freshRequestId();
      const persistOps = (one: typeof snapshot) =>
        versioned.persistOpsLifecycle({ ...of(RUNTIME, requestId), snapshot: one });
      const first = await persistOps(snapshot);
      const again = await persistOps(backwards);
      same([again.version, again.replayed], [first.version, true]);
    }),

    step("a refusal is not kept: the id may be used again", async ({ versioned }) => {
      const requestId = freshRequestId();
      await apply(1)(versioned, freshRequestId());
      await refused(apply(1)(versioned, requestId), { variant: "WriteFailed", reason: "RECEIPT_EXISTS" });
      same(await versioned.getCommit({ requestId, seal: false }), { state: "not_found" });
      assert.equal(committed(await apply(2, 1n)(versioned, requestId)).replayed, false);
    }),

    step("a missed expectation of a compare-and-set is not kept", async ({ versioned }) => {
      const requestId = freshRequestId();
      const clear = MUTATIONS["clearSessionSnapshotIfCurrent"];
      assert.equal(await clear?.(versioned, requestId), undefined);
      await versioned.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: delta(3) });
      assert.equal(committed(await clear?.(versioned, requestId)).replayed, false);
    }),

    step("of identical concurrent requests one applies, and all get its answer", async ({ store, versioned }) => {
      const requestId = freshRequestId();
      const answers = (await together(16, () => apply(2)(versioned, requestId))).map(committed);
      assert.equal(answers.filter(({ replayed }) => !replayed).length, 1);
      assert.equal(new Set(answers.map(({ version }) => version)).size, 1);
      same(await store.loadInputStates(RUNTIME), [inputState(1), inputState(2)]);
    }),

    step("an unknown request is not found, and once sealed never applies", async ({ store, versioned }) => {
      const requestId = freshRequestId();
      same(await versioned.getCommit({ requestId, seal: false }), { state: "not_found" });
      for (const seal of [true, false, true]) same(await versioned.getCommit({ requestId, seal }), { state: "sealed" });
      for (const call of Object.values(MUTATIONS)) {
        const sealed = { variant: "WriteFailed", reason: "REQUEST_ID_SEALED", record: "request_id" } as const;
        if (
          call !== MUTATIONS["clearSessionSnapshotIfCurrent"] &&
          call !== MUTATIONS["replaceSessionSnapshotIfCurrent"]
        ) {
          await refused(call(versioned, requestId), sealed);
        }
      }
      same(await contents(store, RUNTIME), EMPTY_CONTENTS);
      assert.equal(await store.loadAuthOauthFlowSnapshot(), undefined);
    }),

    step("to seal an applied request changes nothing", async ({ versioned }) => {
      const requestId = freshRequestId();
      const { version } = committed(await persist(1)(versioned, requestId));
      for (const seal of [true, false]) {
        same(await versioned.getCommit({ requestId, seal }), {
          state: "applied",
          version,
          method: "PersistInputState",
        });
      }
      assert.equal(committed(await persist(1)(versioned, requestId)).replayed, true);
    }),

    step("an id older than what is kept is expired and never executed", async ({ store, versioned }) => {
      const { outcomeRetention } = await versioned.getServerInfo({});
      const requestId = requestIdAt(Date.now() - outcomeRetention.maxAgeSeconds * 1000 - DAY);
      await refused(apply(1)(versioned, requestId), {
        variant: "WriteFailed",
        reason: "REQUEST_ID_EXPIRED",
        record: "request_id",
      });
      for (const seal of [false, true]) same(await versioned.getCommit({ requestId, seal }), { state: "expired" });
      same(await contents(store, RUNTIME), EMPTY_CONTENTS);
    }),

    step("what is no UUIDv7, or of a time to come, is refused", async ({ store, versioned }) => {
      const bad = ["", "x", "f47ac10b-58cc-4372-a567-0e02b2c3d479", requestIdAt(Date.now() + 2 * DAY)];
      for (const requestId of bad) {
        const refusal = { variant: "WriteFailed", reason: "INVALID_ARGUMENT", record: "request_id" } as const;
        await refused(persist(1)(versioned, requestId), refusal);
        await refused(apply(1)(versioned, requestId), refusal);
        await refused(versioned.getCommit({ requestId, seal: true }), refusal);
      }
      same(await contents(store, RUNTIME), EMPTY_CONTENTS);
    }),

    step("a request that is being worked on is pending, then applied", ["holds"], async (context) => {
      for (const call of [persist(1), apply(1)]) {
        const requestId = freshRequestId();
        const release = context.hold();
        const working = call(context.versioned, requestId);
        // The request is in the store by the time a later one has been answered.
        await context.store.loadInputStates(RUNTIME);
        const status = await context.versioned.getCommit({ requestId, seal: false });
        release();
        const { version } = committed(await working);
        same(status, { state: "pending" });
        same((await context.versioned.getCommit({ requestId, seal: false })).state, "applied");
        assert.ok(version);
      }
    }),
  ],
);
