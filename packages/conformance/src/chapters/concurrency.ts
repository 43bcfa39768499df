import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { StoreError } from "@bolthole/contract";
import { assertEqual, assertSame, assertSameBytes, callConcurrently } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import { RUNTIME, inputId, inputState, lifecycle, opsSnapshot, receipt, runId, session } from "../fixtures.js";

const CALLERS = 24;

/** Returns for each call whether it was refused for this reason. Throws when a call fails otherwise. */
async function refusals(calls: readonly Promise<unknown>[], reason: string): Promise<boolean[]> {
  const outcomes = await Promise.allSettled(calls);
  return outcomes.map((outcome) => {
    if (outcome.status === "fulfilled") return false;
    const error: unknown = outcome.reason;
    const isExpected = error instanceof StoreError && error.reason === reason;
    assert.ok(isExpected, `expected a refusal with ${reason}, found ${String(error)}`);
    return true;
  });
}

/** Lets the event loop run, because a store in this process may return from a read without waiting. */
const yieldToEventLoop = (): Promise<void> => setImmediate();

/** Starts `CALLERS` calls without waiting in between. */
const startCalls = <T>(call: (n: number) => Promise<T>): Promise<T>[] =>
  Array.from({ length: CALLERS }, (_, n) => call(n));

/** Concurrent callers: exactly one of several conflicting writes applies, and readers never see a part of a write. */
export const concurrencyChapter = chapter(
  "concurrency",
  [],
  [
    testCase(
      "exactly one of several applies with one receipt key succeeds, and only its data is stored",
      async ({ store }) => {
        const lost = await refusals(
          startCalls((n) => {
            const applied = receipt(1, 0n, { messageCount: BigInt(n) });
            const rows = [inputState(1, { attemptCount: n }), inputState(100 + n)];
            return store.atomicApply(RUNTIME, { sessionSnapshot: session(n, 0) }, applied, rows, undefined);
          }),
          "RECEIPT_EXISTS",
        );
        assertEqual(lost.filter((one) => !one).length, 1);
        const winner = lost.indexOf(false);
        assertSame(
          await store.loadBoundaryReceipt(RUNTIME, runId(1), 0n),
          receipt(1, 0n, { messageCount: BigInt(winner) }),
        );
        assertSame(await store.loadInputStates(RUNTIME), [
          inputState(1, { attemptCount: winner }),
          inputState(100 + winner),
        ]);
        assertSameBytes(await store.loadSessionSnapshot(RUNTIME), session(winner, 0));
      },
    ),

    testCase("exactly one of several applies with identical receipts succeeds", async ({ store }) => {
      const apply = () => store.atomicApply(RUNTIME, undefined, receipt(1, 0n), [], undefined);
      const lost = await refusals(startCalls(apply), "RECEIPT_EXISTS");
      assertEqual(lost.filter((one) => !one).length, 1);
    }),

    testCase(
      "concurrent applies to many runtimes, and to one runtime with many receipt keys, all succeed",
      async ({ store }) => {
        await Promise.all(
          startCalls(async (n) => {
            const delta = { sessionSnapshot: session(n, 2) };
            await store.atomicApply(`own-${String(n)}`, delta, receipt(n, 0n), [inputState(n)], undefined);
            await store.atomicApply(RUNTIME, undefined, receipt(1, BigInt(n)), [inputState(n)], undefined);
          }),
        );
        for (let n = 0; n < CALLERS; n += 1) {
          assertSameBytes(await store.loadSessionSnapshot(`own-${String(n)}`), session(n, 2));
          assertSame(await store.loadInputStates(`own-${String(n)}`), [inputState(n)]);
          assertSame(await store.loadBoundaryReceipt(RUNTIME, runId(1), BigInt(n)), receipt(1, BigInt(n)));
        }
        assertSame(
          await store.loadInputStates(RUNTIME),
          Array.from({ length: CALLERS }, (_, n) => inputState(n)),
        );
      },
    ),

    testCase("exactly one of several compare-and-sets of the same bytes succeeds", async ({ store }) => {
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(0, 1) });
      const won = await callConcurrently(CALLERS, (n) =>
        store.replaceSessionSnapshotIfCurrent(RUNTIME, session(0, 1), session(n + 1, 1)),
      );
      assertEqual(won.filter(Boolean).length, 1);
      const current = session(won.indexOf(true) + 1, 1);
      assertSameBytes(await store.loadSessionSnapshot(RUNTIME), current);
      const cleared = await callConcurrently(CALLERS, () => store.clearSessionSnapshotIfCurrent(RUNTIME, current));
      assertEqual(cleared.filter(Boolean).length, 1);
    }),

    testCase(
      "exactly one of several mutations at one expected version succeeds",
      ["versions"],
      async ({ versioned }) => {
        let { version } = await versioned.persistOpsLifecycle({ runtimeId: RUNTIME, snapshot: opsSnapshot(0, 0) });
        for (let round = 0; round < 4; round += 1) {
          const expectedVersions = [{ record: "ops_lifecycle", version }] as const;
          const calls = startCalls((n) =>
            versioned.persistOpsLifecycle({ runtimeId: RUNTIME, snapshot: opsSnapshot(0, n), expectedVersions }),
          );
          const lost = await refusals(calls, "VERSION_CONFLICT");
          assertEqual(lost.filter((one) => !one).length, 1);
          const loaded = await versioned.loadOpsLifecycle({ runtimeId: RUNTIME });
          assert.ok(loaded, "expected an operation snapshot, found none");
          assertSame(loaded.value, opsSnapshot(0, lost.indexOf(false)));
          ({ version } = loaded);
        }
      },
    ),

    testCase("concurrent writers of one record leave the complete value of one of them", async ({ store }) => {
      await callConcurrently(CALLERS, (n) =>
        store.persistInputState(RUNTIME, inputState(1, { attemptCount: n, recoveryCount: n })),
      );
      const row = await store.loadInputState(RUNTIME, inputId(1));
      assert.ok(row, "expected an input row, found none");
      assertSame(row, inputState(1, { attemptCount: row.attemptCount, recoveryCount: row.attemptCount }));
      await callConcurrently(CALLERS, (n) =>
        store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(n, n, 20_000) }),
      );
      const snapshot = await store.loadSessionSnapshot(RUNTIME);
      const written = Array.from({ length: CALLERS }, (_, n) => session(n, n, 20_000));
      assertSameBytes(snapshot, written.find((one) => snapshot && one.equals(snapshot)) ?? written[0]);
    }),

    testCase("a list of input rows never contains only a part of an apply", async ({ store }) => {
      const stamped = (n: number) => [1, 2, 3].map((row) => inputState(row, { attemptCount: n }));
      let writing = true;
      const writer = async (): Promise<void> => {
        for (let n = 0; n < 40; n += 1) {
          const next =
            n % 2 === 0
              ? store.atomicApply(RUNTIME, undefined, receipt(1, BigInt(n)), stamped(n), undefined)
              : store.commitMachineLifecycle(RUNTIME, lifecycle("idle"), stamped(n));
          await next;
        }
        writing = false;
      };
      const reader = async (): Promise<void> => {
        do {
          await yieldToEventLoop();
          const rows = await store.loadInputStates(RUNTIME);
          assert.ok(rows.length === 0 || rows.length === 3, `expected no rows or all 3, found ${rows.length}`);
          assertEqual(new Set(rows.map((row) => row.attemptCount)).size, Math.min(1, rows.length));
        } while (writing);
      };
      await Promise.all([writer(), reader(), reader()]);
    }),

    testCase("a reader that loads a snapshot also loads the receipt and the row of its apply", async ({ store }) => {
      let writing = true;
      const writer = async (): Promise<void> => {
        for (let n = 1; n <= 40; n += 1) {
          const delta = { sessionSnapshot: session(1, n) };
          await store.atomicApply(
            RUNTIME,
            delta,
            receipt(1, BigInt(n)),
            [inputState(1, { attemptCount: n })],
            undefined,
          );
        }
        writing = false;
      };
      const reader = async (): Promise<void> => {
        do {
          await yieldToEventLoop();
          const snapshot = await store.loadSessionSnapshot(RUNTIME);
          if (!snapshot) continue;
          const { messages } = JSON.parse(Buffer.from(snapshot).toString()) as { messages: unknown[] };
          const applied = await store.loadBoundaryReceipt(RUNTIME, runId(1), BigInt(messages.length));
          assert.ok(applied, `expected the receipt of the apply with ${messages.length} messages, found none`);
          const row = await store.loadInputState(RUNTIME, inputId(1));
          const count = row?.attemptCount ?? 0;
          assert.ok(count >= messages.length, `expected row ${messages.length} or a later one, found row ${count}`);
        } while (writing);
      };
      await Promise.all([writer(), reader(), reader()]);
    }),

    testCase("each caller reads the values that it has written", async ({ store }) => {
      await callConcurrently(CALLERS, async (n) => {
        const runtimeId = `shared-${String(n % 4)}`;
        await store.persistInputState(runtimeId, inputState(n));
        assertSame(await store.loadInputState(runtimeId, inputId(n)), inputState(n));
        await store.persistOpsLifecycle(`own-${String(n)}`, opsSnapshot(n % 5, n));
        assertSame(await store.loadOpsLifecycle(`own-${String(n)}`), opsSnapshot(n % 5, n));
      });
    }),
  ],
);
