import {
  type Call,
  type InputStatePiece,
  type Limits,
  OutcomeUnknownError,
  type RuntimeId,
  STORE_ERROR_REASONS,
  StoreError,
  type StoredInputState,
  type VersionedStore,
  writeFailed,
} from "@bolthole/contract";
import { MAX_UPLOADED_STATES, encodeInputState, inAscendingOrder, inputStateBytes } from "@bolthole/contract/wire";

/** The limits of input rows, as the daemon advertises them. */
export interface RowLimits extends Pick<
  Limits,
  "inputRowBytes" | "batchRows" | "inputUploadRows" | "inputUploadBytes"
> {
  /** The size in bytes of the rows above which they are uploaded before the request that names the upload. */
  readonly rowsAbove: number;
}

/** The estimated size of a row without its texts. */
const ROW_BYTES = 512;
/** The estimated size of one entry of a row's history. */
const ENTRY_BYTES = 128;
/** The size of an id in a list. */
const ID_BYTES = 40;
/** A message of an upload has about this many bytes of rows. A row above it is sent alone. */
const MESSAGE_BYTES = 256 * 1024;
/** A row above this is sent in pieces of this size: one message of it would block the connection and both processes. */
const PIECE_BYTES = 1024 * 1024;

/** The estimated size of a row in a message. Its canonical JSON has about the same size. */
function estimatedBytes(row: StoredInputState): number {
  const { persistedInput = "", idempotencyKey = "", history, reconstructionSource } = row;
  let bytes = ROW_BYTES + history.length * ENTRY_BYTES;
  if (reconstructionSource?.kind === "coalescing") bytes += reconstructionSource.sourceInputIds.length * ID_BYTES;
  if (reconstructionSource?.kind === "projection") {
    bytes += Buffer.byteLength(reconstructionSource.ruleId) + Buffer.byteLength(reconstructionSource.sourceEventId);
  }
  for (const { reason = "" } of history) bytes += Buffer.byteLength(reason);
  return bytes + Buffer.byteLength(persistedInput) + Buffer.byteLength(idempotencyKey);
}

const totalBytes = (rows: readonly StoredInputState[]): number =>
  rows.reduce((total, row) => total + estimatedBytes(row), 0);

/** Whether rows must be uploaded, because one request cannot carry them. A daemon without uploads has a limit of 0 rows. */
export const needUpload = (
  { batchRows, inputUploadRows, rowsAbove }: RowLimits,
  rows: readonly StoredInputState[],
): boolean => inputUploadRows > 0 && (rows.length > batchRows || totalBytes(rows) > rowsAbove);

/** The most bytes of UTF-8 for one unit of a string. */
const UNIT_BYTES = 3;

/** Throws TOO_LARGE for a row that the daemon would refuse, before anything is sent. `fieldOf` names a row of the request. */
export function refuseLargeRows(
  { inputRowBytes }: RowLimits,
  rows: readonly StoredInputState[],
  fieldOf: (index: number) => string,
): void {
  for (const [index, row] of rows.entries()) {
    // All rows pass here at each boundary, so the canonical JSON is made only for a row that may be above the limit.
    if (ROW_BYTES + UNIT_BYTES * (row.persistedInput?.length ?? 0) <= inputRowBytes) continue;
    if (estimatedBytes(row) <= inputRowBytes) continue;
    const bytes = inputStateBytes(row);
    if (bytes === undefined || bytes <= inputRowBytes) continue;
    const remedy = "store a shorter payload, or raise the daemon's --max-input-row-size";
    throw tooLarge(fieldOf(index), bytes, inputRowBytes, "bytes", remedy);
  }
}

/** Throws TOO_LARGE for rows that no upload can carry, before anything is sent. `field` names all rows of the request. */
function refuseLargeUpload(
  { inputUploadRows, inputUploadBytes }: RowLimits,
  rows: readonly StoredInputState[],
  field: string,
): void {
  if (rows.length > inputUploadRows) {
    const remedy = "write the rows in several calls, or raise the daemon's --max-input-upload-rows";
    throw tooLarge(field, rows.length, inputUploadRows, "rows", remedy);
  }
  const bytes = totalBytes(rows);
  if (bytes <= inputUploadBytes) return;
  const remedy = "write the rows in several calls, or raise the daemon's --max-input-upload-size";
  throw tooLarge(field, bytes, inputUploadBytes, "bytes", remedy);
}

function tooLarge(field: string, actual: number, limit: number, unit: string, remedy: string): StoreError {
  const text = `${field}: ${String(actual)} ${unit} are more than the limit of ${String(limit)}; nothing was sent; ${remedy}`;
  return writeFailed("TOO_LARGE", text, {
    record: field,
    expected: `at most ${String(limit)} ${unit}`,
    actual: `${String(actual)} ${unit}`,
  });
}

/** The most uploads for one call. Each but the last met a runtime whose rows were written meanwhile. */
const MAX_UPLOADS = 5;

/** The ids of a request that names an upload. */
export interface UploadedRows {
  readonly inputUploadId: string;
  /** The caller's, or that of an earlier attempt with an unknown outcome, so that the change is applied once. */
  readonly requestId: string | undefined;
}

/** One mutation whose rows are uploaded. */
export interface UploadedChange<Response> {
  readonly store: VersionedStore;
  readonly runtimeId: RuntimeId;
  /** The caller's own request id. */
  readonly requestId: string | undefined;
  readonly rows: readonly StoredInputState[];
  /** Returns the name of a row in the caller's request. */
  readonly fieldOf: (index: number) => string;
  /** The name of all rows. */
  readonly field: string;
  readonly limits: RowLimits;
  readonly call: Call;
  commit(uploaded: UploadedRows): Promise<Response>;
}

/**
 * Uploads rows and commits them. When the daemon does not know the upload any more, because other rows of the runtime were
 * written or because it was restarted, the rows are uploaded again, and the commit is repeated. Throws BUSY when this happens
 * too often.
 *
 * When the outcome of a commit is unknown, it is repeated once under the same request id. Then only a refusal that the daemon
 * makes after it looked for the outcome of the request id is final. Any other failure throws the `OutcomeUnknownError`.
 */
export async function commitUploaded<Response>(change: UploadedChange<Response>): Promise<Response> {
  refuseLargeUpload(change.limits, change.rows, change.field);
  let { requestId } = change;
  let unknown: OutcomeUnknownError | undefined;
  for (let attempt = 1; ; attempt += 1) {
    let inputUploadId: string;
    try {
      inputUploadId = await uploadRows(change);
    } catch (error) {
      throw unknown ?? error;
    }
    try {
      return await change.commit({ inputUploadId, requestId });
    } catch (error) {
      if (error instanceof OutcomeUnknownError) {
        // A repeated request may have been refused only because the first one used the upload.
        const isOver = change.call.signal?.aborted === true || Date.now() >= (change.call.deadline ?? Infinity);
        if (unknown || isOver) throw error;
        unknown = error;
        ({ requestId } = error);
        continue;
      }
      if (!isUnknownUpload(error)) throw unknown && !isFinal(error) ? unknown : error;
      if (attempt < MAX_UPLOADS) continue;
      if (unknown) throw unknown;
      const text = `the rows of the runtime were written by others during each of ${String(MAX_UPLOADS)} uploads; try again`;
      throw writeFailed("BUSY", text, { runtimeId: change.runtimeId, cause: error });
    }
  }
}

const isFinal = (error: unknown): boolean =>
  error instanceof StoreError && STORE_ERROR_REASONS[error.reason].isAfterLookup;

const isUnknownUpload = (error: unknown): boolean =>
  error instanceof StoreError && error.reason === "UPLOAD_UNKNOWN" && error.subject.record === "input_upload_id";

async function uploadRows<Response>({
  store,
  runtimeId,
  rows,
  fieldOf,
  call,
}: UploadedChange<Response>): Promise<string> {
  const { ordered, indexes } = inAscendingOrder(rows);
  // An iterable and not a generator, so that a lost upload can be sent again.
  const parts = { [Symbol.asyncIterator]: () => partsOf(ordered) };
  try {
    return await store.uploadInputStates({ runtimeId, rowCount: ordered.length, parts }, call);
  } catch (error) {
    throw inCallersTerms(error, (index) => fieldOf(indexes[index] ?? index));
  }
}

/** Returns the error of an upload with the name that the row has in the caller's request. */
function inCallersTerms(error: unknown, fieldOf: (index: number) => string): unknown {
  if (!(error instanceof StoreError) || error.reason === "OUTCOME_UNKNOWN") return error;
  const { record = "" } = error.subject;
  const [name, index] = /^states\[(\d+)\]/.exec(record) ?? [];
  if (name === undefined) return error;
  const field = fieldOf(Number(index));
  const subject = { ...error.subject, record: record.replace(name, field), cause: error };
  return new StoreError(error.variant, error.reason, error.text.replaceAll(name, field), subject);
}

// eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, the rows are in memory
async function* partsOf(
  rows: readonly StoredInputState[],
): AsyncGenerator<readonly StoredInputState[] | InputStatePiece> {
  let states: StoredInputState[] = [];
  let bytes = 0;
  for (const row of rows) {
    const size = estimatedBytes(row);
    if (states.length > 0 && (bytes + size > MESSAGE_BYTES || states.length === MAX_UPLOADED_STATES)) {
      yield states;
      states = [];
      bytes = 0;
    }
    if (size > PIECE_BYTES) {
      const message = encodeInputState(row);
      for (let at = 0; at < message.length; at += PIECE_BYTES) {
        yield { length: message.length, bytes: message.subarray(at, at + PIECE_BYTES) };
      }
      continue;
    }
    states.push(row);
    bytes += size;
  }
  if (states.length > 0) yield states;
}
