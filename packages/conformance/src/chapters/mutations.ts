import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Committed, Mutation, UpdatedOauth, VersionedStore } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { RUNTIME, inputState, lifecycle, opsSnapshot, receipt, rewrite, someTexts, transcript } from "../fixtures.js";

type Request<Method extends keyof VersionedStore> = Parameters<VersionedStore[Method]>[0];

/** The methods of `VersionedStore` whose request is a `Mutation`: all that change a record. */
export type MutatingMethod = {
  // A request without arguments has every member by its type, but is not a mutation.
  [Method in keyof VersionedStore]: string extends keyof Request<Method>
    ? never
    : "expectedStoreId" extends keyof Request<Method>
      ? Method
      : never;
}[keyof VersionedStore];

/** The result of any mutation. Undefined, or `updated: false`, when the expectation of a compare-and-set does not hold. */
export type MutationResult = Committed | UpdatedOauth | undefined;

const TEXTS = someTexts(3);

/** The session document that `RUNTIME` must have so that every one of `MUTATIONS` applies. */
export const MUTATION_BASE = transcript(TEXTS);

const BASE_SHA256 = createHash("sha256").update(MUTATION_BASE).digest();
const NEXT = { sessionSnapshot: transcript([...TEXTS, "one more"]) };

/**
 * A call of every mutating method. The type makes the list complete: when `VersionedStore` gets a mutating method, the
 * compiler reports it here by name.
 */
export const MUTATIONS: Readonly<
  Record<MutatingMethod, (store: VersionedStore, mutation: Mutation) => Promise<MutationResult>>
> = {
  commitSessionSnapshot: (store, mutation) =>
    store.commitSessionSnapshot({ ...mutation, runtimeId: RUNTIME, sessionDelta: NEXT }),
  commitSessionTranscriptRewriteSnapshot: (store, mutation) => {
    const { document, commit } = rewrite(TEXTS, 0, 2, ["summary"]);
    return store.commitSessionTranscriptRewriteSnapshot({
      ...mutation,
      runtimeId: RUNTIME,
      sessionDelta: { sessionSnapshot: document },
      commit,
    });
  },
  atomicApply: (store, mutation) =>
    store.atomicApply({
      ...mutation,
      runtimeId: RUNTIME,
      sessionDelta: NEXT,
      receipt: receipt(1, 0n),
      inputUpdates: [inputState(1), inputState(2)],
      sessionStoreKey: undefined,
    }),
  clearSessionSnapshot: (store, mutation) => store.clearSessionSnapshot({ ...mutation, runtimeId: RUNTIME }),
  replaceSessionSnapshotIfCurrent: (store, mutation) =>
    store.replaceSessionSnapshotIfCurrent({
      ...mutation,
      runtimeId: RUNTIME,
      expected: { sha256: BASE_SHA256 },
      replacement: NEXT,
    }),
  clearSessionSnapshotIfCurrent: (store, mutation) =>
    store.clearSessionSnapshotIfCurrent({ ...mutation, runtimeId: RUNTIME, expected: { sha256: BASE_SHA256 } }),
  persistInputState: (store, mutation) =>
    store.persistInputState({ ...mutation, runtimeId: RUNTIME, state: inputState(1) }),
  commitMachineLifecycle: (store, mutation) =>
    store.commitMachineLifecycle({
      ...mutation,
      runtimeId: RUNTIME,
      record: encodeLifecycleRecord(lifecycle("idle")),
      inputStates: [inputState(1)],
    }),
  persistOpsLifecycle: (store, mutation) =>
    store.persistOpsLifecycle({ ...mutation, runtimeId: RUNTIME, snapshot: opsSnapshot(3) }),
  deleteOpsLifecycle: (store, mutation) => store.deleteOpsLifecycle({ ...mutation, runtimeId: RUNTIME }),
  deleteRuntime: (store, mutation) => store.deleteRuntime({ ...mutation, runtimeId: RUNTIME }),
  persistAuthOauthFlowSnapshot: (store, mutation) =>
    store.persistAuthOauthFlowSnapshot({ ...mutation, snapshot: Buffer.from("oauth") }),
  updateAuthOauthFlowSnapshot: (store, mutation) =>
    store.updateAuthOauthFlowSnapshot({ ...mutation, expected: undefined, snapshot: Buffer.from("oauth") }),
};

export const MUTATING_METHODS = Object.keys(MUTATIONS) as MutatingMethod[];
