import { createHash } from "node:crypto";
import type { ExpectedSnapshot, NamedSnapshot, RuntimeId, SessionChange, VersionedStore } from "@bolthole/contract";
import { namedSnapshot, readFailed, writeFailed } from "@bolthole/contract";
import { writeRewriteCommit } from "@bolthole/json";
import { sequenceOf } from "../commit/version.js";
import { changeArguments, incomingOf } from "../documents/incoming.js";
import { type Prepared, commitOverSession } from "../documents/prepared-session.js";
import { acceptedId, refuseOnOpaque, resolveProfile } from "../rules/session.js";
import { type StoreContext, checkRuntime, commit, singleRow, versionOf } from "../store-context.js";
import { type StoredSession, kept, loadDocument, snapshotKey } from "../documents/stored-document.js";
import { invalid, shaped } from "../validate.js";

type SessionOperations = Pick<
  VersionedStore,
  | "commitSessionSnapshot"
  | "commitSessionTranscriptRewriteSnapshot"
  | "loadSessionSnapshot"
  | "uploadSessionSnapshot"
  | "clearSessionSnapshot"
  | "replaceSessionSnapshotIfCurrent"
  | "clearSessionSnapshotIfCurrent"
>;

export const sessionOperations = (context: StoreContext): SessionOperations => ({
  async commitSessionSnapshot(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    const { sessionDelta } = request;
    const args = { sessionDelta: await changeArguments(sessionDelta, context, "session_delta") };
    const committed = await commitOverSession(
      context,
      runtimeId,
      { method: "CommitSessionSnapshot", request, args },
      (stored) => prepareReplacement(context, runtimeId, sessionDelta, "session_delta", stored),
    );
    if (!committed) throw new TypeError("a plain commit expects nothing");
    return committed;
  },

  async commitSessionTranscriptRewriteSnapshot(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    const { sessionDelta } = request;
    const text = shaped("commit", writeFailed, () => writeRewriteCommit(request.commit));
    const args = { sessionDelta: await changeArguments(sessionDelta, context, "session_delta"), commit: text };
    const committed = await commitOverSession(
      context,
      runtimeId,
      { method: "CommitSessionTranscriptRewriteSnapshot", request, args },
      async (stored) => {
        const profile = resolveProfile(sessionDelta, stored?.facts.profile, runtimeId);
        refuseOnOpaque(profile, "a transcript rewrite", runtimeId);
        const incoming = incomingOf(context, runtimeId, sessionDelta, "session_delta", stored);
        const guard = { previous: stored, commit: request.commit };
        const finding = await context.transcripts.check({ incoming, guard });
        acceptedId(finding, "session_delta", runtimeId);
        return { document: { incoming, profile, finding } };
      },
    );
    if (!committed) throw new TypeError("a rewrite expects no more than its guard");
    return committed;
  },

  async loadSessionSnapshot(request) {
    const runtimeId = checkRuntime(context, request.runtimeId, readFailed);
    const loaded = await loadDocument(context, runtimeId);
    return loaded && !context.reusesChunkBuffers ? { ...loaded, chunks: kept(loaded.chunks) } : loaded;
  },

  async uploadSessionSnapshot(request) {
    checkRuntime(context, request.runtimeId);
    return context.uploads.receive(request);
  },

  async clearSessionSnapshot(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    return commit(context, singleRow("ClearSessionSnapshot", request, {}, snapshotKey(runtimeId), undefined));
  },

  async replaceSessionSnapshotIfCurrent(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    const { replacement } = request;
    const expected = checkedExpectation(request.expected);
    const args = {
      expected: expectedArguments(expected),
      replacement: await changeArguments(replacement, context, "replacement"),
    };
    return commitOverSession(
      context,
      runtimeId,
      { method: "ReplaceSessionSnapshotIfCurrent", request, args },
      async (stored) => {
        const prepared = await prepareReplacement(context, runtimeId, replacement, "replacement", stored);
        return (await isCurrent(context, runtimeId, expected, stored)) ? prepared : undefined;
      },
    );
  },

  async clearSessionSnapshotIfCurrent(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    const expected = checkedExpectation(request.expected);
    return commitOverSession(
      context,
      runtimeId,
      { method: "ClearSessionSnapshotIfCurrent", request, args: { expected: expectedArguments(expected) } },
      async (stored) => ((await isCurrent(context, runtimeId, expected, stored)) ? { document: undefined } : undefined),
    );
  },
});

/** A document that replaces the stored one, whatever that is: no continuity, no id check (section 9.4). */
async function prepareReplacement(
  context: StoreContext,
  runtimeId: RuntimeId,
  change: SessionChange,
  field: string,
  stored: StoredSession | undefined,
): Promise<Prepared> {
  const profile = resolveProfile(change, stored?.facts.profile, runtimeId);
  const incoming = incomingOf(context, runtimeId, change, field, stored);
  if (profile === "opaque") return { document: { incoming, profile } };
  const finding = await context.transcripts.check({ incoming });
  acceptedId(finding, field, runtimeId);
  return { document: { incoming, profile, finding } };
}

function checkedExpectation(expected: ExpectedSnapshot): NamedSnapshot {
  const named = namedSnapshot(expected);
  if ("sha256" in named && named.sha256.length !== 32) {
    throw invalid(writeFailed, "sha256", "32 bytes", `${String(named.sha256.length)} bytes`);
  }
  return named;
}

const expectedArguments = (expected: NamedSnapshot): [string | undefined, Uint8Array | undefined] =>
  "version" in expected ? [expected.version, undefined] : [undefined, expected.sha256];

/** Worked out off the writer; the commit is then bound to the version that was looked at. */
async function isCurrent(
  context: StoreContext,
  runtimeId: RuntimeId,
  expected: NamedSnapshot,
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
