import assert from "node:assert/strict";
import type { CommittedInput, CommittedInputs, StoredInputState, VersionedStore } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { assertEqual, assertRefused, assertSame, contentsOf } from "../assertions.js";
import { chapter, testCase } from "../chapter.js";
import {
  RUNTIME,
  freshRequestId,
  inputId,
  inputState,
  lifecycle,
  opsSnapshot,
  receipt,
  runId,
  session,
} from "../fixtures.js";
import { MUTATIONS, MUTATION_BASE } from "./mutations.js";

const STALE = { variant: "WriteFailed", reason: "INPUT_NOT_CURRENT", record: "unchanged_inputs" } as const;
const ROWS = [1, 2, 3].map((n) => inputState(n));
const changed = (n: number, attemptCount: number): StoredInputState => inputState(n, { attemptCount });

interface Rows {
  readonly inputs: readonly StoredInputState[];
  readonly inputsVersion?: string | undefined;
  readonly requestId?: string;
  readonly runtimeId?: string;
}

/** The calls that write several input rows. */
const WRITERS: Readonly<
  Record<
    "atomicApply" | "commitMachineLifecycle",
    (store: VersionedStore, rows: Rows, sequence?: bigint) => Promise<CommittedInputs>
  >
> = {
  atomicApply: (store, { inputs, inputsVersion, ...rest }, sequence = 0n) =>
    store.atomicApply({
      runtimeId: RUNTIME,
      sessionDelta: undefined,
      receipt: receipt(1, sequence),
      inputUpdates: inputs,
      unchangedInputs: inputsVersion === undefined ? undefined : { inputsVersion },
      sessionStoreKey: undefined,
      ...rest,
    }),
  commitMachineLifecycle: (store, { inputs, inputsVersion, ...rest }) =>
    store.commitMachineLifecycle({
      runtimeId: RUNTIME,
      record: encodeLifecycleRecord(lifecycle("idle")),
      inputStates: inputs,
      unchangedInputs: inputsVersion === undefined ? undefined : { inputsVersion },
      ...rest,
    }),
};

const persist = (store: VersionedStore, state: StoredInputState) =>
  store.persistInputState({ runtimeId: RUNTIME, state });

async function inputsVersionOf(store: VersionedStore, runtimeId = RUNTIME): Promise<string> {
  const { inputsVersion, batches } = await store.loadInputStates({ runtimeId });
  for await (const batch of batches) assert.notEqual(batch.length, 0);
  return inputsVersion;
}

/** Returns the versions of the input rows that a response must report. */
function inputsOf({ inputs }: CommittedInput): { readonly before: string; readonly after: string } {
  assert.ok(inputs, "expected a response with the versions of the input rows, found none");
  return inputs;
}

/** Input rows that a caller does not send because the store has them: the version of all rows guards them. */
export const unchangedInputsChapter = chapter(
  "unchanged inputs",
  ["versions"],
  [
    ...Object.entries(WRITERS).map(([name, write]) =>
      testCase(`${name}: rows that are not sent stay unchanged`, async ({ store, versioned }) => {
        const first = inputsOf(await write(versioned, { inputs: ROWS }));
        const inputsVersion = await inputsVersionOf(versioned);
        assertEqual(first.after, inputsVersion);
        const response = await write(versioned, { inputs: [changed(2, 5)], inputsVersion }, 1n);
        assertEqual(inputsOf(response).before, inputsVersion);
        assertSame(await store.loadInputStates(RUNTIME), [inputState(1), changed(2, 5), inputState(3)]);
        await write(versioned, { inputs: [], inputsVersion: inputsOf(response).after }, 2n);
        assertSame(await store.loadInputStates(RUNTIME), [inputState(1), changed(2, 5), inputState(3)]);
      }),
    ),

    ...Object.entries(WRITERS).map(([name, write]) =>
      testCase(`${name}: nothing is applied after another writer has changed a row`, async ({ store, versioned }) => {
        const { after } = inputsOf(await write(versioned, { inputs: ROWS }));
        const other = inputsOf(await persist(versioned, changed(3, 1)));
        assertEqual(other.before, after);
        const before = await contentsOf(store, RUNTIME);
        const late = write(versioned, { inputs: [changed(1, 9)], inputsVersion: after }, 1n);
        await assertRefused(late, { ...STALE, expected: after, actual: other.after });
        assertSame(await contentsOf(store, RUNTIME), before);
        assertEqual(await store.loadBoundaryReceipt(RUNTIME, runId(1), 1n), undefined);
        await write(versioned, { inputs: [changed(1, 9)], inputsVersion: other.after }, 1n);
      }),
    ),

    testCase("a refused apply does not store its session either", async ({ store, versioned }) => {
      const { after } = inputsOf(await persist(versioned, inputState(1)));
      await persist(versioned, inputState(2));
      const apply = versioned.atomicApply({
        runtimeId: RUNTIME,
        sessionDelta: { sessionSnapshot: session(1, 1) },
        receipt: receipt(1, 0n),
        inputUpdates: [],
        unchangedInputs: { inputsVersion: after },
        sessionStoreKey: undefined,
      });
      await assertRefused(apply, STALE);
      assertEqual(await store.loadSessionSnapshot(RUNTIME), undefined);
    }),

    testCase(
      "every write of a row changes the version of the input rows, and nothing else does",
      async ({ versioned }) => {
        let version = await inputsVersionOf(versioned);
        const seen = [version];
        const writes = [
          () => persist(versioned, inputState(1)),
          () => WRITERS.atomicApply(versioned, { inputs: [changed(1, 1), inputState(2)] }),
          () => WRITERS.commitMachineLifecycle(versioned, { inputs: [changed(2, 1)] }),
        ];
        for (const write of writes) {
          const response = await write();
          assertEqual(inputsOf(response).before, version);
          version = inputsOf(response).after;
          seen.push(version);
          assertEqual(await inputsVersionOf(versioned), version);
        }
        assertEqual(new Set(seen).size, seen.length);
        const unchanging = [
          () => persist(versioned, changed(2, 1)),
          () => WRITERS.atomicApply(versioned, { inputs: [changed(1, 1), changed(2, 1)] }, 1n),
          () => WRITERS.commitMachineLifecycle(versioned, { inputs: [] }),
        ];
        for (const write of unchanging) assertSame((await write()).inputs, { before: version, after: version });
        await versioned.persistOpsLifecycle({ runtimeId: RUNTIME, snapshot: opsSnapshot(1) });
        await versioned.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: { sessionSnapshot: session(1, 1) } });
        await versioned.clearSessionSnapshot({ runtimeId: RUNTIME });
        assertEqual(await inputsVersionOf(versioned), version);
      },
    ),

    testCase("a runtime without input rows has a version of its input rows too", async ({ store, versioned }) => {
      const inputsVersion = await inputsVersionOf(versioned);
      const response = await versioned.atomicApply({
        runtimeId: RUNTIME,
        sessionDelta: undefined,
        receipt: receipt(1, 0n),
        inputUpdates: [inputState(1)],
        unchangedInputs: { inputsVersion },
        sessionStoreKey: undefined,
      });
      assertEqual(inputsOf(response).before, inputsVersion);
      const late = WRITERS.atomicApply(versioned, { inputs: [inputState(2)], inputsVersion }, 1n);
      await assertRefused(late, STALE);
      assertSame(await store.loadInputStates(RUNTIME), [inputState(1)]);
    }),

    testCase("the version of the input rows in a response is the one that a load returns next", async (context) => {
      const { store, versioned } = context;
      for (const [method, mutate] of Object.entries(MUTATIONS)) {
        for (const base of [undefined, MUTATION_BASE]) {
          await versioned.deleteRuntime({ runtimeId: RUNTIME });
          if (base) await store.commitSessionSnapshot(RUNTIME, { sessionSnapshot: base });
          const before = (await versioned.loadInputStates({ runtimeId: RUNTIME })).inputsVersion;
          const result = await mutate(versioned, {}).catch((error: unknown) => {
            // The rewrite needs a stored session.
            if (base || method !== "commitSessionTranscriptRewriteSnapshot") throw error;
          });
          if (!result || !("inputs" in result) || !result.inputs) continue;
          const after = (await versioned.loadInputStates({ runtimeId: RUNTIME })).inputsVersion;
          assertSame([method, result.inputs], [method, { before, after }]);
        }
      }
    }),

    testCase("any other version of the input rows is refused", async ({ versioned }) => {
      const row = await persist(versioned, inputState(1));
      await versioned.persistInputState({ runtimeId: "other", state: inputState(1) });
      for (const inputsVersion of ["", "x", `${inputsOf(row).after}0`, await inputsVersionOf(versioned, "other")]) {
        for (const write of Object.values(WRITERS)) {
          await assertRefused(write(versioned, { inputs: [], inputsVersion }), STALE);
        }
      }
    }),

    testCase("sent rows that equal the stored ones keep their version and are reported", async ({ versioned }) => {
      const { version } = await persist(versioned, inputState(1));
      const inputsVersion = await inputsVersionOf(versioned);
      const response = await versioned.atomicApply({
        runtimeId: RUNTIME,
        sessionDelta: undefined,
        receipt: receipt(1, 0n),
        inputUpdates: [inputState(1), inputState(2)],
        unchangedInputs: { inputsVersion },
        sessionStoreKey: undefined,
      });
      assertSame(response.keptInputs, [{ inputId: inputId(1), version }]);
    }),

    testCase(
      "a repeated request id returns the versions of rows of the first response, whatever was written since",
      async ({ versioned }) => {
        for (const [name, write] of Object.entries(WRITERS)) {
          const { after } = inputsOf(await write(versioned, { inputs: ROWS, runtimeId: name }));
          const request = {
            inputs: [ROWS[1] ?? inputState(2), changed(1, 1)],
            inputsVersion: after,
            requestId: freshRequestId(),
            runtimeId: name,
          };
          const first = await write(versioned, request, 1n);
          await versioned.persistInputState({ runtimeId: name, state: changed(1, 2) });
          const again = await write(versioned, request, 1n);
          assertSame(again, { ...first, replayed: true });
          assertSame(again.keptInputs.length, 1);
          const moved = { ...request, inputsVersion: inputsOf(first).after };
          await assertRefused(write(versioned, moved, 1n), { variant: "WriteFailed", reason: "REQUEST_ID_REUSED" });
        }
      },
    ),

    testCase("the version of the input rows is the same after a reopen", ["durable"], async (context) => {
      const { after } = inputsOf(await persist(context.versioned, inputState(1)));
      await context.reopen();
      assertEqual(await inputsVersionOf(context.versioned), after);
      await WRITERS.atomicApply(context.versioned, { inputs: [inputState(2)], inputsVersion: after });
      assertSame(await context.store.loadInputStates(RUNTIME), [inputState(1), inputState(2)]);
    }),
  ],
);
