import type { UpdatedOauth, Versioned, VersionedStore } from "@bolthole/contract";
import { MACHINE_LIFECYCLE_RECORD_VERSION, StoreError, readFailed, writeFailed } from "@bolthole/contract";
import { inspectLifecycleRecord } from "@bolthole/contract/wire";
import type { AnyMutation, Change } from "../commit/committer.js";
import type { RequestArguments } from "../commit/fingerprint.js";
import { ReadSet } from "../commit/row.js";
import type { RowKey } from "../engine.js";
import { type StoreContext, loadRow, versionOf } from "../store-context.js";
import { checkRuntimeId, checkSize, checkStoredRuntimeId, invalid } from "../validate.js";
import { commitInputs, unchangedArguments, withInputs } from "./inputs.js";

/*
 * The records of rows that a runtime, or the store, has once: the machine lifecycle, the OAuth flows.
 */

type RecordOperations = Pick<
  VersionedStore,
  | "loadMachineLifecycleRecord"
  | "commitMachineLifecycle"
  | "authAuthorityKey"
  | "persistAuthOauthFlowSnapshot"
  | "loadAuthOauthFlowSnapshot"
  | "updateAuthOauthFlowSnapshot"
>;

const OAUTH_KEY = { table: "oauth" } as const;

export const recordOperations = (context: StoreContext): RecordOperations => ({
  async loadMachineLifecycleRecord(request) {
    const runtimeId = checkStoredRuntimeId(request.runtimeId, readFailed);
    return loadRow(context, { table: "lifecycle", runtimeId }, (value) => value);
  },

  async commitMachineLifecycle(request) {
    const runtimeId = checkRuntimeId(request.runtimeId, context.limits);
    const { record } = request;
    checkLifecycleRecord(record);
    const sent = { states: request.inputStates, uploadId: request.inputUploadId, field: "input_states" };
    return withInputs(context, request, sent, (inputs) => {
      const reads = new ReadSet();
      const lifecycle = { handle: reads.add({ table: "lifecycle", runtimeId }), value: record };
      const edits = [lifecycle, ...inputs.edits(reads)];
      return commitInputs(context, inputs, {
        method: "CommitMachineLifecycle",
        request,
        args: {
          record,
          unchangedInputs: unchangedArguments(request.unchangedInputs),
          inputStates: inputs.rowArguments,
          inputUploadId: inputs.uploadArguments,
        },
        inputIds: inputs.ids,
        reads,
        bytes: record.length + inputs.bytes,
        decide: () => edits,
      });
    });
  },

  authAuthorityKey: () => Promise.resolve(`bolthole:${context.engine.storeId}`),

  async persistAuthOauthFlowSnapshot(request) {
    const { snapshot } = request;
    checkSize(snapshot.length, context.limits.oauthSnapshotBytes, "snapshot", writeFailed);
    const change = replacement("PersistAuthOauthFlowSnapshot", request, { snapshot }, OAUTH_KEY, snapshot);
    return context.committer.commit(change);
  },

  loadAuthOauthFlowSnapshot: () => loadOauth(context),

  async updateAuthOauthFlowSnapshot(request): Promise<UpdatedOauth> {
    const { snapshot, expected } = request;
    checkSize(snapshot.length, context.limits.oauthSnapshotBytes, "snapshot", writeFailed);
    const reads = new ReadSet();
    const handle = reads.add(OAUTH_KEY);
    const committed = await context.committer.commitIfCurrent({
      method: "UpdateAuthOauthFlowSnapshot",
      request,
      args: { expected, snapshot },
      reads,
      bytes: snapshot.length,
      decide: (rows) => {
        const row = rows.get(handle);
        return (row && versionOf(context, row)) === expected ? [{ handle, value: snapshot }] : undefined;
      },
    });
    if (committed) return { ...committed, updated: true };
    return { updated: false, current: await loadOauth(context) };
  },
});

const loadOauth = (context: StoreContext): Promise<Versioned<Uint8Array> | undefined> =>
  loadRow(context, OAUTH_KEY, (value) => value);

/** Returns a change that replaces or deletes one row, whatever is stored. */
export function replacement<R extends AnyMutation>(
  method: string,
  request: R,
  args: RequestArguments<NoInfer<R>>,
  key: RowKey,
  value: Uint8Array | undefined,
): Change<R> {
  const reads = new ReadSet();
  const edits = [{ handle: reads.add(key), value }];
  return { method, request, args, reads, bytes: value?.length ?? 0, decide: () => edits };
}

/** Returns the facts of a record in a request, whose bytes may be anything. */
function inspected(record: Uint8Array): ReturnType<typeof inspectLifecycleRecord> {
  try {
    return inspectLifecycleRecord(record);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    throw invalid(writeFailed, "record", "the bytes of a MachineLifecycleRecord message", "other bytes");
  }
}

/** What a writer has to do that has left the version out. */
const NOT_SET = `: set record_version to ${String(MACHINE_LIFECYCLE_RECORD_VERSION)}`;

/** Refuses a lifecycle record of another version than 1, or of an unknown state. Its bytes are stored unchanged (contract 3.3). */
export function checkLifecycleRecord(record: Uint8Array): void {
  const { recordVersion, runtimeState } = inspected(record);
  if (recordVersion !== MACHINE_LIFECYCLE_RECORD_VERSION) {
    throw writeFailed(
      "UNSUPPORTED_RECORD_VERSION",
      `unsupported machine lifecycle store record version ${String(recordVersion)}${recordVersion === 0 ? NOT_SET : ""}`,
      {
        record: "record.record_version",
        expected: String(MACHINE_LIFECYCLE_RECORD_VERSION),
        actual: String(recordVersion),
      },
    );
  }
  if (runtimeState === undefined) throw invalid(writeFailed, "record.runtime_state", "a known runtime state");
}
