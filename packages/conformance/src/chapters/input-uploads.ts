import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type {
  AtomicApply,
  CommittedInputs,
  InputStatePiece,
  StoredInputState,
  UploadInputStates,
  VersionedStore,
} from "@bolthole/contract";
import { encodeInputState, encodeLifecycleRecord } from "@bolthole/contract/wire";
import { EMPTY_CONTENTS, assertEqual, assertRefused, assertSame, contentsOf } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import {
  RUNTIME,
  freshRequestId,
  inputId,
  inputState,
  lifecycle,
  promptPayload,
  receipt,
  runId,
  session,
} from "../fixtures.js";

const INVALID = { variant: "WriteFailed", reason: "INVALID_ARGUMENT" } as const;
const UNKNOWN = { variant: "WriteFailed", reason: "UPLOAD_UNKNOWN", record: "input_upload_id" } as const;
const TOO_LARGE = { variant: "WriteFailed", reason: "TOO_LARGE" } as const;

type Part = readonly StoredInputState[] | InputStatePiece;

// eslint-disable-next-line @typescript-eslint/require-await -- an asynchronous generator can be read only once, so no client sends it again
async function* once(...parts: readonly Part[]): AsyncGenerator<Part> {
  yield* parts;
}

const upload = (
  store: VersionedStore,
  rows: readonly StoredInputState[],
  members: Partial<UploadInputStates> = {},
): Promise<string> =>
  store.uploadInputStates({ runtimeId: RUNTIME, rowCount: rows.length, parts: once(rows), ...members });

const apply = (store: VersionedStore, sequence: bigint, members: Partial<AtomicApply>): Promise<CommittedInputs> =>
  store.atomicApply({
    runtimeId: RUNTIME,
    sessionDelta: undefined,
    receipt: receipt(1, sequence),
    inputUpdates: [],
    sessionStoreKey: undefined,
    ...members,
  });

const retire = (store: VersionedStore, inputUploadId: string, members: { requestId?: string } = {}) =>
  store.commitMachineLifecycle({
    runtimeId: RUNTIME,
    record: encodeLifecycleRecord(lifecycle("retired")),
    inputStates: [],
    inputUploadId,
    ...members,
  });

const range = (from: number, to: number, attempts = 0): StoredInputState[] =>
  Array.from({ length: to - from }, (_, n) => inputState(from + n, { attemptCount: attempts }));

async function versionsOf(store: VersionedStore): Promise<Map<string, string>> {
  const versions = new Map<string, string>();
  for await (const batch of (await store.loadInputStates({ runtimeId: RUNTIME })).batches) {
    for (const { value, version } of batch) versions.set(value.inputId, version);
  }
  return versions;
}

/** Input rows that are uploaded before the commit that names them. */
export const inputUploadsChapter = chapter(
  "input uploads",
  ["versions"],
  [
    testCase(
      "every call that writes rows accepts an upload, and leaves the other rows",
      async ({ store, versioned }) => {
        await apply(versioned, 0n, { inputUpdates: range(0, 10) });
        const applied = await apply(versioned, 1n, {
          inputUploadId: await upload(versioned, range(5, 15, 1)),
          sessionDelta: { sessionSnapshot: session(1, 2) },
        });
        const afterApply = await versionsOf(versioned);
        assertSame(await store.loadInputStates(RUNTIME), [...range(0, 5), ...range(5, 15, 1)]);
        assertSame(afterApply.get(inputId(5)), applied.version);
        assertSame(applied.inputs?.after, (await versioned.loadInputStates({ runtimeId: RUNTIME })).inputsVersion);
        for (const sequence of [0n, 1n]) {
          assertSame(await store.loadBoundaryReceipt(RUNTIME, runId(1), sequence), receipt(1, sequence));
        }
        assertEqual((await store.loadSessionSnapshot(RUNTIME))?.length, session(1, 2).length);

        await retire(versioned, await upload(versioned, range(12, 20, 2)));
        const inputUploadId = await upload(versioned, range(3, 4, 3));
        const persisted = await versioned.persistInputState({ runtimeId: RUNTIME, state: undefined, inputUploadId });
        const stored = [...range(0, 3), ...range(3, 4, 3), ...range(4, 5), ...range(5, 12, 1), ...range(12, 20, 2)];
        assertSame(await store.loadInputStates(RUNTIME), stored);
        assertSame((await versionsOf(versioned)).get(inputId(3)), persisted.version);
        assertSame((await versionsOf(versioned)).get(inputId(6)), applied.version);
      },
    ),

    testCase("everything that a commit with an upload writes has one version", async ({ versioned }) => {
      const { version } = await apply(versioned, 0n, {
        inputUploadId: await upload(versioned, range(0, 600)),
        sessionDelta: { sessionSnapshot: session(1, 1) },
      });
      assertSame([...new Set((await versionsOf(versioned)).values())], [version]);
      const stored = await versioned.loadBoundaryReceipt({ runtimeId: RUNTIME, runId: runId(1), sequence: 0n });
      assertSame(
        [stored?.version, (await versioned.loadSessionSnapshot({ runtimeId: RUNTIME }))?.version],
        [version, version],
      );
      const [summary] = (await versioned.listRuntimes({ pageSize: 0, pageToken: "" })).runtimes;
      assertSame([summary?.version, summary?.inputCount, summary?.receiptCount], [version, 600, 1]);
      const expectedVersions = [{ record: "input_state" as const, inputId: inputId(7), version }];
      await apply(versioned, 1n, { expectedVersions, inputUpdates: [inputState(7, { attemptCount: 1 })] });
    }),

    testCase("a row that equals the stored one keeps its version and is reported", async ({ versioned }) => {
      const first = await apply(versioned, 0n, { inputUpdates: range(0, 3) });
      const rows = [inputState(0), inputState(1, { attemptCount: 1 }), inputState(2), inputState(3)];
      const second = await apply(versioned, 1n, { inputUploadId: await upload(versioned, rows) });
      const kept = [0, 2].map((n) => ({ inputId: inputId(n), version: first.version }));
      assertSame(second.keptInputs, kept);
      const versions = await versionsOf(versioned);
      assertSame([versions.get(inputId(0)), versions.get(inputId(1))], [first.version, second.version]);

      const third = await apply(versioned, 2n, { inputUploadId: await upload(versioned, rows) });
      assertSame(third.keptInputs.length, 4);
      assertSame([third.inputs?.before, third.inputs?.after], [second.inputs?.after, second.inputs?.after]);
      assertSame([...(await versionsOf(versioned))], [...versions]);
    }),

    testCase("more rows than one request may have are committed at once", async ({ store, versioned }) => {
      const { batchRows } = (await versioned.getServerInfo({})).limits;
      const rows = range(0, batchRows + 1);
      const parts = Array.from({ length: Math.ceil(rows.length / 500) }, (_, n) => rows.slice(n * 500, n * 500 + 500));
      await retire(versioned, await upload(versioned, rows, { parts: once(...parts) }));
      assertSame((await store.loadInputStates(RUNTIME)).length, batchRows + 1);
    }),

    testCase("a row may arrive in pieces, between other rows", async ({ store, versioned }) => {
      const long = inputState(1, { persistedInput: promptPayload(1, "long ".repeat(400_000)) });
      const message = encodeInputState(long);
      const pieces = [0, 1, 2].map((n): InputStatePiece => ({
        length: message.length,
        bytes: message.subarray(n * 700_000, n === 2 ? undefined : (n + 1) * 700_000),
      }));
      const rows = [inputState(0), long, inputState(2)];
      await retire(
        versioned,
        await upload(versioned, rows, { parts: once([inputState(0)], ...pieces, [inputState(2)]) }),
      );
      assertSame(await store.loadInputStates(RUNTIME), rows);

      const [first, second] = pieces;
      assert.ok(first && second, "expected pieces");
      for (const parts of [once(first, second), once(first, [inputState(2)])]) {
        await assertRefused(upload(versioned, [long], { parts }), { ...INVALID, record: "states[0]" });
      }
      const longer = { ...second, length: second.length + 1 };
      await assertRefused(upload(versioned, [long], { parts: once(first, longer) }), {
        ...INVALID,
        record: "states[0].length",
      });
      await assertRefused(upload(versioned, [long], { parts: once(...pieces, first) }), INVALID);
      assertSame(await store.loadInputStates(RUNTIME), rows);
    }),

    testCase("rows in another order, or another number of rows, are refused", async ({ store, versioned }) => {
      const order = { ...INVALID, record: "states[1].input_id" };
      await assertRefused(upload(versioned, [inputState(2), inputState(1)]), order);
      await assertRefused(upload(versioned, [inputState(1), inputState(1)]), order);
      const count = { ...INVALID, record: "upload.row_count" };
      for (const rowCount of [0, 1, 3]) await assertRefused(upload(versioned, range(0, 2), { rowCount }), count);
      await assertRefused(upload(versioned, range(0, 2), { parts: once() }), count);
      assertSame(await contentsOf(store, RUNTIME), EMPTY_CONTENTS);
    }),

    testCase(
      "an invalid row is refused with its index among all rows, and nothing is stored",
      async ({ store, versioned }) => {
        const bad = inputState(3, { createdAt: "yesterday" });
        const parts = once([inputState(1), inputState(2)], [bad]);
        await assertRefused(upload(versioned, [], { rowCount: 3, parts }), {
          ...INVALID,
          record: "states[2].created_at",
        });
        const contradiction = inputState(1, { currentState: "consumed" });
        await assertRefused(upload(versioned, [contradiction]), { variant: "WriteFailed", reason: "RECORD_REJECTED" });
        const { inputRowBytes } = (await versioned.getServerInfo({})).limits;
        const large = inputState(1, { persistedInput: promptPayload(1, "x".repeat(inputRowBytes)) });
        await assertRefused(upload(versioned, [large]), { ...TOO_LARGE, record: "states[0]" });
        assertSame(await contentsOf(store, RUNTIME), EMPTY_CONTENTS);
      },
    ),

    testCase("more rows than an upload may have are refused, and none is read", async ({ versioned }) => {
      const { inputUploadRows } = (await versioned.getServerInfo({})).limits;
      let requested = 0;
      // eslint-disable-next-line @typescript-eslint/require-await -- the store must not read it
      async function* endless(): AsyncGenerator<Part> {
        for (; requested < 50_000; requested += 1) yield range(requested, requested + 1);
      }
      const declared = { rowCount: inputUploadRows + 1, parts: endless() };
      await assertRefused(upload(versioned, [], declared), { ...TOO_LARGE, record: "upload.row_count" });
      assert.ok(requested < 50_000, "expected that the store stops reading, found that it read all parts");
    }),

    testCase("an upload is used up by the commit that applies it, and not by a refused one", async ({ versioned }) => {
      await apply(versioned, 0n, {});
      const inputUploadId = await upload(versioned, range(0, 2));
      const taken = { variant: "WriteFailed", reason: "RECEIPT_EXISTS" } as const;
      await assertRefused(apply(versioned, 0n, { inputUploadId }), taken);
      await apply(versioned, 1n, { inputUploadId });
      await assertRefused(apply(versioned, 2n, { inputUploadId }), UNKNOWN);
      await assertRefused(retire(versioned, inputUploadId), UNKNOWN);
    }),

    testCase("an upload belongs to one runtime, and an id without an upload is unknown", async ({ versioned }) => {
      const inputUploadId = await upload(versioned, range(0, 2));
      await assertRefused(apply(versioned, 0n, { inputUploadId, runtimeId: "other" }), UNKNOWN);
      for (const id of ["", "x", randomUUID()])
        await assertRefused(apply(versioned, 0n, { inputUploadId: id }), UNKNOWN);
      await apply(versioned, 0n, { inputUploadId });
    }),

    testCase("rows and an upload in one request are refused", async ({ store, versioned }) => {
      const inputUploadId = await upload(versioned, range(0, 2));
      const both = apply(versioned, 0n, { inputUploadId, inputUpdates: [inputState(9)] });
      await assertRefused(both, { ...INVALID, record: "input_updates" });
      const persist = versioned.persistInputState({ runtimeId: RUNTIME, state: undefined, inputUploadId });
      await assertRefused(persist, { ...INVALID, record: "input_upload_id" });
      assertSame(await contentsOf(store, RUNTIME), EMPTY_CONTENTS);
    }),

    testCase(
      "a commit is refused as UPLOAD_UNKNOWN when a row or a receipt was written since the upload",
      async ({ store, versioned }) => {
        const writes = [
          () => store.persistInputState(RUNTIME, inputState(50)),
          () => apply(versioned, 7n, {}),
          () => versioned.deleteRuntime({ runtimeId: RUNTIME }),
        ];
        for (const write of writes) {
          const inputUploadId = await upload(versioned, range(0, 3));
          await write();
          const before = await contentsOf(store, RUNTIME);
          await assertRefused(apply(versioned, 8n, { inputUploadId }), UNKNOWN);
          assertSame(await contentsOf(store, RUNTIME), before);
        }
      },
    ),

    testCase("a commit is applied when other records were written since the upload", async ({ store, versioned }) => {
      const inputUploadId = await upload(versioned, range(0, 3));
      await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: session(1, 1) });
      await store.persistInputState("other", inputState(1));
      await apply(versioned, 0n, { inputUploadId, sessionDelta: { sessionSnapshot: session(1, 2) } });
      assertSame(await store.loadInputStates(RUNTIME), range(0, 3));
    }),

    testCase("omitted rows are unchanged, or the commit of an upload is refused", async ({ versioned }) => {
      const { inputs } = await apply(versioned, 0n, { inputUpdates: range(0, 3) });
      const unchangedInputs = { inputsVersion: inputs?.after ?? "" };
      const applied = await apply(versioned, 1n, {
        inputUploadId: await upload(versioned, range(3, 5)),
        unchangedInputs,
      });
      assertSame(applied.inputs?.before, inputs?.after);
      const inputUploadId = await upload(versioned, range(5, 6));
      await assertRefused(apply(versioned, 2n, { inputUploadId, unchangedInputs }), {
        variant: "WriteFailed",
        reason: "INPUT_NOT_CURRENT",
      });
    }),

    testCase(
      "a repeated commit returns the first response, of the same upload and of another one with the same rows",
      async ({ versioned }) => {
        await apply(versioned, 0n, { inputUpdates: range(0, 1) });
        const requestId = freshRequestId();
        const inputUploadId = await upload(versioned, range(0, 3));
        const first = await apply(versioned, 1n, { inputUploadId, requestId });
        for (const id of [inputUploadId, await upload(versioned, range(0, 3))]) {
          const again = await apply(versioned, 1n, { inputUploadId: id, requestId });
          assertSame([again.replayed, again.version, again.inputs], [true, first.version, first.inputs]);
          assertSame(again.keptInputs, first.keptInputs);
        }
        const other = await upload(versioned, range(0, 3, 1));
        await assertRefused(apply(versioned, 1n, { inputUploadId: other, requestId }), {
          variant: "WriteFailed",
          reason: "REQUEST_ID_REUSED",
        });
      },
    ),

    testCase(
      "uploads are dropped when the store is closed, and the commit can be repeated",
      ["durable"],
      async (context) => {
        const requestId = freshRequestId();
        const inputUploadId = await upload(context.versioned, range(0, 300));
        const first = await retire(context.versioned, inputUploadId, { requestId });
        const unused = await upload(context.versioned, range(0, 300, 1));
        await context.reopen();
        const { versioned } = context;
        await assertRefused(retire(versioned, inputUploadId, { requestId }), UNKNOWN);
        await assertRefused(retire(versioned, unused), UNKNOWN);
        const again = await retire(versioned, await upload(versioned, range(0, 300)), { requestId });
        assertSame([again.replayed, again.version], [true, first.version]);
        assertSame(await context.store.loadInputStates(RUNTIME), range(0, 300));
      },
    ),

    testCase("an upload that is not committed changes nothing for readers", async ({ store, versioned }) => {
      await apply(versioned, 0n, { inputUpdates: range(0, 3) });
      const before = await contentsOf(store, RUNTIME);
      await upload(versioned, range(1, 400, 1));
      assertSame(await contentsOf(store, RUNTIME), before);
    }),
  ],
);
