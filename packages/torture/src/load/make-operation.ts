import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import type { StoredInputState } from "@bolthole/contract";
import { digestOf, digestOfBytes } from "../digest.js";
import { type Effect, STORE } from "../ledger/lines.js";
import type { Random } from "../random.js";
import { expectsOf } from "./expects.js";
import type { Maker, Operation } from "./operation.js";
import { boundaryReceipt, freshId, inputRow, opsSnapshot } from "./records.js";
import type { RuntimeState } from "./runtime-state.js";
import { SESSION_MAKERS, nextDraft } from "./session-operations.js";

const MAX_INPUTS = 40;
const STATES = ["idle", "attached", "running"] as const;

/** How often each is made. */
const WEIGHTS = {
  boundary: 34,
  input: 26,
  lifecycle: 10,
  ops: 9,
  noOps: 2,
  snapshot: 4,
  rewrite: 4,
  replace: 6,
  replaceStale: 1,
  clear: 1,
  clearIfCurrent: 2,
  clearIfCurrentStale: 1,
};

/** The next operation of a runtime; one that makes sense over what is stored, or that must be refused. */
export function makeOperation(random: Random, state: RuntimeState): Operation {
  const isTooLarge = (state.snapshot?.bytes ?? 0) > state.size.documentBytes;
  const maker = isTooLarge ? SESSION_MAKERS.clearIfCurrent : MAKERS[random.weighted(WEIGHTS)];
  const expects = expectsOf(random, state);
  const made = maker({ random, state, id: freshId(), carried: expects.carried });
  return {
    ...made,
    refusedAs: made.misses === "never" ? expects.refusedAs : undefined,
    adopt: (version) => {
      for (const [key, digest] of made.effects) state.noteVersion(key, digest === null ? undefined : version);
      made.adopt(version);
    },
  };
}

const MAKERS: Readonly<Record<keyof typeof WEIGHTS, Maker>> = {
  ...SESSION_MAKERS,

  boundary({ random, state, id, carried }) {
    const { runtimeId } = state;
    const isNewRun = random.oneIn(5);
    const runId = isNewRun ? freshId() : state.runId;
    const sequence = isNewRun ? 1n : state.sequence + 1n;
    const inputs = nextInputs(random, state, 1 + random.below(3), id);
    const draft = random.oneIn(6) ? undefined : nextDraft(random, state, id);
    const receipt = boundaryReceipt(runId, sequence, idsOf(inputs), draft?.length ?? 0, id);
    const request = {
      ...carried,
      runtimeId,
      requestId: id,
      sessionDelta: draft?.delta,
      receipt,
      inputUpdates: inputs,
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

  input({ random, state, id, carried }) {
    const inputs = nextInputs(random, state, 1, id);
    const [row] = inputs as [StoredInputState];
    const request = { ...carried, runtimeId: state.runtimeId, requestId: id, state: row };
    return {
      id,
      runtime: state.runtimeId,
      method: "PersistInputState",
      misses: "never",
      effects: inputEffects(inputs),
      send: (store, call) => store.persistInputState(request, call),
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
    const request = { ...carried, runtimeId, requestId: id, record, inputStates };
    return {
      id,
      runtime: runtimeId,
      method: "CommitMachineLifecycle",
      misses: "never",
      effects: [["lifecycle", digestOfBytes(record)], ...inputEffects(inputStates)],
      send: (store, call) => store.commitMachineLifecycle(request, call),
      adopt: () => {
        state.hasLifecycle = true;
        state.fenceToken = fenceToken;
        state.addInputs(idsOf(inputStates));
      },
    };
  },

  ops({ random, state, id, carried }) {
    const snapshot = opsSnapshot(random, id);
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

  noOps({ state, id, carried }) {
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
