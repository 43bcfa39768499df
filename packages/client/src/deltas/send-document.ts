import { crc32 } from "node:zlib";
import { type Call, type Committed, type RuntimeMutation, type SessionChange, StoreError } from "@bolthole/contract";
import type { HeldDocument } from "./held-documents.js";
import { patchOf } from "./patch.js";
import { type Sending, isRefused } from "./sending.js";
import { uploadDocument } from "./upload.js";

type Commit<A> = (change: SessionChange) => Promise<A>;
type WholeDocument = Extract<SessionChange, { readonly sessionSnapshot: Uint8Array }>;

/** Sends a document as a patch of the held one, or whole. */
export async function sendDocument<A extends Committed | undefined>(
  sending: Sending,
  request: RuntimeMutation,
  change: SessionChange,
  call: Call,
  commit: Commit<A>,
): Promise<A> {
  const { documents, unanswered } = sending;
  const { runtimeId, requestId } = request;
  if (!("sessionSnapshot" in change)) {
    const answer = await commit(change);
    if (answer) documents.forget(runtimeId);
    return answer;
  }
  const { sessionSnapshot } = change;
  // Before it is sent: the caller may change these bytes while the answer is on its way.
  const checksum = crc32(sessionSnapshot);
  let answer = await commitPatched(sending, request, change, checksum, commit);
  if (answer === "refused") {
    const isSmall = sessionSnapshot.length <= sending.uploadAbove;
    answer = await (isSmall
      ? commitAs(sending, {}, change, commit)
      : commitUploaded(sending, request, change, call, commit));
  }
  unanswered.forget(requestId);
  if (answer) documents.hold(runtimeId, answer.version, [sessionSnapshot], checksum);
  return answer;
}

/** Refused: nothing is held that would make a patch, or it is not what is stored. */
async function commitPatched<A>(
  sending: Sending,
  request: RuntimeMutation,
  { sessionSnapshot, profile }: WholeDocument,
  checksum: number,
  commit: Commit<A>,
): Promise<A | "refused"> {
  const { documents, inputs, unanswered, patchLimits } = sending;
  const { runtimeId, requestId } = request;
  const base = requestId === undefined ? documents.get(runtimeId) : unanswered.basisOf(requestId)?.base;
  const patch = base && patchOf(base, sessionSnapshot, checksum, patchLimits);
  if (!patch) return "refused";
  try {
    return await commitAs(sending, { base }, { patch, profile }, commit);
  } catch (error) {
    if (!isOfPatch(error)) throw error;
    // Somebody else was here: what is known of the rows is no longer sure either.
    documents.forget(runtimeId);
    inputs.forget(runtimeId);
    unanswered.forget(requestId);
    return "refused";
  }
}

async function commitUploaded<A>(
  sending: Sending,
  { runtimeId, requestId }: RuntimeMutation,
  { sessionSnapshot, profile }: WholeDocument,
  call: Call,
  commit: Commit<A>,
): Promise<A> {
  const { store, unanswered, uploadAbove } = sending;
  const commitFrom = (uploadId: string): Promise<A> => commitAs(sending, { uploadId }, { uploadId, profile }, commit);
  const upload = (): Promise<string> => uploadDocument(store, runtimeId, sessionSnapshot, uploadAbove, call);
  try {
    return await commitFrom(unanswered.basisOf(requestId)?.uploadId ?? (await upload()));
  } catch (error) {
    // The daemon started anew between the two, or kept the upload no longer.
    if (!(error instanceof StoreError && error.reason === "UPLOAD_UNKNOWN")) throw error;
    return commitFrom(await upload());
  }
}

/** Keeps the form that the document had, should the outcome be unknown. */
async function commitAs<A>(
  { unanswered }: Sending,
  { base, uploadId }: { readonly base?: HeldDocument; readonly uploadId?: string },
  change: SessionChange,
  commit: Commit<A>,
): Promise<A> {
  try {
    return await commit(change);
  } catch (error) {
    unanswered.note(error, { base, uploadId });
    throw error;
  }
}

/** The base is another one by now, or not what it was taken for. */
const isOfPatch = (error: unknown): boolean => isRefused(error, "BASE_NOT_CURRENT", /^(\w+\.)?patch\b/);
