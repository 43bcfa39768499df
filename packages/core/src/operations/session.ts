import { createHash, hash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { ExpectedSnapshot, LoadedSnapshot, RuntimeId, SessionDelta, VersionedStore } from "@bolthole/contract";
import { readFailed, unsupported, writeFailed } from "@bolthole/contract";
import type { RowKey } from "../engine.js";
import { type StoredSession, commitOverSession, putSnapshot } from "../prepared-session.js";
import { damaged } from "../row.js";
import { checkDocument, refuseOnOpaque, resolveProfile } from "../rules/session.js";
import { type SnapshotFacts, decodeSnapshotFacts } from "../snapshot.js";
import { type StoreContext, checkRuntime, commit, decodeRow, singleRow, versionOf } from "../store-context.js";
import { checkSize, invalid } from "../validate.js";
import { sequenceOf } from "../version.js";

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
    const args = deltaArguments(sessionDelta, context);
    const committed = await commitOverSession(
      context,
      runtimeId,
      { method: "CommitSessionSnapshot", mutation: request, args },
      (stored) => Promise.resolve(prepareReplacement(context, runtimeId, sessionDelta, "session_delta", stored)),
    );
    if (!committed) throw new TypeError("a plain commit expects nothing");
    return committed;
  },

  async commitSessionTranscriptRewriteSnapshot(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    refuseOnOpaque(request.sessionDelta.profile ?? "session", "a transcript rewrite", runtimeId);
    throw unsupported("commit_session_transcript_rewrite_snapshot");
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
    return commitOverSession(
      context,
      runtimeId,
      {
        method: "ReplaceSessionSnapshotIfCurrent",
        mutation: request,
        args: [...expectedArguments(expected), ...deltaArguments(replacement, context)],
      },
      async (stored) => {
        const prepared = prepareReplacement(context, runtimeId, replacement, "replacement", stored);
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
export function deltaArguments(
  { sessionSnapshot, profile }: SessionDelta,
  context: StoreContext,
): [Uint8Array, string] {
  checkSize(sessionSnapshot.length, context.limits.documentBytes, "session_delta", writeFailed);
  return [hash("sha256", sessionSnapshot, "buffer"), profile ?? ""];
}

/** A document that replaces the stored one, whatever that is: no continuity, no id check (section 9.4). */
function prepareReplacement(
  context: StoreContext,
  runtimeId: RuntimeId,
  delta: SessionDelta,
  field: string,
  stored: StoredSession | undefined,
) {
  const profile = resolveProfile(delta, stored?.facts.profile, runtimeId);
  checkDocument(delta.sessionSnapshot, profile, field, context.limits);
  return {
    rows: [snapshotKey(runtimeId)],
    bytes: delta.sessionSnapshot.length,
    decide: () => [putSnapshot(delta.sessionSnapshot, profile)],
  };
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
