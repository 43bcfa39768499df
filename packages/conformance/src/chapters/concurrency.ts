import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { StoreError } from "@bolthole/contract";
import { same, sameBytes, together } from "../assertions.js";
import { chapter, step } from "../conformance-case.js";
import { RUNTIME, inputId, inputState, lifecycle, opsSnapshot, receipt, runId, session } from "../fixtures.js";

const CALLERS = 24;

/** Which calls were refused for that reason; any other failure is a failure of the case. */
async function refusals(calls: readonly Promise<unknown>[], reason: string): Promise<boolean[]> {
  const outcomes = await Promise.allSettled(calls);
  return outcomes.map((outcome) => {
    if (outcome.status === "fulfilled") return false;
    const error: unknown = outcome.reason;
    assert.ok(error instanceof StoreError && error.reason === reason, String(error));
    return true;
  });
}

/** Lets others go on: a store inside the process may answer reads without ever waiting. */
const turn = (): Promise<void> => setImmediate();

const callers = <T>(call: (n: number) => Promise<T>): Promise<T>[] =>
  Array.from({ length: CALLERS }, (_, n) => call(n));

export const concurrencyChapter = chapter(
  "concurrency",
  [],
  [
    step("of applies with one receipt key exactly one wins, and only its data is there", async ({ store }) => {
      const lost = await refusals(
        callers((n) => {
          const proof = receipt(1, 0n, { messageCount: BigInt(n) });
          const rows = [inputState(1, { attemptCount: n }), inputState(100 + n)];
          return store.atomicApply(RUNTIME, { sessionSnapshot: session(n, 0) }, proof, rows, undefined);
        }),
        "RECEIPT_EXISTS",
      );
      assert.equal(lost.filter((one) => !one).length, 1);
      const winner = lost.indexOf(false);
      same(await store.loadBoundaryReceipt(RUNTIME, runId(1), 0n), receipt(1, 0n, { messageCount: BigInt(winner) }));
      same(await store.loadInputStates(RUNTIME), [inputState(1, { attemptCount: winner }), inputState(100 + winner)]);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), session(winner, 0));
    }),

    step("identical receipts: exactly one wins", async ({ store }) => {
      const apply = () => store.atomicApply(RUNTIME, undefined, receipt(1, 0n), [], undefined);
      const lost = await refusals(callers(apply), "RECEIPT_EXISTS");
      assert.equal(lost.filter((one) => !one).length, 1);
    }),

    step("applies to many runtimes, and to one with many keys, all land", async ({ store }) => {
      await Promise.all(
        callers(async (n) => {
          const delta = { sessionSnapshot: session(n, 2) };
          await store.atomicApply(`own-${String(n)}`, delta, receipt(n, 0n), [inputState(n)], undefined);
          await store.atomicApply(RUNTIME, undefined, receipt(1, BigInt(n)), [inputState(n)], undefined);
        }),
      );
      for (let n = 0; n < CALLERS; n += 1) {
        sameBytes(await store.loadSessionSnapshot(`own-${String(n)}`), session(n, 2));
        same(await store.loadInputStates(`own-${String(n)}`), [inputState(n)]);
        same(await store.loadBoundaryReceipt(RUNTIME, runId(1), BigInt(n)), receipt(1, BigInt(n)));
      }
      same(
        await store.loadInputStates(RUNTIME),
        Array.from({ length: CALLERS }, (_, n) => inputState(n)),
      );
    }),

    step("of compare-and-sets over the same bytes exactly one wins", async ({ store }) => {
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(0, 1) });
      const won = await together(CALLERS, (n) =>
        store.replaceSessionSnapshotIfCurrent(RUNTIME, session(0, 1), session(n + 1, 1)),
      );
      assert.equal(won.filter(Boolean).length, 1);
      const current = session(won.indexOf(true) + 1, 1);
      sameBytes(await store.loadSessionSnapshot(RUNTIME), current);
      const cleared = await together(CALLERS, () => store.clearSessionSnapshotIfCurrent(RUNTIME, current));
      assert.equal(cleared.filter(Boolean).length, 1);
    }),

    step("of mutations at one expected version exactly one wins", ["versions"], async ({ versioned }) => {
      let { version } = await versioned.persistOpsLifecycle({ runtimeId: RUNTIME, snapshot: opsSnapshot(0, 0) });
      for (let round = 0; round < 4; round += 1) {
        const expectedVersions = [{ record: "ops_lifecycle", version }] as const;
        const calls = callers((n) =>
          versioned.persistOpsLifecycle({ runtimeId: RUNTIME, snapshot: opsSnapshot(0, n), expectedVersions }),
        );
        const lost = await refusals(calls, "VERSION_CONFLICT");
        assert.equal(lost.filter((one) => !one).length, 1);
        const loaded = await versioned.loadOpsLifecycle({ runtimeId: RUNTIME });
        assert.ok(loaded);
        same(loaded.value, opsSnapshot(0, lost.indexOf(false)));
        ({ version } = loaded);
      }
    }),

    step("writers of one record leave the whole value of one of them", async ({ store }) => {
      await together(CALLERS, (n) =>
        store.persistInputState(RUNTIME, inputState(1, { attemptCount: n, recoveryCount: n })),
      );
      const row = await store.loadInputState(RUNTIME, inputId(1));
      assert.ok(row);
      same(row, inputState(1, { attemptCount: row.attemptCount, recoveryCount: row.attemptCount }));
      await together(CALLERS, (n) => store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(n, n, 20_000) }));
      const snapshot = await store.loadSessionSnapshot(RUNTIME);
      const whole = Array.from({ length: CALLERS }, (_, n) => session(n, n, 20_000));
      assert.ok(snapshot && whole.some((one) => one.equals(snapshot)));
    }),

    step("a list of rows is never half of an apply", async ({ store }) => {
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
          await turn();
          const rows = await store.loadInputStates(RUNTIME);
          assert.ok(rows.length === 0 || rows.length === 3, `${String(rows.length)} rows`);
          assert.equal(new Set(rows.map((row) => row.attemptCount)).size, Math.min(1, rows.length));
        } while (writing);
      };
      await Promise.all([writer(), reader(), reader()]);
    }),

    step("who sees a snapshot sees the receipt and the row of its apply", async ({ store }) => {
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
          await turn();
          const snapshot = await store.loadSessionSnapshot(RUNTIME);
          if (!snapshot) continue;
          const { messages } = JSON.parse(Buffer.from(snapshot).toString()) as { messages: unknown[] };
          const proof = await store.loadBoundaryReceipt(RUNTIME, runId(1), BigInt(messages.length));
          assert.ok(proof, `no receipt of the apply of ${String(messages.length)} messages`);
          const row = await store.loadInputState(RUNTIME, inputId(1));
          assert.ok(row && row.attemptCount >= messages.length);
        } while (writing);
      };
      await Promise.all([writer(), reader(), reader()]);
    }),

    step("each caller reads what it has written", async ({ store }) => {
      await together(CALLERS, async (n) => {
        const runtimeId = `shared-${String(n % 4)}`;
        await store.persistInputState(runtimeId, inputState(n));
        same(await store.loadInputState(runtimeId, inputId(n)), inputState(n));
        await store.persistOpsLifecycle(`own-${String(n)}`, opsSnapshot(n % 5, n));
        same(await store.loadOpsLifecycle(`own-${String(n)}`), opsSnapshot(n % 5, n));
      });
    }),
  ],
);
