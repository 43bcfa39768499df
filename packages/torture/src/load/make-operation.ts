import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { digestOf, digestOfBytes } from "../digest.js";
import { type Effect, STORE } from "../ledger/lines.js";
import type { Random } from "../random.js";
import type { Operation } from "./operation.js";
import { boundaryReceipt, freshId, inputRow, opsSnapshot } from "./records.js";
import { type RuntimeState, sha256 } from "./runtime-state.js";
import type { StoredInputState } from "@bolthole/contract";

const MAX_INPUTS = 40;
const STATES = ["idle", "attached", "running"] as const;

type Maker = (random: Random, state: RuntimeState) => Operation;

/** How often each is made. */
const WEIGHTS = {
  boundary: 34,
  input: 26,
  lifecycle: 10,
  ops: 9,
  noOps: 2,
  snapshot: 4,
  replace: 6,
  replaceStale: 1,
  clear: 1,
  clearIfCurrent: 2,
};

/** The next operation of a runtime; one that makes sense over what is stored. */
export function makeOperation(random: Random, state: RuntimeState): Operation {
  if ((state.snapshot?.bytes ?? 0) > state.size.documentBytes) return MAKERS.clearIfCurrent(random, state);
  return MAKERS[random.weighted(WEIGHTS)](random, state);
}

const MAKERS: Readonly<Record<keyof typeof WEIGHTS, Maker>> = {
  boundary(random, state) {
    const id = freshId();
    const { runtimeId } = state;
    const isNewRun = random.oneIn(5);
    const runId = isNewRun ? freshId() : state.runId;
    const sequence = isNewRun ? 1n : state.sequence + 1n;
    const inputs = nextInputs(random, state, 1 + random.below(3), id);
    const draft = random.oneIn(6) ? undefined : nextDraft(random, state, id);
    const receipt = boundaryReceipt(runId, sequence, idsOf(inputs), draft?.messages.length ?? 0, id);
    const request = {
      runtimeId,
      requestId: id,
      sessionDelta: draft && { sessionSnapshot: draft.bytes },
      receipt,
      inputUpdates: inputs,
      sessionStoreKey: undefined,
    };
    return {
      ...base(id, state, "AtomicApply"),
      effects: [
        [`receipt ${runId} ${sequence.toString()}`, digestOf(receipt)],
        ...inputEffects(inputs),
        ...(draft ? [draft.effect] : []),
      ],
      send: (store, call) => store.atomicApply(request, call),
      adopt: (version) => {
        state.runId = runId;
        state.sequence = sequence;
        state.receipts.push({ runId, sequence });
        state.addInputs(idsOf(inputs));
        draft?.adopt(version);
      },
    };
  },

  input(random, state) {
    const id = freshId();
    const inputs = nextInputs(random, state, 1, id);
    const [row] = inputs as [StoredInputState];
    return {
      ...base(id, state, "PersistInputState"),
      effects: inputEffects(inputs),
      send: (store, call) => store.persistInputState({ runtimeId: state.runtimeId, requestId: id, state: row }, call),
      adopt: () => {
        state.addInputs(idsOf(inputs));
      },
    };
  },

  lifecycle(random, state) {
    const id = freshId();
    const { runtimeId } = state;
    const inputStates = nextInputs(random, state, random.below(3), id);
    const fenceToken = state.fenceToken + 1n;
    const record = encodeLifecycleRecord({
      runtimeState: STATES[random.below(STATES.length)] ?? "idle",
      binding: { fenceToken, agentRuntimeId: id },
    });
    const expectedFenceToken = state.hasLifecycle ? state.fenceToken : undefined;
    const request = { runtimeId, requestId: id, record, inputStates, expectedFenceToken };
    return {
      ...base(id, state, "CommitMachineLifecycle"),
      effects: [["lifecycle", digestOfBytes(record)], ...inputEffects(inputStates)],
      send: (store, call) => store.commitMachineLifecycle(request, call),
      adopt: () => {
        state.hasLifecycle = true;
        state.fenceToken = fenceToken;
        state.addInputs(idsOf(inputStates));
      },
    };
  },

  ops(random, state) {
    const id = freshId();
    const snapshot = opsSnapshot(random, id);
    return {
      ...base(id, state, "PersistOpsLifecycle"),
      effects: [["ops", digestOf(snapshot)]],
      send: (store, call) => store.persistOpsLifecycle({ runtimeId: state.runtimeId, requestId: id, snapshot }, call),
      adopt: () => {
        state.hasOps = true;
      },
    };
  },

  noOps(_random, state) {
    const id = freshId();
    return {
      ...base(id, state, "DeleteOpsLifecycle"),
      effects: [["ops", null]],
      send: (store, call) => store.deleteOpsLifecycle({ runtimeId: state.runtimeId, requestId: id }, call),
      adopt: () => {
        state.hasOps = false;
      },
    };
  },

  snapshot(random, state) {
    const id = freshId();
    const draft = nextDraft(random, state, id);
    const request = { runtimeId: state.runtimeId, requestId: id, sessionDelta: { sessionSnapshot: draft.bytes } };
    return {
      ...base(id, state, "CommitSessionSnapshot"),
      effects: [draft.effect],
      send: (store, call) => store.commitSessionSnapshot(request, call),
      adopt: draft.adopt,
    };
  },

  replace(random, state) {
    const { runtimeId, snapshot } = state;
    if (!snapshot) return MAKERS.snapshot(random, state);
    const id = freshId();
    const draft = nextDraft(random, state, id);
    const request = {
      runtimeId,
      requestId: id,
      expected: random.oneIn(2) ? { version: snapshot.version } : { sha256: snapshot.sha256 },
      replacement: { sessionSnapshot: draft.bytes },
    };
    return {
      ...base(id, state, "ReplaceSessionSnapshotIfCurrent"),
      effects: [draft.effect],
      send: (store, call) => store.replaceSessionSnapshotIfCurrent(request, call),
      adopt: draft.adopt,
    };
  },

  replaceStale(random, state) {
    const id = freshId();
    const draft = nextDraft(random, state, id);
    const request = {
      runtimeId: state.runtimeId,
      requestId: id,
      expected: { sha256: sha256(Buffer.from(id)) },
      replacement: { sessionSnapshot: draft.bytes },
    };
    return {
      ...base(id, state, "ReplaceSessionSnapshotIfCurrent"),
      misses: "always",
      effects: [draft.effect],
      send: (store, call) => store.replaceSessionSnapshotIfCurrent(request, call),
      adopt: draft.adopt,
    };
  },

  clear(random, state) {
    const id = freshId();
    return {
      ...base(id, state, "ClearSessionSnapshot"),
      effects: [["snapshot", null]],
      send: (store, call) => store.clearSessionSnapshot({ runtimeId: state.runtimeId, requestId: id }, call),
      adopt: clearing(random, state),
    };
  },

  clearIfCurrent(random, state) {
    const { runtimeId, snapshot } = state;
    if (!snapshot) return MAKERS.clear(random, state);
    const id = freshId();
    const request = { runtimeId, requestId: id, expected: { version: snapshot.version } };
    return {
      ...base(id, state, "ClearSessionSnapshotIfCurrent"),
      effects: [["snapshot", null]],
      send: (store, call) => store.clearSessionSnapshotIfCurrent(request, call),
      adopt: clearing(random, state),
    };
  },
};

/** A compare-and-set of the one OAuth value, over what was just read of it. Every client takes part. */
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
      const answer = await store.updateAuthOauthFlowSnapshot(request, call);
      return answer.updated ? answer : undefined;
    },
    adopt: () => undefined,
  };
}

const base = (
  id: string,
  state: RuntimeState,
  method: string,
): Pick<Operation, "id" | "runtime" | "method" | "misses"> => ({
  id,
  runtime: state.runtimeId,
  method,
  misses: "never",
});

const idsOf = (inputs: readonly StoredInputState[]): string[] => inputs.map(({ inputId }) => inputId);

const inputEffects = (inputs: readonly StoredInputState[]): Effect[] =>
  inputs.map((row) => [`input ${row.inputId}`, digestOf(row)]);

/** Rows of different ids, some of them new. */
function nextInputs(random: Random, state: RuntimeState, count: number, nonce: string): StoredInputState[] {
  const ids = new Set<string>();
  for (let index = 0; index < count; index += 1) {
    const known = state.inputIds[random.below(Math.max(state.inputIds.length, 4))];
    ids.add(known ?? (state.inputIds.length < MAX_INPUTS ? freshId() : (state.inputIds[0] ?? freshId())));
  }
  return [...ids].map((inputId) => inputRow(random, inputId, nonce));
}

function nextDraft(random: Random, state: RuntimeState, nonce: string) {
  const { session } = state;
  const messages = session.next(random, nonce);
  const bytes = session.document(messages);
  const effect: Effect = ["snapshot", digestOfBytes(bytes)];
  return {
    messages,
    bytes,
    effect,
    adopt: (version: string): void => {
      session.adopt(messages);
      state.snapshot = { version, sha256: sha256(bytes), bytes: bytes.length };
    },
  };
}

const clearing = (random: Random, state: RuntimeState) => (): void => {
  state.snapshot = undefined;
  state.session = state.newSession(random);
};
