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

const LONG = "x".repeat(8191);

/** Distinct runtime ids that a store could confuse: by normalisation, trimming, separators, prefixes or length. */
export const DIFFICULT_IDS: readonly string[] = [
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

/** Runtime ids: each names separate data, and an invalid one is refused. */
export const isolationChapter = chapter(
  "isolation",
  [],
  [
    testCase("every runtime id has separate data in every table", async ({ store }) => {
      for (const [n, id] of DIFFICULT_IDS.entries()) {
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
      for (const [n, id] of DIFFICULT_IDS.entries()) {
        assertSame(await contentsOf(store, id), {
          snapshot: session(n, 1),
          lifecycle: lifecycle("idle", { fenceToken: BigInt(n) }),
          inputs: [inputState(1, { attemptCount: n })],
          ops: opsSnapshot(0, n),
        });
        assertSame(await store.loadBoundaryReceipt(id, runId(1), 0n), receipt(1, 0n, { messageCount: BigInt(n) }));
      }
    }),

    testCase("data removed from one runtime stays in all others", async ({ store }) => {
      for (const [n, id] of DIFFICULT_IDS.entries()) {
        await store.commitSessionSnapshot(id, { sessionSnapshot: session(n, 1) });
        await store.persistOpsLifecycle(id, opsSnapshot(0, n));
      }
      for (const id of DIFFICULT_IDS.filter((_, n) => n % 2 === 0)) {
        await store.clearSessionSnapshot(id);
        await store.deleteOpsLifecycle(id);
      }
      for (const [n, id] of DIFFICULT_IDS.entries()) {
        const rest = n % 2 === 0 ? {} : { snapshot: session(n, 1), ops: opsSnapshot(0, n) };
        assertSame(await contentsOf(store, id), { ...rest, inputs: [] });
      }
    }),

    testCase("a list of input rows ends where the rows of the next runtime begin", async ({ store }) => {
      const last = "ffffffff-ffff-ffff-ffff-ffffffffffff";
      const first = "00000000-0000-0000-0000-000000000000";
      const ids = ["a", "a\0", "aa", "", "b"];
      for (const [n, id] of ids.entries()) {
        await store.persistInputState(id, inputState(0, { inputId: last, attemptCount: n }));
        await store.persistInputState(id, inputState(0, { inputId: first, attemptCount: n }));
      }
      for (const [n, id] of ids.entries()) {
        const rows = [first, last].map((one) => inputState(0, { inputId: one, attemptCount: n }));
        assertSame(await store.loadInputStates(id), rows);
      }
      assertSame(await store.loadInputStates("aaa"), []);
    }),

    testCase("one input id names separate rows in two runtimes", async ({ store }) => {
      await store.persistInputState("one", inputState(1));
      assertEqual(await store.loadInputState("two", inputId(1)), undefined);
      await store.persistInputState("two", inputState(1, { currentState: "queued" }));
      assertSame(await store.loadInputState("one", inputId(1)), inputState(1));
    }),

    testCase("a runtime id that is not valid Unicode is refused by every call", async ({ store }) => {
      for (const id of ["\ud800", "a\udc00b", `${"x".repeat(100)}\udfff`]) {
        const write = { variant: "WriteFailed", reason: "INVALID_ARGUMENT", record: "runtime_id" } as const;
        const read = { ...write, variant: "ReadFailed" } as const;
        await assertRefused(store.commitSessionSnapshot(id, { sessionSnapshot: session(1, 0) }), write);
        await assertRefused(store.atomicApply(id, undefined, receipt(1, 0n), [], undefined), write);
        await assertRefused(store.persistInputState(id, inputState(1)), write);
        await assertRefused(store.commitMachineLifecycle(id, lifecycle("idle"), []), write);
        await assertRefused(store.persistOpsLifecycle(id, opsSnapshot(0)), write);
        await assertRefused(store.clearSessionSnapshot(id), write);
        await assertRefused(store.deleteOpsLifecycle(id), write);
        await assertRefused(store.replaceSessionSnapshotIfCurrent(id, session(1, 0), session(1, 1)), write);
        await assertRefused(store.clearSessionSnapshotIfCurrent(id, session(1, 0)), write);
        await assertRefused(store.loadSessionSnapshot(id), read);
        await assertRefused(store.loadInputStates(id), read);
        await assertRefused(store.loadInputState(id, inputId(1)), read);
        await assertRefused(store.loadBoundaryReceipt(id, runId(1), 0n), read);
        await assertRefused(store.loadMachineLifecycleRecord(id), read);
        await assertRefused(store.loadOpsLifecycle(id), read);
      }
      assertSame(await contentsOf(store, "\ufffd"), EMPTY_CONTENTS);
    }),

    testCase("a runtime id of 8 KiB is accepted, and one byte more is refused", async ({ store }) => {
      const longest = "\u{1f600}".repeat(2048);
      await store.commitSessionSnapshot(longest, { sessionSnapshot: session(1, 1) });
      assertSameBytes(await store.loadSessionSnapshot(longest), session(1, 1));
      for (const id of [`${longest}a`, "a".repeat(8193), "\u00e9".repeat(4097)]) {
        const tooLarge = { reason: "TOO_LARGE", record: "runtime_id" } as const;
        const call = store.commitSessionSnapshot(id, { sessionSnapshot: session(1, 1) });
        await assertRefused(call, { variant: "WriteFailed", ...tooLarge });
        // A load accepts what a higher limit may have let in.
        assertSame(await store.loadSessionSnapshot(id), undefined);
      }
      const beyond = { variant: "ReadFailed", reason: "TOO_LARGE", record: "runtime_id" } as const;
      await assertRefused(store.loadSessionSnapshot("a".repeat(32 * 1024 + 1)), beyond);
    }),

    testCase("a runtime id that contains a session id is distinct from the session id alone", async ({ store }) => {
      await store.commitSessionSnapshot(`rt:session:${sessionId(1)}`, { sessionSnapshot: session(1, 1) });
      await store.commitMachineLifecycle(sessionId(1), lifecycle("retired"), []);
      assertSame(await contentsOf(store, sessionId(1)), { lifecycle: lifecycle("retired"), inputs: [] });
      assertSame(await contentsOf(store, `rt:session:${sessionId(1)}`), { snapshot: session(1, 1), inputs: [] });
      assertSame(await contentsOf(store, RUNTIME), EMPTY_CONTENTS);
    }),
  ],
);
