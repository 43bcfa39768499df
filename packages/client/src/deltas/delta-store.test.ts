import fc from "fast-check";
import {
  type CommittedInputs,
  type RunBoundaryReceipt,
  StoreError,
  type StoredInputState,
  type VersionedStore,
} from "@bolthole/contract";
import { encodeLifecycleRecord, storeCodecs } from "@bolthole/contract/wire";
import { DEFAULT_LIMITS, MemoryEngine, createEngineStore } from "@bolthole/core";
import { createDeltaStore } from "./delta-store.js";

const RT = "runtime";
const RECORD = encodeLifecycleRecord({ runtimeState: "idle", binding: {} });
const OPTIONS = { inputRowCacheBytes: 1 << 20, timeoutMs: 10_000, maxMessageBytes: 1 << 25 };

const idOf = (n: number): string => `0198f01a-0000-7000-8000-${String(n).padStart(12, "0")}`;
const row = ([n, attemptCount]: readonly [number, number]): StoredInputState => ({
  inputId: idOf(n),
  currentState: "accepted",
  attemptCount,
  recoveryCount: 0,
  // Attempt 3 makes the row invalid.
  history: attemptCount === 3 ? [{ timestamp: "?", from: "accepted", to: "queued" }] : [],
  createdAt: "2026-05-28T15:31:27Z",
  updatedAt: "2026-05-28T15:31:27Z",
});

type Rows = readonly (readonly [n: number, attempt: number])[];

/** One action of a client. Documents are one base with an edit, so that they can be patched. */
type Action =
  | { readonly kind: "apply"; readonly rows: Rows; readonly edit: Edit | undefined }
  | { readonly kind: "lifecycle"; readonly rows: Rows }
  | { readonly kind: "persist"; readonly row: readonly [number, number] }
  | { readonly kind: "commit" | "replace"; readonly edit: Edit }
  | { readonly kind: "clear" | "load rows" | "load document" };
type Edit = readonly [at: number, text: string];

const BASE = Buffer.from(Array.from({ length: 1500 }, (_, n) => `line ${n * n} of the document\n`).join(""));
const edited = ([at, text]: Edit): Buffer =>
  Buffer.concat([BASE.subarray(0, at), Buffer.from(text), BASE.subarray(at)]);

const oneRow = fc.tuple(fc.nat(2), fc.oneof({ weight: 12, arbitrary: fc.nat(1) }, fc.constant(3)));
const someRows = fc.oneof(
  { weight: 4, arbitrary: fc.uniqueArray(oneRow, { selector: ([n]) => n, maxLength: 3 }) },
  fc.array(oneRow, { maxLength: 4 }),
);
const edit = fc.tuple(fc.nat(BASE.length), fc.constantFrom("", "x", "some new text"));
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("apply" as const),
      rows: someRows,
      edit: fc.option(edit, { nil: undefined }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("lifecycle" as const), rows: someRows }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("persist" as const), row: oneRow }) },
  fc.record({ kind: fc.constantFrom("commit" as const, "replace" as const), edit }),
  fc.record({ kind: fc.constantFrom("clear" as const, "load rows" as const, "load document" as const) }),
);

async function documentOf(store: VersionedStore): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await store.loadSessionSnapshot({ runtimeId: RT }))?.chunks ?? []) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function rowsOf(store: VersionedStore): Promise<{ n: string; attempt: number; version: string }[]> {
  const rows = [];
  for await (const batch of (await store.loadInputStates({ runtimeId: RT })).batches) {
    for (const { value, version } of batch) rows.push({ n: value.inputId, attempt: value.attemptCount, version });
  }
  return rows;
}

/** Reduces a response to facts that two stores share: a version becomes whether it is that of the row or the commit. */
async function factsOf(store: VersionedStore, response: Partial<CommittedInputs> | undefined): Promise<unknown> {
  if (!response) return "not current";
  const versions = new Map((await rowsOf(store)).map(({ n, version }) => [n, version]));
  return {
    replayed: response.replayed,
    wroteRows: response.inputs && response.inputs.before !== response.inputs.after,
    kept: response.keptInputs?.map(({ inputId, version }) => [
      inputId,
      version === versions.get(inputId),
      version === response.version,
    ]),
  };
}

/** Performs an action. Returns the facts of the response, or of the error. `shared` is the store behind `store`. */
async function perform(store: VersionedStore, one: Action, sequence: number, shared: VersionedStore): Promise<unknown> {
  const runtimeId = RT;
  const receipt: RunBoundaryReceipt = {
    runId: idOf(9999),
    boundary: "run_start",
    contributingInputIds: [],
    messageCount: 0n,
    sequence: BigInt(sequence),
  };
  const delta = (text: Edit) => ({ sessionSnapshot: edited(text), profile: "opaque" }) as const;
  try {
    switch (one.kind) {
      case "apply": {
        const sessionDelta = one.edit && delta(one.edit);
        const inputUpdates = one.rows.map(row);
        return await factsOf(
          shared,
          await store.atomicApply({ runtimeId, sessionDelta, receipt, inputUpdates, sessionStoreKey: undefined }),
        );
      }
      case "lifecycle":
        return await factsOf(
          shared,
          await store.commitMachineLifecycle({ runtimeId, record: RECORD, inputStates: one.rows.map(row) }),
        );
      case "persist":
        return await factsOf(shared, await store.persistInputState({ runtimeId, state: row(one.row) }));
      case "commit":
        return await factsOf(shared, await store.commitSessionSnapshot({ runtimeId, sessionDelta: delta(one.edit) }));
      case "replace": {
        const expected = { document: edited([0, ""]) };
        return await factsOf(
          shared,
          await store.replaceSessionSnapshotIfCurrent({ runtimeId, expected, replacement: delta(one.edit) }),
        );
      }
      case "clear":
        return await factsOf(shared, await store.clearSessionSnapshot({ runtimeId }));
      case "load rows":
        return (await rowsOf(store)).map(({ n, attempt }) => [n, attempt]);
      case "load document":
        return (await documentOf(store)).toString();
    }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return [error.reason, error.subject.record, error.text];
  }
}

test("two clients that send changes store the same and get the same responses as clients that send everything", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(1), action), { maxLength: 25 }),
      fc.constantFrom(0, 3000, 1 << 22),
      async (actions, documentCacheBytes) => {
        const shared = createEngineStore(new MemoryEngine());
        const plain = createEngineStore(new MemoryEngine());
        const clients = [1, 2].map(() => createDeltaStore(shared, DEFAULT_LIMITS, { ...OPTIONS, documentCacheBytes }));
        for (const [sequence, [client, one]] of actions.entries()) {
          const facts = await perform(clients[client] ?? shared, one, sequence, shared);
          expect(facts).toEqual(await perform(plain, one, sequence, plain));
        }
        expect((await documentOf(shared)).equals(await documentOf(plain))).toBe(true);
        const [rows, expected] = [await rowsOf(shared), await rowsOf(plain)];
        expect(rows.map(({ n, attempt }) => [n, attempt])).toEqual(expected.map(({ n, attempt }) => [n, attempt]));
      },
    ),
    { numRuns: 150 },
  );
});

test("the delta store has a decision for every method, and passes on no method that it does not list", () => {
  const store = { ...createEngineStore(new MemoryEngine()), newMutation: () => Promise.resolve() };
  const methods = Object.keys(createDeltaStore(store, DEFAULT_LIMITS, { ...OPTIONS, documentCacheBytes: 0 }));
  expect(methods.sort()).toEqual(Object.keys(storeCodecs).sort());
});
