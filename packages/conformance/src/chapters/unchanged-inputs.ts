import assert from "node:assert/strict";
import type { CommittedInput, StoredInputState, VersionedStore } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { contents, refused, same } from "../assertions.js";
import { chapter, step } from "../conformance-case.js";
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

const STALE = { variant: "WriteFailed", reason: "INPUT_NOT_CURRENT", record: "unchanged_inputs" } as const;
const ROWS = [1, 2, 3].map((n) => inputState(n));
const changed = (n: number, attemptCount: number): StoredInputState => inputState(n, { attemptCount });

interface Rows {
  readonly inputs: readonly StoredInputState[];
  readonly inputsVersion?: string | undefined;
  readonly requestId?: string;
  readonly runtimeId?: string;
}

/** Each call that takes rows in numbers. */
const WRITERS: Readonly<
  Record<string, (store: VersionedStore, rows: Rows, sequence?: bigint) => Promise<CommittedInput>>
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
  for await (const batch of batches) assert.ok(batch.length > 0);
  return inputsVersion;
}

/** What an answer that is not replayed says. */
function inputsOf({ inputs }: CommittedInput): { readonly before: string; readonly after: string } {
  assert.ok(inputs, "an answer says which versions the rows had");
  return inputs;
}

export const unchangedInputsChapter = chapter(
  "unchanged inputs",
  ["versions"],
  [
    ...Object.entries(WRITERS).map(([name, write]) =>
      step(`${name}: rows that do not travel stay as they are`, async ({ store, versioned }) => {
        const first = inputsOf(await write(versioned, { inputs: ROWS }));
        const inputsVersion = await inputsVersionOf(versioned);
        assert.equal(first.after, inputsVersion);
        const answer = await write(versioned, { inputs: [changed(2, 5)], inputsVersion }, 1n);
        assert.equal(inputsOf(answer).before, inputsVersion);
        same(await store.loadInputStates(RUNTIME), [inputState(1), changed(2, 5), inputState(3)]);
        await write(versioned, { inputs: [], inputsVersion: inputsOf(answer).after }, 2n);
        same(await store.loadInputStates(RUNTIME), [inputState(1), changed(2, 5), inputState(3)]);
      }),
    ),

    ...Object.entries(WRITERS).map(([name, write]) =>
      step(`${name}: after another writer's row nothing is applied`, async ({ store, versioned }) => {
        const { after } = inputsOf(await write(versioned, { inputs: ROWS }));
        const other = inputsOf(await persist(versioned, changed(3, 1)));
        assert.equal(other.before, after);
        const before = await contents(store, RUNTIME);
        const late = write(versioned, { inputs: [changed(1, 9)], inputsVersion: after }, 1n);
        await refused(late, { ...STALE, expected: after, actual: other.after });
        same(await contents(store, RUNTIME), before);
        assert.equal(await store.loadBoundaryReceipt(RUNTIME, runId(1), 1n), undefined);
        await write(versioned, { inputs: [changed(1, 9)], inputsVersion: other.after }, 1n);
      }),
    ),

    step("a session in the same apply is not kept either", async ({ store, versioned }) => {
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
      await refused(apply, STALE);
      assert.equal(await store.loadSessionSnapshot(RUNTIME), undefined);
    }),

    step("every kind of write moves the version on, and only a written row does", async ({ versioned }) => {
      let version = await inputsVersionOf(versioned);
      const seen = [version];
      const writes = [
        () => persist(versioned, inputState(1)),
        () => WRITERS["atomicApply"]?.(versioned, { inputs: [changed(1, 1), inputState(2)] }),
        () => WRITERS["commitMachineLifecycle"]?.(versioned, { inputs: [changed(2, 1)] }),
      ];
      for (const write of writes) {
        const answer = await write();
        assert.ok(answer);
        assert.equal(inputsOf(answer).before, version);
        version = inputsOf(answer).after;
        seen.push(version);
        assert.equal(await inputsVersionOf(versioned), version);
      }
      assert.equal(new Set(seen).size, seen.length);
      const idle = [
        () => persist(versioned, changed(2, 1)),
        () => WRITERS["atomicApply"]?.(versioned, { inputs: [changed(1, 1), changed(2, 1)] }, 1n),
        () => WRITERS["commitMachineLifecycle"]?.(versioned, { inputs: [] }),
      ];
      for (const write of idle) same((await write())?.inputs, { before: version, after: version });
      await versioned.persistOpsLifecycle({ runtimeId: RUNTIME, snapshot: opsSnapshot(1) });
      await versioned.commitSessionSnapshot({ runtimeId: RUNTIME, sessionDelta: { sessionSnapshot: session(1, 1) } });
      await versioned.clearSessionSnapshot({ runtimeId: RUNTIME });
      assert.equal(await inputsVersionOf(versioned), version);
    }),

    step("an empty ledger has a version too", async ({ store, versioned }) => {
      const inputsVersion = await inputsVersionOf(versioned);
      const answer = await versioned.atomicApply({
        runtimeId: RUNTIME,
        sessionDelta: undefined,
        receipt: receipt(1, 0n),
        inputUpdates: [inputState(1)],
        unchangedInputs: { inputsVersion },
        sessionStoreKey: undefined,
      });
      assert.equal(inputsOf(answer).before, inputsVersion);
      const late = WRITERS["atomicApply"]?.(versioned, { inputs: [inputState(2)], inputsVersion }, 1n);
      await refused(late ?? Promise.resolve(), STALE);
      same(await store.loadInputStates(RUNTIME), [inputState(1)]);
    }),

    step("no other version will do", async ({ versioned }) => {
      const row = await persist(versioned, inputState(1));
      await versioned.persistInputState({ runtimeId: "other", state: inputState(1) });
      for (const inputsVersion of ["", "x", `${inputsOf(row).after}0`, await inputsVersionOf(versioned, "other")]) {
        for (const write of Object.values(WRITERS)) {
          await refused(write(versioned, { inputs: [], inputsVersion }), STALE);
        }
      }
    }),

    step("rows that travel and equal the stored ones are kept, and named", async ({ versioned }) => {
      const { version } = await persist(versioned, inputState(1));
      const inputsVersion = await inputsVersionOf(versioned);
      const answer = await versioned.atomicApply({
        runtimeId: RUNTIME,
        sessionDelta: undefined,
        receipt: receipt(1, 0n),
        inputUpdates: [inputState(1), inputState(2)],
        unchangedInputs: { inputsVersion },
        sessionStoreKey: undefined,
      });
      same(answer.keptInputs, [{ inputId: inputId(1), version }]);
    }),

    step(
      "a repeat gets the first answer without versions of rows, whatever was written since",
      async ({ versioned }) => {
        for (const [name, write] of Object.entries(WRITERS)) {
          const { after } = inputsOf(await write(versioned, { inputs: ROWS, runtimeId: name }));
          const request = {
            inputs: [changed(1, 1)],
            inputsVersion: after,
            requestId: freshRequestId(),
            runtimeId: name,
          };
          const first = await write(versioned, request, 1n);
          await versioned.persistInputState({ runtimeId: name, state: changed(1, 2) });
          const again = await write(versioned, request, 1n);
          same([again.version, again.replayed, again.inputs], [first.version, true, undefined]);
          const moved = { ...request, inputsVersion: inputsOf(first).after };
          await refused(write(versioned, moved, 1n), { variant: "WriteFailed", reason: "REQUEST_ID_REUSED" });
        }
      },
    ),

    step("the version is there after a reopen", ["durable"], async (context) => {
      const { after } = inputsOf(await persist(context.versioned, inputState(1)));
      await context.reopen();
      assert.equal(await inputsVersionOf(context.versioned), after);
      await WRITERS["atomicApply"]?.(context.versioned, { inputs: [inputState(2)], inputsVersion: after });
      same(await context.store.loadInputStates(RUNTIME), [inputState(1), inputState(2)]);
    }),
  ],
);
