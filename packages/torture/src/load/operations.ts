import type { SessionDelta, StoredInputState } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { type Effect, STORE } from "../ledger.js";
import type { Random } from "../random.js";
import {
  type Operation,
  type OperationContext,
  type OperationFactory,
  type RuntimeState,
  expectationsOf,
  sha256,
} from "./operation.js";
import { boundaryReceipt, digestOf, digestOfBytes, freshId, inputRow, opsSnapshot } from "./records.js";
import type { SessionStep } from "./session-script.js";
import { sendUploaded } from "./uploaded-rows.js";

/** A next document of a session that the rules allow. */
interface SessionDraft {
  readonly delta: SessionDelta;
  /** The number of messages. */
  readonly length: number;
  readonly effect: Effect;
  adopt(version: string): void;
}

const nextDraft = (random: Random, state: RuntimeState, nonce: string): SessionDraft =>
  draftOf(state, state.session.next(random, nonce));

function draftOf(state: RuntimeState, step: SessionStep): SessionDraft {
  const { session } = state;
  const bytes = session.document(step);
  return {
    delta: { sessionSnapshot: bytes },
    length: step.messages.length,
    effect: ["snapshot", digestOfBytes(bytes)],
    adopt: (version) => {
      session.adopt(step);
      state.snapshot = { version, sha256: sha256(bytes), bytes: bytes.length };
    },
  };
}

const base = (
  { id, state }: OperationContext,
  method: string,
): Pick<Operation, "id" | "runtime" | "method" | "misses"> => ({
  id,
  runtime: state.runtimeId,
  method,
  misses: "never",
});

const requestOf = ({ id, state, carried }: OperationContext) => ({
  ...carried,
  runtimeId: state.runtimeId,
  requestId: id,
});

/** Returns a digest that no stored document has. */
const unknownDigest = (id: string): Buffer => sha256(Buffer.from(id));

const clearing =
  ({ random, state }: OperationContext) =>
  (): void => {
    state.snapshot = undefined;
    state.session = state.newSession(random);
  };

type Name = "snapshot" | "rewrite" | "replace" | "replaceStale" | "clear" | "clearIfCurrent" | "clearIfCurrentStale";

const SESSION_FACTORIES: Readonly<Record<Name, OperationFactory>> = {
  snapshot(context) {
    const draft = nextDraft(context.random, context.state, context.id);
    const request = { ...requestOf(context), sessionDelta: draft.delta };
    return {
      ...base(context, "CommitSessionSnapshot"),
      effects: [draft.effect],
      send: (store, call) => store.commitSessionSnapshot(request, call),
      adopt: draft.adopt,
    };
  },

  rewrite(context) {
    const { random, state, id } = context;
    if (!state.snapshot) return SESSION_FACTORIES.snapshot(context);
    const step = state.session.rewrite(random, id);
    const draft = draftOf(state, step);
    const request = { ...requestOf(context), sessionDelta: draft.delta, commit: step.commit };
    return {
      ...base(context, "CommitSessionTranscriptRewriteSnapshot"),
      effects: [draft.effect],
      send: (store, call) => store.commitSessionTranscriptRewriteSnapshot(request, call),
      adopt: draft.adopt,
    };
  },

  replace(context) {
    const { random, state, id } = context;
    const { snapshot } = state;
    if (!snapshot) return SESSION_FACTORIES.snapshot(context);
    const draft = nextDraft(random, state, id);
    const expected = random.oneIn(2) ? { version: snapshot.version } : { sha256: snapshot.sha256 };
    const request = { ...requestOf(context), expected, replacement: draft.delta };
    return {
      ...base(context, "ReplaceSessionSnapshotIfCurrent"),
      effects: [draft.effect],
      send: (store, call) => store.replaceSessionSnapshotIfCurrent(request, call),
      adopt: draft.adopt,
    };
  },

  replaceStale(context) {
    const { random, state, id } = context;
    const draft = nextDraft(random, state, id);
    const request = { ...requestOf(context), expected: { sha256: unknownDigest(id) }, replacement: draft.delta };
    return {
      ...base(context, "ReplaceSessionSnapshotIfCurrent"),
      misses: "always",
      effects: [draft.effect],
      send: (store, call) => store.replaceSessionSnapshotIfCurrent(request, call),
      adopt: draft.adopt,
    };
  },

  clear(context) {
    const request = requestOf(context);
    return {
      ...base(context, "ClearSessionSnapshot"),
      effects: [["snapshot", null]],
      send: (store, call) => store.clearSessionSnapshot(request, call),
      adopt: clearing(context),
    };
  },

  clearIfCurrent(context) {
    const { snapshot } = context.state;
    if (!snapshot) return SESSION_FACTORIES.clear(context);
    const request = { ...requestOf(context), expected: { version: snapshot.version } };
    return {
      ...base(context, "ClearSessionSnapshotIfCurrent"),
      effects: [["snapshot", null]],
      send: (store, call) => store.clearSessionSnapshotIfCurrent(request, call),
      adopt: clearing(context),
    };
  },

  clearIfCurrentStale(context) {
    const request = { ...requestOf(context), expected: { sha256: unknownDigest(context.id) } };
    return {
      ...base(context, "ClearSessionSnapshotIfCurrent"),
      misses: "always",
      effects: [["snapshot", null]],
      send: (store, call) => store.clearSessionSnapshotIfCurrent(request, call),
      adopt: clearing(context),
    };
  },
};

const MAX_INPUTS = 40;
/** One change with input rows in this many uploads them before, as a client does with more rows than a request may have. */
const UPLOADED_ONE_IN = 6;
const STATES = ["idle", "attached", "running"] as const;

/** The weight with which each operation is chosen. */
const WEIGHTS = {
  boundary: 34,
  input: 26,
  lifecycle: 10,
  ops: 9,
  deleteOps: 2,
  deleteRuntime: 1,
  snapshot: 4,
  rewrite: 4,
  replace: 6,
  replaceStale: 1,
  clear: 1,
  clearIfCurrent: 2,
  clearIfCurrentStale: 1,
};

/** Makes the next operation of a runtime. The stored state allows it, or it must be refused. */
export function makeOperation(random: Random, state: RuntimeState): Operation {
  const isTooLarge = (state.snapshot?.bytes ?? 0) > state.size.documentBytes;
  const factory = isTooLarge ? SESSION_FACTORIES.clearIfCurrent : FACTORIES[random.weighted(WEIGHTS)];
  const expects = expectationsOf(random, state);
  const made = factory({ random, state, id: state.newId(), carried: expects.carried });
  return {
    ...made,
    refusedAs: expects.refusedAs,
    adopt: (version) => {
      for (const [key, digest] of made.effects) state.noteVersion(key, digest === null ? undefined : version);
      made.adopt(version);
    },
  };
}

const FACTORIES: Readonly<Record<keyof typeof WEIGHTS, OperationFactory>> = {
  ...SESSION_FACTORIES,

  boundary({ random, state, id, carried }) {
    const { runtimeId } = state;
    const isNewRun = random.oneIn(5);
    const runId = isNewRun ? state.newId() : state.runId;
    const sequence = isNewRun ? 1n : state.sequence + 1n;
    const inputs = nextInputs(random, state, 1 + random.below(3), id);
    const draft = random.oneIn(6) ? undefined : nextDraft(random, state, id);
    const isUploaded = random.oneIn(UPLOADED_ONE_IN);
    const receipt = boundaryReceipt(runId, sequence, idsOf(inputs), draft?.length ?? 0, id);
    const request = {
      ...carried,
      runtimeId,
      requestId: id,
      sessionDelta: draft?.delta,
      receipt,
      inputUpdates: isUploaded ? [] : inputs,
      sessionStoreKey: random.oneIn(2) ? undefined : state.session.id,
    };
    return {
      id,
      runtime: runtimeId,
      method: "AtomicApply",
      misses: "never",
      effects: [
        [`receipt ${runId} ${sequence.toString()}`, digestOf(receipt)],
        ...inputEffects(inputs),
        ...(draft ? [draft.effect] : []),
      ],
      send: (store, call) =>
        isUploaded
          ? sendUploaded(store, runtimeId, inputs, call, (inputUploadId) =>
              store.atomicApply({ ...request, inputUploadId }, call),
            )
          : store.atomicApply(request, call),
      adopt: (version) => {
        state.runId = runId;
        state.sequence = sequence;
        state.receipts.push({ runId, sequence });
        state.addInputs(idsOf(inputs));
        draft?.adopt(version);
      },
    };
  },

  input({ random, state, id, carried }) {
    const { runtimeId } = state;
    const inputs = nextInputs(random, state, 1, id);
    const [row] = inputs as [StoredInputState];
    const isUploaded = random.oneIn(UPLOADED_ONE_IN);
    const request = { ...carried, runtimeId, requestId: id };
    return {
      id,
      runtime: runtimeId,
      method: "PersistInputState",
      misses: "never",
      effects: inputEffects(inputs),
      send: (store, call) =>
        isUploaded
          ? sendUploaded(store, runtimeId, inputs, call, (inputUploadId) =>
              store.persistInputState({ ...request, state: undefined, inputUploadId }, call),
            )
          : store.persistInputState({ ...request, state: row }, call),
      adopt: () => {
        state.addInputs(idsOf(inputs));
      },
    };
  },

  lifecycle({ random, state, id, carried }) {
    const { runtimeId } = state;
    const inputStates = nextInputs(random, state, random.below(3), id);
    const fenceToken = state.fenceToken + 1n;
    const record = encodeLifecycleRecord({
      runtimeState: STATES[random.below(STATES.length)] ?? "idle",
      binding: { fenceToken, agentRuntimeId: id },
    });
    const isUploaded = inputStates.length > 0 && random.oneIn(UPLOADED_ONE_IN);
    const request = { ...carried, runtimeId, requestId: id, record, inputStates: isUploaded ? [] : inputStates };
    return {
      id,
      runtime: runtimeId,
      method: "CommitMachineLifecycle",
      misses: "never",
      effects: [["lifecycle", digestOfBytes(record)], ...inputEffects(inputStates)],
      send: (store, call) =>
        isUploaded
          ? sendUploaded(store, runtimeId, inputStates, call, (inputUploadId) =>
              store.commitMachineLifecycle({ ...request, inputUploadId }, call),
            )
          : store.commitMachineLifecycle(request, call),
      adopt: () => {
        state.hasLifecycle = true;
        state.fenceToken = fenceToken;
        state.addInputs(idsOf(inputStates));
      },
    };
  },

  ops({ random, state, id, carried }) {
    const snapshot = opsSnapshot(random, id, { newId: state.newId });
    const request = { ...carried, runtimeId: state.runtimeId, requestId: id, snapshot };
    return {
      id,
      runtime: state.runtimeId,
      method: "PersistOpsLifecycle",
      misses: "never",
      effects: [["ops", digestOf(snapshot)]],
      send: (store, call) => store.persistOpsLifecycle(request, call),
      adopt: () => undefined,
    };
  },

  deleteRuntime({ random, state, id, carried }) {
    const request = { ...carried, runtimeId: state.runtimeId, requestId: id };
    const keys = [...state.versions.keys()];
    const expected = {
      inputStates: keys.filter((key) => key.startsWith("input ")).length,
      receipts: keys.filter((key) => key.startsWith("receipt ")).length,
      hadSessionSnapshot: keys.includes("snapshot"),
      hadMachineLifecycle: keys.includes("lifecycle"),
      hadOpsLifecycle: keys.includes("ops"),
    };
    return {
      id,
      runtime: state.runtimeId,
      method: "DeleteRuntime",
      misses: "never",
      effects: keys.map((key) => [key, null]),
      send: async (store, call) => {
        const response = await store.deleteRuntime(request, call);
        // Also in a replayed response: it is the first one.
        const isCounted = Object.entries(expected).every(
          ([name, count]) => response[name as keyof typeof expected] === count,
        );
        return { ...response, wrong: isCounted ? undefined : `the counts of the deletion ${id} are wrong` };
      },
      adopt: () => {
        state.clear(random);
      },
    };
  },

  deleteOps({ state, id, carried }) {
    const request = { ...carried, runtimeId: state.runtimeId, requestId: id };
    return {
      id,
      runtime: state.runtimeId,
      method: "DeleteOpsLifecycle",
      misses: "never",
      effects: [["ops", null]],
      send: (store, call) => store.deleteOpsLifecycle(request, call),
      adopt: () => undefined,
    };
  },
};

/** Makes a compare-and-set of the OAuth value from the value that was just read. All clients share this value. */
export function makeOauthUpdate(current: { readonly link: number; readonly version: string } | undefined): Operation {
  const id = freshId();
  const link = (current?.link ?? 0) + 1;
  const snapshot = Buffer.from(JSON.stringify({ link, id }));
  const request = { requestId: id, expected: current?.version, snapshot };
  return {
    id,
    runtime: STORE,
    method: "UpdateAuthOauthFlowSnapshot",
    misses: "maybe",
    effects: [["oauth", digestOfBytes(snapshot)]],
    link,
    send: async (store, call) => {
      const response = await store.updateAuthOauthFlowSnapshot(request, call);
      return response.updated ? response : undefined;
    },
    adopt: () => undefined,
  };
}

const idsOf = (inputs: readonly StoredInputState[]): string[] => inputs.map(({ inputId }) => inputId);

const inputEffects = (inputs: readonly StoredInputState[]): Effect[] =>
  inputs.map((row) => [`input ${row.inputId}`, digestOf(row)]);

/** Makes rows with different input ids, some of them new. */
function nextInputs(random: Random, state: RuntimeState, count: number, nonce: string): StoredInputState[] {
  const ids = new Set<string>();
  for (let index = 0; index < count; index += 1) {
    const known = state.inputIds[random.below(Math.max(state.inputIds.length, 4))];
    ids.add(known ?? (state.inputIds.length < MAX_INPUTS ? state.newId() : (state.inputIds[0] ?? state.newId())));
  }
  return [...ids].map((inputId) => inputRow(random, inputId, nonce));
}
