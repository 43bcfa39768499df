import type { SessionDelta } from "@bolthole/contract";
import { digestOfBytes } from "../digest.js";
import type { Effect } from "../ledger/lines.js";
import type { Random } from "../random.js";
import type { Maker, Making, Operation } from "./operation.js";
import { type RuntimeState, sha256 } from "./runtime-state.js";
import type { SessionStep } from "./session-script.js";

/** A document that the session rules allow next, and what follows when it is stored. */
export interface Draft {
  readonly delta: SessionDelta;
  /** In messages. */
  readonly length: number;
  readonly effect: Effect;
  adopt(version: string): void;
}

export const nextDraft = (random: Random, state: RuntimeState, nonce: string): Draft =>
  draftOf(state, state.session.next(random, nonce));

/** The one place that says in which form a document travels. */
function draftOf(state: RuntimeState, step: SessionStep): Draft {
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

const base = ({ id, state }: Making, method: string): Pick<Operation, "id" | "runtime" | "method" | "misses"> => ({
  id,
  runtime: state.runtimeId,
  method,
  misses: "never",
});

const requestOf = ({ id, state, carried }: Making) => ({ ...carried, runtimeId: state.runtimeId, requestId: id });

/** Of no document that ever was. */
const strange = (id: string): Buffer => sha256(Buffer.from(id));

const clearing =
  ({ random, state }: Making) =>
  (): void => {
    state.snapshot = undefined;
    state.session = state.newSession(random);
  };

type Name = "snapshot" | "rewrite" | "replace" | "replaceStale" | "clear" | "clearIfCurrent" | "clearIfCurrentStale";

export const SESSION_MAKERS: Readonly<Record<Name, Maker>> = {
  snapshot(making) {
    const draft = nextDraft(making.random, making.state, making.id);
    const request = { ...requestOf(making), sessionDelta: draft.delta };
    return {
      ...base(making, "CommitSessionSnapshot"),
      effects: [draft.effect],
      send: (store, call) => store.commitSessionSnapshot(request, call),
      adopt: draft.adopt,
    };
  },

  rewrite(making) {
    const { random, state, id } = making;
    if (!state.snapshot) return SESSION_MAKERS.snapshot(making);
    const step = state.session.rewrite(random, id);
    const draft = draftOf(state, step);
    const request = { ...requestOf(making), sessionDelta: draft.delta, commit: step.commit };
    return {
      ...base(making, "CommitSessionTranscriptRewriteSnapshot"),
      effects: [draft.effect],
      send: (store, call) => store.commitSessionTranscriptRewriteSnapshot(request, call),
      adopt: draft.adopt,
    };
  },

  replace(making) {
    const { random, state, id } = making;
    const { snapshot } = state;
    if (!snapshot) return SESSION_MAKERS.snapshot(making);
    const draft = nextDraft(random, state, id);
    const expected = random.oneIn(2) ? { version: snapshot.version } : { sha256: snapshot.sha256 };
    const request = { ...requestOf(making), expected, replacement: draft.delta };
    return {
      ...base(making, "ReplaceSessionSnapshotIfCurrent"),
      effects: [draft.effect],
      send: (store, call) => store.replaceSessionSnapshotIfCurrent(request, call),
      adopt: draft.adopt,
    };
  },

  replaceStale(making) {
    const { random, state, id } = making;
    const draft = nextDraft(random, state, id);
    const request = { ...requestOf(making), expected: { sha256: strange(id) }, replacement: draft.delta };
    return {
      ...base(making, "ReplaceSessionSnapshotIfCurrent"),
      misses: "always",
      effects: [draft.effect],
      send: (store, call) => store.replaceSessionSnapshotIfCurrent(request, call),
      adopt: draft.adopt,
    };
  },

  clear(making) {
    const request = requestOf(making);
    return {
      ...base(making, "ClearSessionSnapshot"),
      effects: [["snapshot", null]],
      send: (store, call) => store.clearSessionSnapshot(request, call),
      adopt: clearing(making),
    };
  },

  clearIfCurrent(making) {
    const { snapshot } = making.state;
    if (!snapshot) return SESSION_MAKERS.clear(making);
    const request = { ...requestOf(making), expected: { version: snapshot.version } };
    return {
      ...base(making, "ClearSessionSnapshotIfCurrent"),
      effects: [["snapshot", null]],
      send: (store, call) => store.clearSessionSnapshotIfCurrent(request, call),
      adopt: clearing(making),
    };
  },

  clearIfCurrentStale(making) {
    const request = { ...requestOf(making), expected: { sha256: strange(making.id) } };
    return {
      ...base(making, "ClearSessionSnapshotIfCurrent"),
      misses: "always",
      effects: [["snapshot", null]],
      send: (store, call) => store.clearSessionSnapshotIfCurrent(request, call),
      adopt: clearing(making),
    };
  },
};
