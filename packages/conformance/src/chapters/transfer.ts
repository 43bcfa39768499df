import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import {
  type RunBoundaryReceipt,
  type RuntimeContents,
  type RuntimeTransfer,
  type StoredInputState,
  type VersionedStore,
  emptyContents,
} from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { writeOpsSnapshot } from "@bolthole/json";
import { assertEqual, assertRefused, assertSame } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import { RUNTIME, inputState, lifecycle, opsSnapshot, receipt, runId, session } from "../fixtures.js";

/** More rows than a store writes in one transaction, and fewer. */
const MANY = 700;
const FEW = 5;

/** Returns input rows whose ids follow `first`, all with this number of attempts. */
const inputs = (count: number, attemptCount: number, first = 0): StoredInputState[] =>
  Array.from({ length: count }, (_, n) => inputState(first + n, { attemptCount }));

const receipts = (count: number, messageCount: bigint): RunBoundaryReceipt[] =>
  Array.from({ length: count }, (_, n) => receipt(n, BigInt(n), { messageCount }));

const contents = (members: Partial<RuntimeContents>, runtimeId = RUNTIME): RuntimeContents => ({
  ...emptyContents(runtimeId),
  ...members,
});

/** Returns all input rows, in the order in which the store returns them. */
async function stored(versioned: VersionedStore, runtimeId = RUNTIME): Promise<StoredInputState[]> {
  const { batches } = await versioned.loadInputStates({ runtimeId });
  const found: StoredInputState[] = [];
  for await (const batch of batches) found.push(...batch.map(({ value }) => value));
  return found;
}

/** Exports a runtime without damage; an absent one has empty contents. */
async function exported(transfer: RuntimeTransfer, runtimeId = RUNTIME): Promise<RuntimeContents> {
  const found = await transfer.exportRuntime({ runtimeId, salvage: false });
  assertSame(found?.findings ?? [], []);
  const { session: document, lifecycle: record, ops, inputs: rows, receipts: all } = found ?? emptyContents(runtimeId);
  return { runtimeId, session: document, lifecycle: record, ops, inputs: rows, receipts: all };
}

const runtimesOf = async (versioned: VersionedStore): Promise<string[]> =>
  (await versioned.listRuntimes({ pageSize: 0, pageToken: "" })).runtimes.map(({ runtimeId }) => runtimeId);

/** The export and import of a runtime with more rows than one transaction writes, and with fewer. */
export const transferChapter = chapter(
  "transfer",
  ["transfers", "versions"],
  [
    ...[FEW, MANY].flatMap((before) =>
      [0, FEW, MANY].map((after) =>
        testCase(`an import of ${after} rows over ${before} replaces all of them`, async (context) => {
          const { transfer, versioned, store } = context;
          const first = contents({ inputs: inputs(before, 1), receipts: receipts(before, 1n) });
          assertEqual(await transfer.importRuntime({ contents: first, overwrite: false, dryRun: false }), "added");
          assertSame(await exported(transfer), first);
          const next = contents({ inputs: inputs(after, 2, 3), receipts: receipts(after, 2n).slice(1) });
          const call = { contents: next, overwrite: true, dryRun: false };
          assertEqual(await transfer.importRuntime(call), "replaced");
          assertSame(await stored(versioned), next.inputs);
          assertSame(await exported(transfer), next);
          assertSame(await store.loadBoundaryReceipt(RUNTIME, runId(0), 0n), undefined);
          assertSame(await runtimesOf(versioned), after === 0 ? [] : [RUNTIME]);
          assertEqual(await transfer.importRuntime(call), "unchanged");
          // Rows that are written after the import are stored with the imported ones.
          await store.persistInputState(RUNTIME, inputState(2000));
          await store.atomicApply(RUNTIME, undefined, receipt(0, 0n), [], undefined);
          assertSame(await stored(versioned), [...next.inputs, inputState(2000)]);
          assertSame(await store.loadBoundaryReceipt(RUNTIME, runId(0), 0n), receipt(0, 0n));
        }),
      ),
    ),

    testCase("rows are imported in any order, and of two with one key the last one wins", async (context) => {
      const { transfer, versioned } = context;
      const rows = inputs(MANY, 1).reverse();
      const twice = contents({ inputs: [...inputs(FEW, 0), ...rows], receipts: receipts(MANY, 1n).reverse() });
      await transfer.importRuntime({ contents: twice, overwrite: true, dryRun: false });
      assertSame(await stored(versioned), inputs(MANY, 1));
      assertSame((await exported(transfer)).receipts, receipts(MANY, 1n));
    }),

    testCase("an import replaces the other records of the runtime together with its rows", async (context) => {
      const { transfer } = context;
      const full = contents({
        session: { snapshot: session(1, 3), profile: "session" },
        lifecycle: encodeLifecycleRecord(lifecycle("idle", { fenceToken: 3n })),
        ops: writeOpsSnapshot(opsSnapshot(3)),
        inputs: inputs(MANY, 1),
        receipts: receipts(FEW, 1n),
      });
      assertEqual(await transfer.importRuntime({ contents: full, overwrite: true, dryRun: false }), "added");
      assertSame(await exported(transfer), full);
      const other = contents({ lifecycle: encodeLifecycleRecord(lifecycle("stopped")), inputs: inputs(MANY, 2) });
      assertEqual(await transfer.importRuntime({ contents: other, overwrite: true, dryRun: false }), "replaced");
      assertSame(await exported(transfer), other);
    }),

    testCase("a salvage of a runtime without damage is an export of all its records", async ({ transfer }) => {
      const full = contents({
        session: { snapshot: session(1, 3), profile: "session" },
        lifecycle: encodeLifecycleRecord(lifecycle("idle", { fenceToken: 3n })),
        ops: writeOpsSnapshot(opsSnapshot(3)),
        inputs: inputs(MANY, 1),
        receipts: receipts(FEW, 1n),
      });
      await transfer.importRuntime({ contents: full, overwrite: true, dryRun: false });
      const salvaged = await transfer.exportRuntime({ runtimeId: RUNTIME, salvage: true });
      assertSame(salvaged, await transfer.exportRuntime({ runtimeId: RUNTIME, salvage: false }));
      assertSame(salvaged?.findings, []);
      assertSame(await transfer.exportRuntime({ runtimeId: "absent", salvage: true }), undefined);
    }),

    testCase("an import that is refused, kept or dry changes nothing", async ({ transfer, versioned }) => {
      const first = contents({ inputs: inputs(MANY, 1) });
      await transfer.importRuntime({ contents: first, overwrite: true, dryRun: false });
      const version = (await versioned.loadInputStates({ runtimeId: RUNTIME })).inputsVersion;
      const other = contents({ inputs: inputs(MANY + 1, 2) });
      assertEqual(await transfer.importRuntime({ contents: other, overwrite: false, dryRun: false }), "kept");
      assertEqual(await transfer.importRuntime({ contents: other, overwrite: true, dryRun: true }), "replaced");
      const invalid = [...inputs(MANY, 2), inputState(5000, { currentState: "consumed" })];
      await assertRefused(
        transfer.importRuntime({ contents: contents({ inputs: invalid }), overwrite: true, dryRun: false }),
        { variant: "WriteFailed", reason: "RECORD_REJECTED", record: `inputs[${MANY}]` },
      );
      assertSame(await stored(versioned), first.inputs);
      assertEqual((await versioned.loadInputStates({ runtimeId: RUNTIME })).inputsVersion, version);
    }),

    testCase("an import changes the version of the input rows", async ({ transfer, versioned, store }) => {
      for (const attempt of [1, 2]) {
        const { inputsVersion } = await versioned.loadInputStates({ runtimeId: RUNTIME });
        await transfer.importRuntime({
          contents: contents({ inputs: inputs(MANY, attempt) }),
          overwrite: true,
          dryRun: false,
        });
        const after = (await versioned.loadInputStates({ runtimeId: RUNTIME })).inputsVersion;
        assert.notEqual(after, inputsVersion, `expected another version than ${inputsVersion}, found the same one`);
        const change = versioned.atomicApply({
          runtimeId: RUNTIME,
          sessionDelta: undefined,
          sessionStoreKey: undefined,
          receipt: receipt(7, 0n),
          inputUpdates: [],
          unchangedInputs: { inputsVersion: inputsVersion || "x.1" },
        });
        await assertRefused(change, { variant: "WriteFailed", reason: "INPUT_NOT_CURRENT" });
      }
      assertSame(await store.loadBoundaryReceipt(RUNTIME, runId(7), 0n), undefined);
    }),

    testCase("a reader during an import finds all old rows or all new ones", async ({ transfer, versioned }) => {
      const read = async (): Promise<string> => {
        const rows = await stored(versioned);
        return `${rows.length} rows of import ${[...new Set(rows.map((row) => row.attemptCount))].join(" and ")}`;
      };
      const allowed = new Set(["0 rows of import "]);
      for (const [attempt, count] of [MANY, FEW, MANY, MANY + 1, 0, MANY].entries()) {
        allowed.add(count === 0 ? "0 rows of import " : `${count} rows of import ${attempt}`);
        const call = { contents: contents({ inputs: inputs(count, attempt) }), overwrite: true, dryRun: false };
        const done = transfer.importRuntime(call).then(() => undefined);
        while ((await Promise.race([done.then(() => "done"), setImmediate("reading")])) !== "done") {
          const found = await read();
          assert.ok(allowed.has(found), `expected one of ${[...allowed].join(", ")}, found ${found}`);
        }
        await done;
        allowed.clear();
        allowed.add(await read());
      }
    }),

    testCase("rows that are written during an import are stored before or after it", async (context) => {
      const { transfer, versioned, store } = context;
      await transfer.importRuntime({ contents: contents({ inputs: inputs(MANY, 1) }), overwrite: true, dryRun: false });
      const next = contents({ inputs: inputs(MANY, 2) });
      const imported = transfer.importRuntime({ contents: next, overwrite: true, dryRun: false });
      const written = Array.from({ length: 4 }, (_, n) => store.persistInputState(RUNTIME, inputState(3000 + n)));
      await Promise.all(written);
      await imported;
      const rows = await stored(versioned);
      const added = rows.slice(MANY).map(({ inputId }) => inputId);
      assertSame(rows.slice(0, MANY), next.inputs);
      const possible = Array.from({ length: 4 }, (_, n) => inputState(3000 + n).inputId);
      assert.ok(
        added.every((id) => possible.includes(id)),
        `expected only rows that were written during the import, found ${added.join(", ")}`,
      );
    }),

    testCase("a runtime is deleted together with many rows, and its id is used again", async (context) => {
      const { transfer, versioned, store } = context;
      for (const attempt of [1, 2]) {
        const full = contents({ inputs: inputs(MANY, attempt), receipts: receipts(MANY, 1n) });
        await transfer.importRuntime({ contents: full, overwrite: true, dryRun: false });
        const { inputStates, receipts: deleted } = await versioned.deleteRuntime({ runtimeId: RUNTIME });
        assertSame({ inputStates, deleted }, { inputStates: MANY, deleted: MANY });
        assertSame(await runtimesOf(versioned), []);
        assertSame(await stored(versioned), []);
        await store.persistInputState(RUNTIME, inputState(3));
        assertSame(await stored(versioned), [inputState(3)]);
      }
    }),

    testCase("imported rows are kept over a restart", ["durable"], async (context) => {
      const difficult = ["", "a\0b", "x".repeat(2000), RUNTIME];
      const all = difficult.map((id, n) => contents({ inputs: inputs(MANY, n), receipts: receipts(FEW, 1n) }, id));
      for (const one of all) await context.transfer.importRuntime({ contents: one, overwrite: true, dryRun: false });
      await context.transfer.importRuntime({ contents: emptyContents("a\0b"), overwrite: true, dryRun: false });
      const { inputsVersion } = await context.versioned.loadInputStates({ runtimeId: RUNTIME });
      await context.reopen();
      for (const one of all) {
        const expected = one.runtimeId === "a\0b" ? emptyContents(one.runtimeId) : one;
        assertSame(await exported(context.transfer, one.runtimeId), expected);
      }
      assertEqual((await context.versioned.loadInputStates({ runtimeId: RUNTIME })).inputsVersion, inputsVersion);
    }),
  ],
);
