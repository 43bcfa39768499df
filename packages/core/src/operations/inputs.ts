import type { RuntimeId, RuntimeMutation, StoredInputState, UnchangedInputs, VersionedStore } from "@bolthole/contract";
import { readFailed, writeFailed } from "@bolthole/contract";
import type { Change, Committed, InputIds, Repeatable, RowEdit } from "../commit/committer.js";
import { type Argument, argumentsOf } from "../commit/fingerprint.js";
import { ReadSet } from "../commit/row.js";
import { type InputRows, inputRowsYielding, singleInputRow } from "../input-rows/checked-rows.js";
import { loadInput, loadInputs } from "../input-rows/input-load.js";
import { type InputUpload, unknownUpload } from "../input-rows/input-uploads.js";
import type { StoreContext } from "../store-context.js";
import { checkRuntimeId, checkStoredRuntimeId, invalid, parseUuid } from "../validate.js";

type InputOperations = Pick<
  VersionedStore,
  "persistInputState" | "loadInputState" | "loadInputStates" | "uploadInputStates"
>;

export const inputOperations = (context: StoreContext): InputOperations => ({
  async persistInputState(request) {
    const runtimeId = checkRuntimeId(request.runtimeId, context.limits);
    const { state, inputUploadId } = request;
    const commit = (inputs: RequestInputs): Promise<Committed> => {
      if (inputUploadId !== undefined && inputs.ids.length !== 1) {
        throw invalid(writeFailed, "input_upload_id", "an upload of one row", `${String(inputs.ids.length)} rows`);
      }
      const reads = new ReadSet();
      const edits = inputs.edits(reads);
      return commitInputs(context, inputs, {
        method: "PersistInputState",
        request,
        args: { state: inputs.rowArguments, inputUploadId: inputs.uploadArguments },
        inputIds: inputs.ids,
        reads,
        bytes: inputs.bytes,
        decide: () => edits,
      });
    };
    if (inputUploadId !== undefined) {
      return withUpload(context, runtimeId, inputUploadId, state === undefined ? undefined : "state", commit);
    }
    if (state === undefined) throw invalid(writeFailed, "state", "a value", "none");
    const row = singleInputRow({ ...context, runtimeId }, state, "state");
    return commit(inputsOf(row instanceof Promise ? await context.committer.pendingDuring(request, () => row) : row));
  },

  async uploadInputStates(request) {
    const runtimeId = checkRuntimeId(request.runtimeId, context.limits);
    return context.inputUploads.receive({ ...request, runtimeId });
  },

  async loadInputState(request) {
    const runtimeId = checkStoredRuntimeId(request.runtimeId, readFailed);
    const inputId = parseUuid(request.inputId, "input_id", readFailed);
    return loadInput(context, { table: "input", runtimeId, inputId });
  },

  async loadInputStates({ runtimeId, eachOutcome = false }) {
    return loadInputs(context, checkStoredRuntimeId(runtimeId, readFailed), eachOutcome);
  },
});

/** The input rows of a mutation, which has them itself or names an upload. */
export interface RequestInputs {
  readonly ids: InputIds;
  /** The rows of the request for its fingerprint. */
  readonly rowArguments: readonly Argument[];
  /** The content of the upload for the fingerprint: no argument without an upload, as before there were any. */
  readonly uploadArguments: readonly Argument[];
  /** The size of the rows that are written one by one. */
  readonly bytes: number;
  readonly upload: InputUpload | undefined;
  /** Returns an edit of each row of the request, whatever is stored: any phase may overwrite any other (contract 5.4). */
  edits(reads: ReadSet): RowEdit[];
}

function inputsOf({ rows, bytes }: InputRows): RequestInputs {
  return {
    ids: rows.map(({ key }) => key.inputId),
    rowArguments: rows.map(({ value }) => value),
    uploadArguments: [],
    bytes,
    upload: undefined,
    edits: (reads) => rows.map(({ key, value }) => ({ handle: reads.add(key), value })),
  };
}

/** The fields of a mutation that have its input rows, or name their upload. */
interface SentInputs {
  readonly states: readonly StoredInputState[];
  readonly uploadId: string | undefined;
  /** The name of the field of `states`. */
  readonly field: string;
}

/** Runs a mutation with its input rows, checked and in canonical JSON. */
export async function withInputs(
  context: StoreContext,
  request: RuntimeMutation,
  { states, uploadId, field }: SentInputs,
  commit: (inputs: RequestInputs) => Promise<Committed>,
): Promise<Committed> {
  const { runtimeId } = request;
  if (uploadId !== undefined) {
    return withUpload(context, runtimeId, uploadId, states.length === 0 ? undefined : field, commit);
  }
  const fieldOf = (index: number): string => `${field}[${String(index)}]`;
  const rows = await context.committer.pendingDuring(request, () =>
    inputRowsYielding({ ...context, runtimeId }, states, fieldOf),
  );
  return commit(inputsOf(rows));
}

async function withUpload(
  { inputUploads }: StoreContext,
  runtimeId: RuntimeId,
  uploadId: string,
  /** The field that has rows too, if there is one. */
  otherField: string | undefined,
  commit: (inputs: RequestInputs) => Promise<Committed>,
): Promise<Committed> {
  if (otherField !== undefined) throw invalid(writeFailed, otherField, "no rows beside input_upload_id", "rows");
  return inputUploads.using(runtimeId, uploadId, (upload) =>
    commit({
      ids: upload.inputIds,
      rowArguments: [],
      uploadArguments: [upload.digest],
      bytes: 0,
      upload,
      edits: () => [],
    }),
  );
}

/** Commits a change without a session document. A used upload is only good for the response of the commit that used it. */
export async function commitInputs<R extends RuntimeMutation>(
  context: StoreContext,
  inputs: RequestInputs,
  change: Change<R>,
): Promise<Committed> {
  const { upload } = inputs;
  if (!upload) return context.committer.commit(change);
  if (!upload.merged) return firstResponse(context, upload, change);
  return context.committer.commit({ ...change, rowSet: upload.merged });
}

/** Returns the response of the commit that used an upload. Throws UPLOAD_UNKNOWN for any other request. */
export async function firstResponse<R extends RuntimeMutation>(
  { committer }: StoreContext,
  { runtimeId, id }: InputUpload,
  request: Repeatable<R>,
): Promise<Committed> {
  const committed = await committer.replayed(request);
  if (!committed) throw unknownUpload(runtimeId, id, " any more, because a commit has used it");
  return committed;
}

export const unchangedArguments = (unchanged: UnchangedInputs | undefined): Argument[] =>
  argumentsOf<UnchangedInputs>({ inputsVersion: unchanged?.inputsVersion });
