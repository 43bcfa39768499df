import assert from "node:assert/strict";
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

const LONG = "x".repeat(8191);

/** Each is another runtime, however alike some look. */
export const HOSTILE_IDS: readonly string[] = [
  "",
  " ",
  "a",
  "a ",
  "A",
  "aa",
  "ab",
  "a\0",
  "a\0\0",
  "a\0\u0001",
  "a\0\u00ff",
  "a\u0001",
  "\0",
  "\0\0",
  "\u0000\u0001",
  "a||b",
  "a||b||",
  "||",
  "a/b",
  "a:b",
  "a\nb",
  "../a",
  "%00",
  "\ufeffa",
  "\u00e9",
  "e\u0301",
  "\uffff",
  "\u{1f600}",
  "\u{10ffff}",
  "__proto__",
  "constructor",
  "toString",
  "null",
  "undefined",
  "0",
  `rt:session:${sessionId(1)}`,
  sessionId(1),
  sessionId(1).toUpperCase(),
  `input ${inputId(1)} a`,
  "auth_oauth_flow_state",
  "k".repeat(1022),
  "k".repeat(1023),
  "k".repeat(1024),
  "k".repeat(1025),
  "\0".repeat(511),
  "\0".repeat(512),
  `${LONG}a`,
  `${LONG}b`,
  LONG,
  "\u{1f600}".repeat(2048),
  "\0".repeat(8192),
];

export const isolationChapter = chapter(
  "isolation",
  [],
  [
    step("every runtime id holds its own data in every table", async ({ store }) => {
      for (const [n, id] of HOSTILE_IDS.entries()) {
        const delta = { sessionSnapshot: session(n, 1) };
        await store.atomicApply(
          id,
          delta,
          receipt(1, 0n, { messageCount: BigInt(n) }),
          [inputState(1, { attemptCount: n })],
          undefined,
        );
        await store.commitMachineLifecycle(id, lifecycle("idle", { fenceToken: BigInt(n) }), []);
        await store.persistOpsLifecycle(id, opsSnapshot(0, n));
      }
      for (const [n, id] of HOSTILE_IDS.entries()) {
        same(await contents(store, id), {
          snapshot: session(n, 1),
          lifecycle: lifecycle("idle", { fenceToken: BigInt(n) }),
          inputs: [inputState(1, { attemptCount: n })],
          ops: opsSnapshot(0, n),
        });
        same(await store.loadBoundaryReceipt(id, runId(1), 0n), receipt(1, 0n, { messageCount: BigInt(n) }));
      }
    }),

    step("what is removed of one runtime is there of all others", async ({ store }) => {
      for (const [n, id] of HOSTILE_IDS.entries()) {
        await store.commitSessionSnapshot(id, { sessionSnapshot: session(n, 1) });
        await store.persistOpsLifecycle(id, opsSnapshot(0, n));
      }
      for (const id of HOSTILE_IDS.filter((_, n) => n % 2 === 0)) {
        await store.clearSessionSnapshot(id);
        await store.deleteOpsLifecycle(id);
      }
      for (const [n, id] of HOSTILE_IDS.entries()) {
        const rest = n % 2 === 0 ? {} : { snapshot: session(n, 1), ops: opsSnapshot(0, n) };
        same(await contents(store, id), { ...rest, inputs: [] });
      }
    }),

    step("a ledger ends where the next runtime's begins", async ({ store }) => {
      const last = "ffffffff-ffff-ffff-ffff-ffffffffffff";
      const first = "00000000-0000-0000-0000-000000000000";
      const ids = ["a", "a\0", "aa", "", "b"];
      for (const [n, id] of ids.entries()) {
        await store.persistInputState(id, inputState(0, { inputId: last, attemptCount: n }));
        await store.persistInputState(id, inputState(0, { inputId: first, attemptCount: n }));
      }
      for (const [n, id] of ids.entries()) {
        const rows = [first, last].map((one) => inputState(0, { inputId: one, attemptCount: n }));
        same(await store.loadInputStates(id), rows);
      }
      same(await store.loadInputStates("aaa"), []);
    }),

    step("one id names the same row in another runtime's ledger on its own", async ({ store }) => {
      await store.persistInputState("one", inputState(1));
      assert.equal(await store.loadInputState("two", inputId(1)), undefined);
      await store.persistInputState("two", inputState(1, { currentState: "queued" }));
      same(await store.loadInputState("one", inputId(1)), inputState(1));
    }),

    step("a runtime id that is no Unicode text is refused everywhere", async ({ store }) => {
      for (const id of ["\ud800", "a\udc00b", `${"x".repeat(100)}\udfff`]) {
        const write = { variant: "WriteFailed", reason: "INVALID_ARGUMENT", record: "runtime_id" } as const;
        const read = { ...write, variant: "ReadFailed" } as const;
        await refused(store.commitSessionSnapshot(id, { sessionSnapshot: session(1, 0) }), write);
        await refused(store.atomicApply(id, undefined, receipt(1, 0n), [], undefined), write);
        await refused(store.persistInputState(id, inputState(1)), write);
        await refused(store.commitMachineLifecycle(id, lifecycle("idle"), []), write);
        await refused(store.persistOpsLifecycle(id, opsSnapshot(0)), write);
        await refused(store.clearSessionSnapshot(id), write);
        await refused(store.deleteOpsLifecycle(id), write);
        await refused(store.replaceSessionSnapshotIfCurrent(id, session(1, 0), session(1, 1)), write);
        await refused(store.clearSessionSnapshotIfCurrent(id, session(1, 0)), write);
        await refused(store.loadSessionSnapshot(id), read);
        await refused(store.loadInputStates(id), read);
        await refused(store.loadInputState(id, inputId(1)), read);
        await refused(store.loadBoundaryReceipt(id, runId(1), 0n), read);
        await refused(store.loadMachineLifecycleRecord(id), read);
        await refused(store.loadOpsLifecycle(id), read);
      }
      same(await contents(store, "\ufffd"), EMPTY_CONTENTS);
    }),

    step("an id of 8 KiB is taken, one byte more is refused", async ({ store }) => {
      const longest = "\u{1f600}".repeat(2048);
      await store.commitSessionSnapshot(longest, { sessionSnapshot: session(1, 1) });
      sameBytes(await store.loadSessionSnapshot(longest), session(1, 1));
      for (const id of [`${longest}a`, "a".repeat(8193), "\u00e9".repeat(4097)]) {
        const tooLarge = { reason: "TOO_LARGE", record: "runtime_id" } as const;
        const call = store.commitSessionSnapshot(id, { sessionSnapshot: session(1, 1) });
        await refused(call, { variant: "WriteFailed", ...tooLarge });
        await refused(store.loadSessionSnapshot(id), { variant: "ReadFailed", ...tooLarge });
      }
    }),

    step("data under a session's name is not data under its bare UUID", async ({ store }) => {
      await store.commitSessionSnapshot(`rt:session:${sessionId(1)}`, { sessionSnapshot: session(1, 1) });
      await store.commitMachineLifecycle(sessionId(1), lifecycle("retired"), []);
      same(await contents(store, sessionId(1)), { lifecycle: lifecycle("retired"), inputs: [] });
      same(await contents(store, `rt:session:${sessionId(1)}`), { snapshot: session(1, 1), inputs: [] });
      same(await contents(store, RUNTIME), EMPTY_CONTENTS);
    }),
  ],
);
