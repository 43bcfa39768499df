import {
  type Call,
  type Committed,
  type CommittedInputs,
  type ExpectedSnapshot,
  type Limits,
  type RuntimeMutation,
  type SessionChange,
  StoreError,
  type StoredInputState,
  type UnchangedInputs,
  type VersionedStore,
} from "@bolthole/contract";
import type { HeldDocument, HeldDocuments } from "./held-documents.js";
import type { KnownInputs } from "./known-inputs.js";
import { patchOf } from "./patch.js";
import type { Unanswered } from "./unanswered.js";
import { uploadDocument } from "./upload.js";

/**
 * What a client has at hand to send less than it was given.
 *
 * A request that was refused has changed nothing, so what was refused for what this client took for known may be sent
 * whole under a request id of its own. A request with an unknown outcome is never followed by another one.
 *
 * A caller who brings the request id will repeat the request with it, perhaps from another process, and only the same
 * request gets the first answer. So it travels as it was given, whatever is held here; or, when the id is that of a
 * request whose outcome is unknown, as that one did. All that is sent for it carries the caller's id, which applies once.
 */
export interface Sending {
  readonly store: VersionedStore;
  readonly limits: Limits;
  readonly documents: HeldDocuments;
  readonly inputs: KnownInputs;
  readonly unanswered: Unanswered;
  /** A longer document is uploaded before the request that names it. */
  readonly uploadAbove: number;
}

type Commit<A> = (change: SessionChange) => Promise<A>;

/** Sends a document as a patch of the held one, or whole. */
export async function sendDocument<A extends Committed | undefined>(
  sending: Sending,
  request: RuntimeMutation,
  change: SessionChange,
  call: Call,
  commit: Commit<A>,
): Promise<A> {
  const { documents, inputs } = sending;
  const { runtimeId } = request;
  if (!("sessionSnapshot" in change)) {
    const answer = await commit(change);
    if (answer) documents.forget(runtimeId);
    return answer;
  }
  const { sessionSnapshot, profile } = change;
  let answer: A | "refused" = "refused";
  const base = baseOf(sending, request);
  const patch = base && patchOf(base, sessionSnapshot, sending.limits);
  if (patch) {
    answer = await commit({ patch, profile }).catch((error: unknown) => {
      sending.unanswered.note(error, { base });
      if (!isOfPatch(error)) throw error;
      // Somebody else was here: what is known of the rows is no longer sure either.
      documents.forget(runtimeId);
      inputs.forget(runtimeId);
      sending.unanswered.forget(request.requestId);
      return "refused" as const;
    });
  }
  if (answer === "refused") {
    const isSmall = sessionSnapshot.length <= sending.uploadAbove;
    answer = await (isSmall ? commit(change) : commitUploaded(sending, request, change, call, commit));
  }
  if (answer) documents.hold(runtimeId, answer.version, [sessionSnapshot]);
  return answer;
}

const baseOf = (
  { documents, unanswered }: Sending,
  { runtimeId, requestId }: RuntimeMutation,
): HeldDocument | undefined =>
  requestId === undefined ? documents.get(runtimeId) : unanswered.basisOf(requestId)?.base;

async function commitUploaded<A>(
  { store, unanswered }: Sending,
  { runtimeId, requestId }: RuntimeMutation,
  { sessionSnapshot, profile }: Extract<SessionChange, { readonly sessionSnapshot: Uint8Array }>,
  call: Call,
  commit: Commit<A>,
): Promise<A> {
  const upload = (): Promise<string> => uploadDocument(store, runtimeId, sessionSnapshot, call);
  let uploadId = unanswered.basisOf(requestId)?.uploadId ?? (await upload());
  try {
    return await commit({ uploadId, profile }).catch(async (error: unknown) => {
      // The daemon started anew between the two, or kept the upload no longer.
      if (!(error instanceof StoreError && error.reason === "UPLOAD_UNKNOWN")) throw error;
      uploadId = await upload();
      return commit({ uploadId, profile });
    });
  } catch (error) {
    unanswered.note(error, { uploadId });
    throw error;
  }
}

/** Sends the rows that are not known to be stored as they are, or all of them when that turns out to be wrong. */
export async function sendInputs(
  { inputs, limits, unanswered }: Sending,
  request: RuntimeMutation & { readonly unchangedInputs?: UnchangedInputs | undefined },
  rows: readonly StoredInputState[],
  commit: (rows: readonly StoredInputState[], unchanged: UnchangedInputs | undefined) => Promise<CommittedInputs>,
): Promise<CommittedInputs> {
  const { runtimeId, requestId, unchangedInputs } = request;
  const { known, unchanged } = unanswered.basisOf(requestId) ?? {};
  const isSplit = requestId === undefined || known !== undefined;
  if (isSplit && !unchangedInputs && rows.length <= limits.batchRows) {
    const some = inputs.split(runtimeId, rows, known && { known, unchanged });
    try {
      return some.answered(await commit(some.travelling, some.unchanged));
    } catch (error) {
      unanswered.note(error, some.unchanged ? { known: some.known, unchanged: some.unchanged } : {});
      if (!some.unchanged || !isOfRows(error)) throw error;
      inputs.forget(runtimeId);
    }
  }
  const all = inputs.all(runtimeId, rows, unchangedInputs);
  return all.answered(await commit(all.travelling, all.unchanged));
}

/**
 * Names expected bytes that are held by their version, which costs neither side a digest. When that version is missed the
 * same bytes may still be current at another one: a miss has changed nothing and is kept nowhere, so they are asked for
 * once more.
 */
export async function sendExpected<A extends Committed>(
  { documents, unanswered }: Sending,
  { runtimeId, requestId, expected }: RuntimeMutation & { readonly expected: ExpectedSnapshot },
  commit: (expected: ExpectedSnapshot) => Promise<A | undefined>,
): Promise<A | undefined> {
  if (!("document" in expected)) return commit(expected);
  const version =
    requestId === undefined
      ? documents.versionOf(runtimeId, expected.document)
      : unanswered.basisOf(requestId)?.expected;
  if (version === undefined) return commit(expected);
  const answer = await commit({ version }).catch((error: unknown) => {
    unanswered.note(error, { expected: version });
    throw error;
  });
  return answer ?? commit(expected);
}

/** The base is another one by now, or not what it was taken for. */
const isOfPatch = (error: unknown): boolean => isRefused(error, "BASE_NOT_CURRENT", /^(\w+\.)?patch\b/);

/** Rows were written by somebody else; or one is refused by its place, which it has only among all of them. */
const isOfRows = (error: unknown): boolean => isRefused(error, "INPUT_NOT_CURRENT", /^input_(updates|states)\b/);

const isRefused = (error: unknown, reason: StoreError["reason"], record: RegExp): boolean =>
  error instanceof StoreError &&
  error.applied === "no" &&
  (error.reason === reason || record.test(error.subject.record ?? ""));
