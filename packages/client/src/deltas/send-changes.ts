import { createHash } from "node:crypto";
import { setImmediate as yieldToEventLoop } from "node:timers/promises";
import { crc32 } from "node:zlib";
import {
  type Call,
  type Committed,
  type CommittedInputs,
  type DocumentRecord,
  type ExpectedSnapshot,
  type OpsDelta,
  type PersistOpsLifecycle,
  type RuntimeId,
  type RuntimeMutation,
  type SessionChange,
  type SnapshotPatch,
  StoreError,
  type StoreErrorReason,
  type StoredInputState,
  type UnchangedInputs,
  type Version,
  type VersionedStore,
  writeFailed,
} from "@bolthole/contract";
import type { CachedDocument, DocumentCache } from "./document-cache.js";
import { type PatchLimits, createPatch } from "./document-diff.js";
import { CachedRows, type InputRowCache, type OutgoingRows } from "./input-row-cache.js";
import { type RowLimits, type UploadedRows, commitUploaded, needUpload, refuseLargeRows } from "./input-uploads.js";
import type { RetryCache } from "./retry-cache.js";

/**
 * Everything that is needed to send a change instead of the whole value.
 *
 * Three rules keep this safe:
 *
 * - A refused request has changed nothing. So when a request is refused because a cache was out of date, it is sent
 *   again in full, under a new request id.
 * - After a request with an unknown outcome, no other request is sent for the same call. Only uploaded input rows are
 *   uploaded once more, and the same change is sent under the same request id (see `commitUploaded`).
 * - A caller that passes a request id will repeat the call with it, perhaps from another process, and only an equal
 *   request gets the first response. So its request is sent in full, whatever the caches hold. If the id is that of a
 *   request of this client whose outcome is unknown, the request is sent in the same form again (see `RetryCache`).
 *   All requests of the call have the caller's id, and the daemon applies an id once.
 */
export interface DeltaContext {
  readonly store: VersionedStore;
  readonly documentCache: DocumentCache;
  readonly opsCache: DocumentCache;
  readonly inputRowCache: InputRowCache;
  readonly retryCache: RetryCache;
  readonly patchLimits: PatchLimits;
  /** The size limit of an operation snapshot in bytes. */
  readonly operationSnapshotBytes: number;
  readonly rowLimits: RowLimits;
  /** The limits of a request with one row and nothing else. */
  readonly singleRowLimits: RowLimits;
  /** The size in bytes above which a document is uploaded before the request that names it. Also the chunk limit. */
  readonly uploadAbove: number;
}

type Commit<Change, Response> = (change: Change) => Promise<Response>;

/** A whole document of the caller, and the forms in which it may be sent. */
interface WholeDocument<Change> {
  readonly bytes: Uint8Array;
  readonly record: DocumentRecord;
  readonly cache: DocumentCache;
  readonly whole: Change;
  readonly patched: (patch: SnapshotPatch) => Change;
  readonly uploaded: (uploadId: string) => Change;
}

/** Commits a session document by the rules of `sendWhole`. A patch or upload of the caller's own is passed on unchanged. */
export async function sendDocument<Response extends Committed | undefined>(
  context: DeltaContext,
  request: RuntimeMutation,
  change: SessionChange,
  call: Call,
  commit: Commit<SessionChange, Response>,
): Promise<Response> {
  const { documentCache } = context;
  if (!("sessionSnapshot" in change)) {
    const response = await commit(change);
    if (response) documentCache.forget(request.runtimeId);
    return response;
  }
  const { sessionSnapshot, profile } = change;
  const document: WholeDocument<SessionChange> = {
    bytes: sessionSnapshot,
    record: "session_snapshot",
    cache: documentCache,
    whole: change,
    patched: (patch) => ({ patch, profile }),
    uploaded: (uploadId) => ({ uploadId, profile }),
  };
  return sendWhole(context, request, document, call, commit);
}

/**
 * Commits the JSON of an operation snapshot by the rules of `sendWhole`. A value, and a patch or upload of the caller's own, is
 * passed on unchanged. Throws TOO_LARGE before anything is sent.
 */
export async function sendOps(context: DeltaContext, request: PersistOpsLifecycle, call: Call): Promise<Committed> {
  const { store, opsCache } = context;
  const { opsDelta } = request;
  if (!opsDelta || !("opsSnapshot" in opsDelta)) {
    const response = await store.persistOpsLifecycle(request, call);
    opsCache.forget(request.runtimeId);
    return response;
  }
  const { opsSnapshot } = opsDelta;
  refuseLargerOps(opsSnapshot.length, context.operationSnapshotBytes);
  const document: WholeDocument<OpsDelta> = {
    bytes: opsSnapshot,
    record: "ops_lifecycle",
    cache: opsCache,
    whole: opsDelta,
    patched: (patch) => ({ patch }),
    uploaded: (uploadId) => ({ uploadId }),
  };
  return sendWhole(context, request, document, call, (sent) =>
    store.persistOpsLifecycle({ ...request, opsDelta: sent }, call),
  );
}

function refuseLargerOps(actual: number, limit: number): void {
  if (actual <= limit) return;
  const text = `ops_delta: ${String(actual)} bytes are more than the limit of ${String(limit)}`;
  throw writeFailed("TOO_LARGE", text, {
    record: "ops_delta",
    expected: `at most ${String(limit)} bytes`,
    actual: `${String(actual)} bytes`,
  });
}

/**
 * Commits a document as a patch of the cached one, or in full. Holds it in its cache when `commit` returned a response;
 * undefined means that nothing was changed.
 */
async function sendWhole<Change, Response extends Committed | undefined>(
  context: DeltaContext,
  request: RuntimeMutation,
  document: WholeDocument<Change>,
  call: Call,
  commit: Commit<Change, Response>,
): Promise<Response> {
  const { retryCache } = context;
  const { runtimeId, requestId } = request;
  const { bytes, cache } = document;
  // Computed before sending: the caller may change these bytes while it waits for the response.
  const checksum = crc32(bytes);
  let response = await commitPatch(context, request, document, checksum, commit);
  if (response === "not patched") {
    const isSmall = bytes.length <= context.uploadAbove;
    response = await (isSmall
      ? commitInForm(context, {}, document.whole, commit)
      : commitUpload(context, request, document, call, commit));
  }
  retryCache.forget(requestId);
  if (response) cache.put(runtimeId, response.version, [bytes], checksum);
  return response;
}

/** Returns "not patched" when no patch can be made, or when the daemon refused the patch because of its base. */
async function commitPatch<Change, Response>(
  context: DeltaContext,
  request: RuntimeMutation,
  { bytes, cache, patched }: WholeDocument<Change>,
  checksum: number,
  commit: Commit<Change, Response>,
): Promise<Response | "not patched"> {
  const { inputRowCache, retryCache, patchLimits } = context;
  const { runtimeId, requestId } = request;
  const base = requestId === undefined ? cache.get(runtimeId) : retryCache.formOf(requestId)?.base;
  const patch = base && createPatch(base, bytes, checksum, patchLimits);
  if (!patch) return "not patched";
  try {
    return await commitInForm(context, { base }, patched(patch), commit);
  } catch (error) {
    if (!isRefusedPatch(error)) throw error;
    cache.forget(runtimeId);
    // Another client has written to this runtime, so its rows may have changed too.
    inputRowCache.forget(runtimeId);
    retryCache.forget(requestId);
    return "not patched";
  }
}

/** Whether another base is stored, or the patch does not fit the base. */
const isRefusedPatch = (error: unknown): boolean => isRefused(error, "BASE_NOT_CURRENT", /^(\w+\.)?patch\b/);

async function commitUpload<Change, Response>(
  context: DeltaContext,
  { runtimeId, requestId }: RuntimeMutation,
  document: WholeDocument<Change>,
  call: Call,
  commit: Commit<Change, Response>,
): Promise<Response> {
  const commitAs = (uploadId: string): Promise<Response> =>
    commitInForm(context, { uploadId }, document.uploaded(uploadId), commit);
  const upload = (): Promise<string> => uploadDocument(context, runtimeId, document, call);
  try {
    return await commitAs(context.retryCache.formOf(requestId)?.uploadId ?? (await upload()));
  } catch (error) {
    // The daemon was restarted between the upload and the commit, or the upload has expired.
    if (!(error instanceof StoreError && error.reason === "UPLOAD_UNKNOWN")) throw error;
    return commitAs(await upload());
  }
}

/** Commits a document in one form. Records the form when the outcome is unknown. */
async function commitInForm<Change, Response>(
  { retryCache }: DeltaContext,
  { base, uploadId }: { readonly base?: CachedDocument; readonly uploadId?: string },
  change: Change,
  commit: Commit<Change, Response>,
): Promise<Response> {
  try {
    return await commit(change);
  } catch (error) {
    retryCache.record(error, { base, uploadId });
    throw error;
  }
}

const CHUNK_BYTES = 256 * 1024;
/** How many bytes are hashed before the event loop may run: a few milliseconds. */
const YIELD_BYTES = 4 * 1024 * 1024;

/** Uploads a document in chunks. Returns the upload id, which a later mutation may name instead of the document. */
async function uploadDocument(
  { store, uploadAbove }: DeltaContext,
  runtimeId: RuntimeId,
  { bytes, record }: Pick<WholeDocument<never>, "bytes" | "record">,
  call: Call,
): Promise<string> {
  const sha256 = await sha256Yielding(bytes);
  // An iterable and not a generator, so that a lost upload can be sent again.
  const chunks = { [Symbol.asyncIterator]: () => chunksOf(bytes, Math.min(CHUNK_BYTES, uploadAbove)) };
  return store.uploadSessionSnapshot({ runtimeId, record, length: bytes.length, sha256, chunks }, call);
}

// eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, the bytes are in memory
async function* chunksOf(document: Uint8Array, length: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < document.length; at += length) yield document.subarray(at, at + length);
}

async function sha256Yielding(document: Uint8Array): Promise<Uint8Array> {
  const digest = createHash("sha256");
  for await (const chunk of chunksOf(document, YIELD_BYTES)) {
    digest.update(chunk);
    await yieldToEventLoop();
  }
  return digest.digest();
}

/**
 * Sends an expected document as its version if it is the cached one: then neither side has to hash it.
 *
 * When the daemon reports that this version is not current, the same bytes may be current at another version. The request
 * has changed nothing and no outcome was stored, so it is sent again with the hash.
 */
export async function sendExpected<Response extends Committed>(
  { documentCache, retryCache }: DeltaContext,
  { runtimeId, requestId, expected }: RuntimeMutation & { readonly expected: ExpectedSnapshot },
  commit: (expected: ExpectedSnapshot) => Promise<Response | undefined>,
): Promise<Response | undefined> {
  if (!("document" in expected)) return commit(expected);
  const attempt = async (
    sent: ExpectedSnapshot,
    expectedVersion: Version | undefined,
  ): Promise<Response | undefined> => {
    try {
      return await commit(sent);
    } catch (error) {
      retryCache.record(error, { expectedVersion });
      throw error;
    }
  };
  const version =
    requestId === undefined
      ? documentCache.versionOf(runtimeId, expected.document)
      : retryCache.formOf(requestId)?.expectedVersion;
  const byVersion = version === undefined ? undefined : await attempt({ version }, version);
  const response = byVersion ?? (await attempt(expected, undefined));
  retryCache.forget(requestId);
  return response;
}

/** The input rows of a request as they are sent. With an upload, `rows` is empty. */
export interface SentRows extends Partial<UploadedRows> {
  readonly rows: readonly StoredInputState[];
  readonly unchangedInputs: UnchangedInputs | undefined;
}

/** The input rows of a caller's request. */
export interface CallersRows {
  readonly rows: readonly StoredInputState[];
  /** The name of their field. */
  readonly field: string;
  /** An upload of the caller's own, which is passed on unchanged. */
  readonly inputUploadId: string | undefined;
}

/**
 * Sends the input rows that are not cached in the same form. Sends all rows when the cache turns out to be out of date. Rows
 * that are too many or too long for one request are uploaded first.
 */
export async function sendInputs(
  context: DeltaContext,
  request: RuntimeMutation & { readonly unchangedInputs?: UnchangedInputs | undefined },
  { rows, field, inputUploadId }: CallersRows,
  call: Call,
  commit: (sent: SentRows) => Promise<CommittedInputs>,
): Promise<CommittedInputs> {
  const { inputRowCache, rowLimits, retryCache } = context;
  const { runtimeId, requestId } = request;
  if (inputUploadId !== undefined) {
    const response = await commit({ rows, unchangedInputs: request.unchangedInputs, inputUploadId });
    inputRowCache.forget(runtimeId);
    return response;
  }
  const fieldOf = (index: number): string => `${field}[${String(index)}]`;
  refuseLargeRows(rowLimits, rows, fieldOf);
  const send = (sent: readonly StoredInputState[], unchangedInputs: UnchangedInputs | undefined) => {
    if (!needUpload(rowLimits, sent)) return commit({ rows: sent, unchangedInputs });
    return commitUploaded({
      store: context.store,
      runtimeId,
      requestId,
      rows: sent,
      fieldOf,
      field,
      limits: rowLimits,
      call,
      commit: (uploaded) => commit({ rows: [], unchangedInputs, ...uploaded }),
    });
  };
  const attempt = async ({ sent, unchangedInputs, omitted, complete }: OutgoingRows): Promise<CommittedInputs> => {
    try {
      const response = complete(await send(sent, unchangedInputs));
      retryCache.forget(requestId);
      return response;
    } catch (error) {
      const isSplit = omitted.length > 0;
      retryCache.record(error, {
        omittedRows: isSplit ? CachedRows.of(omitted) : undefined,
        unchangedInputs: isSplit ? unchangedInputs : undefined,
      });
      throw error;
    }
  };
  const earlier = retryCache.formOf(requestId);
  const maySplit = requestId === undefined || earlier?.omittedRows !== undefined;
  const { batchRows, inputUploadRows } = rowLimits;
  if (maySplit && !request.unchangedInputs && rows.length <= Math.max(batchRows, inputUploadRows)) {
    const outgoing = earlier?.omittedRows
      ? inputRowCache.splitBy(runtimeId, rows, earlier.omittedRows, earlier.unchangedInputs)
      : inputRowCache.split(runtimeId, rows);
    try {
      return await attempt(outgoing);
    } catch (error) {
      if (!outgoing.unchangedInputs || !isRefusedRows(error)) throw error;
      inputRowCache.forget(runtimeId);
    }
  }
  return attempt(inputRowCache.sendAll(runtimeId, rows, request.unchangedInputs));
}

/**
 * Whether a cached row has changed in the store, or a sent row is not valid. In the second case all rows are sent too,
 * because the error must name the row by its index among all rows.
 */
const isRefusedRows = (error: unknown): boolean => isRefused(error, "INPUT_NOT_CURRENT", /^input_(updates|states)\b/);

/** Whether a request was refused, and changed nothing, for a reason or because of a field. */
const isRefused = (error: unknown, reason: StoreErrorReason, field: RegExp): boolean =>
  error instanceof StoreError &&
  error.applied === "no" &&
  (error.reason === reason || field.test(error.subject.record ?? ""));
