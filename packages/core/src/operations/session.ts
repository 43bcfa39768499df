import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import type {
  ExpectedSnapshot,
  LoadedSnapshot,
  RuntimeId,
  SessionDelta,
  SessionProfile,
  VersionedStore,
} from "@bolthole/contract";
import { readFailed, writeFailed } from "@bolthole/contract";
import { writeRewriteCommit } from "@bolthole/contract/json";
import type { RowKey } from "../engine.js";
import { Moved, type Prepared, type StoredSession, commitOverSession, snapshotEdit } from "../prepared-session.js";
import { damaged } from "../commit/row.js";
import { acceptedId, refuseOnOpaque, resolveProfile } from "../rules/session.js";
import { type SnapshotFacts, decodeSnapshotFacts } from "../snapshot.js";
import { type StoreContext, checkRuntime, commit, decodeRow, singleRow, versionOf } from "../store-context.js";
import { sha256InTurns } from "../transcript/in-turns.js";
import type { StoredDocument } from "../transcript/transcript-checker.js";
import { checkSize, invalid, shaped } from "../validate.js";
import { sequenceOf } from "../commit/version.js";

type SessionOperations = Pick<
  VersionedStore,
  | "commitSessionSnapshot"
  | "commitSessionTranscriptRewriteSnapshot"
  | "loadSessionSnapshot"
  | "clearSessionSnapshot"
  | "replaceSessionSnapshotIfCurrent"
  | "clearSessionSnapshotIfCurrent"
>;

export const sessionOperations = (context: StoreContext): SessionOperations => ({
  async commitSessionSnapshot(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    const { sessionDelta } = request;
    const args = await deltaArguments(sessionDelta, context);
    const committed = await commitOverSession(
      context,
      runtimeId,
      { method: "CommitSessionSnapshot", mutation: request, args },
      (stored) => prepareReplacement(context, runtimeId, sessionDelta, "session_delta", stored),
    );
    if (!committed) throw new TypeError("a plain commit expects nothing");
    return committed;
  },

  async commitSessionTranscriptRewriteSnapshot(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    const { sessionDelta } = request;
    const text = shaped("commit", writeFailed, () => writeRewriteCommit(request.commit));
    const args = [...(await deltaArguments(sessionDelta, context)), text];
    const committed = await commitOverSession(
      context,
      runtimeId,
      { method: "CommitSessionTranscriptRewriteSnapshot", mutation: request, args },
      async (stored) => {
        const profile = resolveProfile(sessionDelta, stored?.facts.profile, runtimeId);
        refuseOnOpaque(profile, "a transcript rewrite", runtimeId);
        const incoming = sessionDelta.sessionSnapshot;
        const previous = await storedDocument(context, runtimeId, stored);
        const finding = await context.transcripts.check({ incoming, guard: { previous, commit: request.commit } });
        acceptedId(finding, "session_delta", runtimeId);
        return putSnapshot(runtimeId, incoming, profile);
      },
    );
    if (!committed) throw new TypeError("a rewrite expects no more than its guard");
    return committed;
  },

  async loadSessionSnapshot(request) {
    const runtimeId = checkRuntime(context, request.runtimeId, readFailed);
    return loadDocument(context, runtimeId);
  },

  async clearSessionSnapshot(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    return commit(context, singleRow("ClearSessionSnapshot", request, snapshotKey(runtimeId), undefined));
  },

  async replaceSessionSnapshotIfCurrent(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    const { expected, replacement } = request;
    checkExpected(expected);
    const args = [...expectedArguments(expected), ...(await deltaArguments(replacement, context))];
    return commitOverSession(
      context,
      runtimeId,
      { method: "ReplaceSessionSnapshotIfCurrent", mutation: request, args },
      async (stored) => {
        const prepared = await prepareReplacement(context, runtimeId, replacement, "replacement", stored);
        return (await isCurrent(context, runtimeId, expected, stored)) ? prepared : undefined;
      },
    );
  },

  async clearSessionSnapshotIfCurrent(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    const { expected } = request;
    checkExpected(expected);
    return commitOverSession(
      context,
      runtimeId,
      { method: "ClearSessionSnapshotIfCurrent", mutation: request, args: expectedArguments(expected) },
      async (stored) =>
        (await isCurrent(context, runtimeId, expected, stored))
          ? { rows: [snapshotKey(runtimeId)], bytes: 0, decide: () => [{ row: 0, value: undefined }] }
          : undefined,
    );
  },
});

export const snapshotKey = (runtimeId: RuntimeId): RowKey => ({ table: "snapshot", runtimeId });

/** A session tells one request from another by its digest; its size is checked before any work is done on it. */
export async function deltaArguments(
  { sessionSnapshot, profile }: SessionDelta,
  context: StoreContext,
): Promise<[Uint8Array, string]> {
  checkSize(sessionSnapshot.length, context.limits.documentBytes, "session_delta", writeFailed);
  return [await sha256InTurns(sessionSnapshot), profile ?? ""];
}

/** A document that replaces the stored one, whatever that is: no continuity, no id check (section 9.4). */
async function prepareReplacement(
  context: StoreContext,
  runtimeId: RuntimeId,
  delta: SessionDelta,
  field: string,
  stored: StoredSession | undefined,
): Promise<Prepared> {
  const profile = resolveProfile(delta, stored?.facts.profile, runtimeId);
  const incoming = delta.sessionSnapshot;
  if (profile === "session") acceptedId(await context.transcripts.check({ incoming }), field, runtimeId);
  return putSnapshot(runtimeId, incoming, profile);
}

async function putSnapshot(runtimeId: RuntimeId, document: Uint8Array, profile: SessionProfile): Promise<Prepared> {
  const edit = await snapshotEdit(document, profile);
  return { rows: [snapshotKey(runtimeId)], bytes: document.length, decide: () => [edit] };
}

function checkExpected(expected: ExpectedSnapshot): void {
  if ("sha256" in expected && expected.sha256.length !== 32) {
    throw invalid(writeFailed, "sha256", "32 bytes", `${String(expected.sha256.length)} bytes`);
  }
}

const expectedArguments = (expected: ExpectedSnapshot): [string | undefined, Uint8Array | undefined] =>
  "version" in expected ? [expected.version, undefined] : [undefined, expected.sha256];

/** Worked out off the writer; the commit is then bound to the version that was looked at. */
async function isCurrent(
  context: StoreContext,
  runtimeId: RuntimeId,
  expected: ExpectedSnapshot,
  stored: StoredSession | undefined,
): Promise<boolean> {
  if (!stored) return false;
  if ("version" in expected) return sequenceOf(context.engine.epoch, expected.version) === stored.row.sequence;
  const loaded = await loadDocument(context, runtimeId);
  if (loaded?.version !== versionOf(context, stored.row)) return false;
  const digest = createHash("sha256");
  for await (const chunk of loaded.chunks) digest.update(chunk);
  return digest.digest().equals(expected.sha256);
}

/** The document that a guard looks at: the one that the change is prepared over. */
export async function storedDocument(
  context: StoreContext,
  runtimeId: RuntimeId,
  stored: StoredSession | undefined,
): Promise<StoredDocument | undefined> {
  if (!stored) return undefined;
  const loaded = await loadDocument(context, runtimeId);
  if (loaded?.version !== versionOf(context, stored.row)) throw new Moved();
  return loaded;
}

/** The stored document. It fails before its last bytes when what is read is not what was committed. */
export async function loadDocument(context: StoreContext, runtimeId: RuntimeId): Promise<LoadedSnapshot | undefined> {
  const key = snapshotKey(runtimeId);
  const found = await context.engine.view(async (view) => {
    const row = await view.get(key);
    return row && { row, document: await view.document(runtimeId) };
  });
  if (!found) return undefined;
  const facts = decodeRow(key, found.row, decodeSnapshotFacts);
  return {
    version: versionOf(context, found.row),
    length: facts.length,
    profile: facts.profile,
    chunks: verified(key, facts, found.document),
  };
}

async function* verified(
  key: RowKey,
  facts: SnapshotFacts,
  document: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let length = 0;
  let checksum = 0;
  let held: Uint8Array | undefined;
  for await (const chunk of document) {
    if (held) yield held;
    held = chunk;
    length += chunk.length;
    checksum = crc32(chunk, checksum);
  }
  if (length !== facts.length || checksum !== facts.crc32) throw damaged(key, "does not match its checksum");
  if (held) yield held;
}
