import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  type RuntimeStore,
  type SessionDelta,
  StoreError,
  type StoreErrorVariant,
  loadRuntimeState,
} from "@bolthole/contract";
import {
  canonicalRawJson,
  readInputState,
  readOpsSnapshot,
  readReceipt,
  readRewriteCommit,
  writeInputState,
  writeMachineLifecycle,
  writeOpsSnapshot,
  writeReceipt,
} from "@bolthole/json";
import { decodeLifecycleRecord } from "@bolthole/contract/wire";
import {
  type TraceArgs,
  type TraceResult,
  type TraceStep,
  bytesOf,
  hasArgument,
  lifecycleOf,
  loadedText,
  rowsOf,
  textOf,
} from "./trace.js";

type Operation = (store: RuntimeStore, args: TraceArgs, runtimeId: string) => Promise<TraceResult>;

const NOTHING: TraceResult = { ok: null };

const deltaOf = (args: TraceArgs): SessionDelta => ({ sessionSnapshot: bytesOf(args, "snapshot") });

const written = <T>(value: T | undefined, write: (value: T) => Buffer): TraceResult => ({
  ok: loadedText(value === undefined ? undefined : write(value)),
});

/** Sorts the members of every object, because the reference writes its maps in random order. */
const sorted = (json: Buffer): Buffer => Buffer.from(canonicalRawJson(json.toString()));

/** The store calls of the traces by name. Each returns its result in the form of a trace. */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  async commit_session_snapshot(store, args, runtimeId) {
    await store.commitSessionSnapshot(runtimeId, deltaOf(args));
    return NOTHING;
  },
  async commit_session_transcript_rewrite_snapshot(store, args, runtimeId) {
    const commit = readRewriteCommit(textOf(args, "commit"));
    await store.commitSessionTranscriptRewriteSnapshot(runtimeId, deltaOf(args), commit);
    return NOTHING;
  },
  async atomic_apply(store, args, runtimeId) {
    const delta = hasArgument(args, "snapshot") ? deltaOf(args) : undefined;
    const key = args["session_store_key"];
    const receipt = readReceipt(textOf(args, "receipt"));
    await store.atomicApply(runtimeId, delta, receipt, rowsOf(args), typeof key === "string" ? key : undefined);
    return NOTHING;
  },
  load_session_snapshot: async (store, _args, runtimeId) => ({
    ok: loadedText(await store.loadSessionSnapshot(runtimeId)),
  }),
  async clear_session_snapshot(store, _args, runtimeId) {
    await store.clearSessionSnapshot(runtimeId);
    return NOTHING;
  },
  replace_session_snapshot_if_current: async (store, args, runtimeId) => ({
    ok: await store.replaceSessionSnapshotIfCurrent(
      runtimeId,
      bytesOf(args, "expected_current"),
      bytesOf(args, "replacement"),
    ),
  }),
  clear_session_snapshot_if_current: async (store, args, runtimeId) => ({
    ok: await store.clearSessionSnapshotIfCurrent(runtimeId, bytesOf(args, "expected_current")),
  }),
  async persist_input_state(store, args, runtimeId) {
    await store.persistInputState(runtimeId, readInputState(textOf(args, "input")));
    return NOTHING;
  },
  load_input_state: async (store, args, runtimeId) =>
    written(await store.loadInputState(runtimeId, textOf(args, "input_id")), writeInputState),
  load_input_states: async (store, _args, runtimeId) => ({
    ok: (await store.loadInputStates(runtimeId)).map((row) => writeInputState(row).toString()),
  }),
  load_boundary_receipt: async (store, args, runtimeId) =>
    written(
      await store.loadBoundaryReceipt(runtimeId, textOf(args, "run_id"), BigInt(textOf(args, "sequence"))),
      writeReceipt,
    ),
  async commit_machine_lifecycle(store, args, runtimeId) {
    const { runtime_state, binding } = args["commit"] as { runtime_state: unknown; binding: Record<string, unknown> };
    const commit = lifecycleOf(binding, runtime_state);
    assert.equal(writeMachineLifecycle(commit).toString(), textOf(args, "record"));
    await store.commitMachineLifecycle(runtimeId, commit, rowsOf(args));
    return NOTHING;
  },
  load_machine_lifecycle_record: async (store, _args, runtimeId) => {
    const record = await store.loadMachineLifecycleRecord(runtimeId);
    return written(record && decodeLifecycleRecord(record), writeMachineLifecycle);
  },
  async load_runtime_state(store, _args, runtimeId) {
    const state = await loadRuntimeState(store, runtimeId);
    return { ok: state ?? null };
  },
  async persist_ops_lifecycle(store, args, runtimeId) {
    await store.persistOpsLifecycle(runtimeId, readOpsSnapshot(textOf(args, "snapshot")));
    return NOTHING;
  },
  load_ops_lifecycle: async (store, _args, runtimeId) =>
    written(await store.loadOpsLifecycle(runtimeId), (snapshot) => sorted(writeOpsSnapshot(snapshot))),
  async delete_ops_lifecycle(store, _args, runtimeId) {
    await store.deleteOpsLifecycle(runtimeId);
    return NOTHING;
  },
  async persist_auth_oauth_flow_snapshot(store, args) {
    await store.persistAuthOauthFlowSnapshot(bytesOf(args, "snapshot"));
    return NOTHING;
  },
  load_auth_oauth_flow_snapshot: async (store) => ({ ok: loadedText(await store.loadAuthOauthFlowSnapshot()) }),
  async update_auth_oauth_flow_snapshot(store, args) {
    let calls = 0;
    let seen: TraceResult["seen"] = null;
    const result = await resultOf(async () => {
      await store.updateAuthOauthFlowSnapshot((current) => {
        calls += 1;
        seen = loadedText(current);
        return nextFlow(args, current);
      });
      return NOTHING;
    });
    return { ...result, calls, seen };
  },
  auth_authority_key: (store) => Promise.resolve({ ok: { present: store.authAuthorityKey() !== undefined } }),
};

/** The closure of an OAuth update: checks the current bytes as the step requires, then throws or returns the new bytes. */
function nextFlow(args: TraceArgs, current: Uint8Array | undefined): Buffer {
  const expected = hasArgument(args, "expect_current") ? bytesOf(args, "expect_current") : undefined;
  const missed =
    args["expect_absent"] === true ? current !== undefined : expected && !(current && expected.equals(current));
  if (missed) throw new StoreError("Internal", "INTERNAL", "expect_current mismatch");
  const fail = args["fail"] as { variant: StoreErrorVariant; text: string } | undefined;
  if (fail) throw new StoreError(fail.variant, "INTERNAL", fail.text);
  return bytesOf(args, "set");
}

/** Makes the call of one step. A refusal of the store is a result; any other error is thrown. */
export function playStep(store: RuntimeStore, step: TraceStep): Promise<TraceResult> {
  const operation = OPERATIONS[step.op];
  assert.ok(operation, `expected a store call that the player supports, found ${step.op}: add it to OPERATIONS`);
  return resultOf(() => operation(store, step.args, step.runtime_id ?? ""));
}

async function resultOf(call: () => Promise<TraceResult>): Promise<TraceResult> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const { expected, actual } = error.subject;
    const facts = { ...(expected === undefined ? {} : { expected }), ...(actual === undefined ? {} : { actual }) };
    return { err: { variant: error.variant, text: error.message, ...facts } };
  }
}
