import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import {
  type RunBoundaryReceipt,
  type RuntimeContents,
  type RuntimePart,
  type RuntimeTransfer,
  type StoredInputState,
  type VersionedStore,
  emptyContents,
  exportContents,
  importContents,
  partsOf,
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
  const found = await exportContents(transfer, { runtimeId, salvage: false });
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
      [FEW, MANY].map((after) =>
        testCase(`an import of ${after} rows over ${before} replaces all of them`, async (context) => {
          const { transfer, versioned, store } = context;
          const first = contents({ inputs: inputs(before, 1), receipts: receipts(before, 1n) });
          assertEqual(await importContents(transfer, { contents: first, overwrite: false, dryRun: false }), "added");
          assertSame(await exported(transfer), first);
          const next = contents({ inputs: inputs(after, 2, 3), receipts: receipts(after, 2n).slice(1) });
          const call = { contents: next, overwrite: true, dryRun: false };
          assertEqual(await importContents(transfer, call), "replaced");
          assertSame(await stored(versioned), next.inputs);
          assertSame(await exported(transfer), next);
          assertSame(await store.loadBoundaryReceipt(RUNTIME, runId(0), 0n), undefined);
          assertSame(await runtimesOf(versioned), [RUNTIME]);
          assertEqual(await importContents(transfer, call), "unchanged");
          // Rows that are written after the import are stored with the imported ones.
          await store.persistInputState(RUNTIME, inputState(2000));
          await store.atomicApply(RUNTIME, undefined, receipt(0, 0n), [], undefined);
          assertSame(await stored(versioned), [...next.inputs, inputState(2000)]);
          assertSame(await store.loadBoundaryReceipt(RUNTIME, runId(0), 0n), receipt(0, 0n));
        }),
      ),
    ),

    ...[0, FEW, MANY].map((before) =>
      testCase(`an import without records is refused over ${before} rows, and deletes nothing`, async (context) => {
        const { transfer, versioned } = context;
        const first = contents({ inputs: inputs(before, 1), receipts: receipts(before, 1n) });
        if (before > 0) await importContents(transfer, { contents: first, overwrite: false, dryRun: false });
        for (const overwrite of [false, true]) {
          for (const dryRun of [false, true]) {
            const call = { contents: emptyContents(RUNTIME), overwrite, dryRun };
            await assertRefused(importContents(transfer, call), {
              variant: "WriteFailed",
              reason: "INVALID_ARGUMENT",
              record: "parts",
            });
          }
        }
        assertSame(await exported(transfer), first);
        assertSame(await runtimesOf(versioned), before === 0 ? [] : [RUNTIME]);
      }),
    ),

    ...[FEW, MANY].map((count) =>
      testCase(`an import of ${count} rows in another order than that of their keys is refused`, async (context) => {
        const { transfer, versioned } = context;
        const first = contents({ inputs: inputs(1, 1) });
        await importContents(transfer, { contents: first, overwrite: true, dryRun: false });
        const last = count - 1;
        const others: readonly [Partial<RuntimeContents>, record: string][] = [
          [{ inputs: [...inputs(last, 2, 1), inputState(0)] }, `inputs[${last}].input_id`],
          [{ inputs: [...inputs(last, 2), ...inputs(1, 3, last - 1)] }, `inputs[${last}].input_id`],
          [{ receipts: [...receipts(count, 1n).slice(1), receipt(0, 0n)] }, `receipts[${last}]`],
          [{ receipts: [...receipts(last, 1n), receipt(last - 1, BigInt(last - 1))] }, `receipts[${last}]`],
        ];
        for (const [members, record] of others) {
          const call = { contents: contents(members), overwrite: true, dryRun: false };
          await assertRefused(importContents(transfer, call), {
            variant: "WriteFailed",
            reason: "INVALID_ARGUMENT",
            record,
          });
        }
        const receiptsFirst = async function* (): AsyncGenerator<RuntimePart, void> {
          yield* partsOf(contents({ receipts: receipts(1, 1n) }));
          yield* partsOf(contents({ inputs: inputs(count, 2) }));
        };
        const call = { runtimeId: RUNTIME, parts: receiptsFirst(), overwrite: true, dryRun: false };
        const refusal = { variant: "WriteFailed", reason: "INVALID_ARGUMENT", record: "inputs[0]" } as const;
        await assertRefused(transfer.importRuntime(call), refusal);
        assertSame(await stored(versioned), first.inputs);
      }),
    ),

    testCase("an import replaces the other records of the runtime together with its rows", async (context) => {
      const { transfer } = context;
      const full = contents({
        session: { snapshot: session(1, 3), profile: "session" },
        lifecycle: encodeLifecycleRecord(lifecycle("idle", { fenceToken: 3n })),
        ops: writeOpsSnapshot(opsSnapshot(3)),
        inputs: inputs(MANY, 1),
        receipts: receipts(FEW, 1n),
      });
      assertEqual(await importContents(transfer, { contents: full, overwrite: true, dryRun: false }), "added");
      assertSame(await exported(transfer), full);
      const other = contents({ lifecycle: encodeLifecycleRecord(lifecycle("stopped")), inputs: inputs(MANY, 2) });
      assertEqual(await importContents(transfer, { contents: other, overwrite: true, dryRun: false }), "replaced");
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
      await importContents(transfer, { contents: full, overwrite: true, dryRun: false });
      const salvaged = await exportContents(transfer, { runtimeId: RUNTIME, salvage: true });
      assertSame(salvaged, await exportContents(transfer, { runtimeId: RUNTIME, salvage: false }));
      assertSame(salvaged?.findings, []);
      assertSame(await exportContents(transfer, { runtimeId: "absent", salvage: true }), undefined);
    }),

    testCase("an import that is refused, kept or dry changes nothing", async ({ transfer, versioned }) => {
      const first = contents({ inputs: inputs(MANY, 1) });
      await importContents(transfer, { contents: first, overwrite: true, dryRun: false });
      const version = (await versioned.loadInputStates({ runtimeId: RUNTIME })).inputsVersion;
      const other = contents({ inputs: inputs(MANY + 1, 2) });
      assertEqual(await importContents(transfer, { contents: other, overwrite: false, dryRun: false }), "kept");
      assertEqual(await importContents(transfer, { contents: other, overwrite: true, dryRun: true }), "replaced");
      const invalid = [...inputs(MANY, 2), inputState(5000, { currentState: "consumed" })];
      await assertRefused(
        importContents(transfer, { contents: contents({ inputs: invalid }), overwrite: true, dryRun: false }),
        { variant: "WriteFailed", reason: "RECORD_REJECTED", record: `inputs[${MANY}]` },
      );
      assertSame(await stored(versioned), first.inputs);
      assertEqual((await versioned.loadInputStates({ runtimeId: RUNTIME })).inputsVersion, version);
    }),

    testCase("an import changes the version of the input rows", async ({ transfer, versioned, store }) => {
      for (const attempt of [1, 2]) {
        const { inputsVersion } = await versioned.loadInputStates({ runtimeId: RUNTIME });
        await importContents(transfer, {
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

    testCase(
      "a reader during an import or a deletion finds all old rows or all new ones",
      async ({ transfer, versioned }) => {
        const read = async (): Promise<string> => {
          const rows = await stored(versioned);
          return `${rows.length} rows of import ${[...new Set(rows.map((row) => row.attemptCount))].join(" and ")}`;
        };
        const allowed = new Set(["0 rows of import "]);
        for (const [attempt, count] of [MANY, FEW, MANY, MANY + 1, 0, MANY].entries()) {
          allowed.add(count === 0 ? "0 rows of import " : `${count} rows of import ${attempt}`);
          const call = { contents: contents({ inputs: inputs(count, attempt) }), overwrite: true, dryRun: false };
          const change = count === 0 ? versioned.deleteRuntime({ runtimeId: RUNTIME }) : importContents(transfer, call);
          const done = change.then(() => undefined);
          while ((await Promise.race([done.then(() => "done"), setImmediate("reading")])) !== "done") {
            const found = await read();
            assert.ok(allowed.has(found), `expected one of ${[...allowed].join(", ")}, found ${found}`);
          }
          await done;
          allowed.clear();
          allowed.add(await read());
        }
      },
    ),

    testCase("rows that are written during an import are stored before or after it", async (context) => {
      const { transfer, versioned, store } = context;
      await importContents(transfer, {
        contents: contents({ inputs: inputs(MANY, 1) }),
        overwrite: true,
        dryRun: false,
      });
      const next = contents({ inputs: inputs(MANY, 2) });
      const attempt = () => importContents(transfer, { contents: next, overwrite: true, dryRun: false });
      // An import may be refused while others write, and nothing is changed then.
      const imported = attempt().catch((error: unknown) => {
        if ((error as { reason?: string }).reason !== "BUSY") throw error;
        return written.then(attempt);
      });
      const written = Promise.all(
        Array.from({ length: 4 }, (_, n) => store.persistInputState(RUNTIME, inputState(3000 + n))),
      );
      await written;
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
        await importContents(transfer, { contents: full, overwrite: true, dryRun: false });
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
      for (const one of all) await importContents(context.transfer, { contents: one, overwrite: true, dryRun: false });
      await context.versioned.deleteRuntime({ runtimeId: "a\0b" });
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
