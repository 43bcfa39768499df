import { createHash } from "node:crypto";
import type {
  ExpectedSnapshot,
  NamedSnapshot,
  RuntimeId,
  SessionChange,
  SessionId,
  SessionProfile,
  VersionedStore,
} from "@bolthole/contract";
import {
  namedSnapshot,
  readFailed,
  sessionKeyMismatch,
  transcriptRevisionConflict,
  writeFailed,
} from "@bolthole/contract";
import { writeRewriteCommit } from "@bolthole/json";
import type { Argument } from "../commit/fingerprint.js";
import { sequenceOf } from "../commit/row.js";
import { changeArguments, incomingOf } from "../documents/incoming.js";
import { type Prepared, commitOverSession } from "../documents/session-commit.js";
import { type StoredSession, loadSession, snapshotKey } from "../documents/snapshot-facts.js";
import { copiedChunks } from "../documents/stored-document.js";
import { type StoreContext, versionOf } from "../store-context.js";
import type { TranscriptVerdict } from "../transcript/full-check.js";
import { checkRuntimeId, checkStoredRuntimeId, invalid, parseUuid, shaped } from "../validate.js";
import { replacement as replacementOf } from "./records.js";

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
    const runtimeId = checkRuntimeId(request.runtimeId, context.limits);
    const { sessionDelta } = request;
    const args = { sessionDelta: await changeArguments(sessionDelta, context, "session_delta") };
    return commitOverSession(context, runtimeId, { method: "CommitSessionSnapshot", request, args }, (stored) =>
      prepareReplacement(context, runtimeId, sessionDelta, "session_delta", stored),
    );
  },

  async commitSessionTranscriptRewriteSnapshot(request) {
    const runtimeId = checkRuntimeId(request.runtimeId, context.limits);
    const { sessionDelta } = request;
    const commit = shaped("commit", writeFailed, () => writeRewriteCommit(request.commit));
    const args = { sessionDelta: await changeArguments(sessionDelta, context, "session_delta"), commit };
    const fingerprinted = { method: "CommitSessionTranscriptRewriteSnapshot", request, args };
    return commitOverSession(context, runtimeId, fingerprinted, async (stored) => {
      const profile = resolveProfile(sessionDelta, stored?.facts.profile, runtimeId);
      refuseOnOpaque(profile, "a transcript rewrite", runtimeId);
      const incoming = incomingOf(context, runtimeId, sessionDelta, "session_delta", stored);
      const guard = { previous: stored, commit: request.commit };
      const verdict = await context.transcripts.check({ incoming, guard });
      acceptedId(verdict, "session_delta", runtimeId);
      return { document: { incoming, profile, verdict } };
    });
  },

  async loadSessionSnapshot(request) {
    const runtimeId = checkStoredRuntimeId(request.runtimeId, readFailed);
    const loaded = await loadSession(context, runtimeId);
    return loaded && !context.reusesChunkBuffers ? { ...loaded, chunks: copiedChunks(loaded.chunks) } : loaded;
  },

  async uploadSessionSnapshot(request) {
    checkRuntimeId(request.runtimeId, context.limits);
    return context.uploads.receive(request);
  },

  async clearSessionSnapshot(request) {
    const runtimeId = checkStoredRuntimeId(request.runtimeId, writeFailed);
    const change = replacementOf("ClearSessionSnapshot", request, {}, snapshotKey(runtimeId), undefined);
    return context.committer.commit(change);
  },

  async replaceSessionSnapshotIfCurrent(request) {
    const runtimeId = checkRuntimeId(request.runtimeId, context.limits);
    const { replacement } = request;
    const expected = checkedExpectation(request.expected);
    const args = {
      expected: expectedArguments(expected),
      replacement: await changeArguments(replacement, context, "replacement"),
    };
    const fingerprinted = { method: "ReplaceSessionSnapshotIfCurrent", request, args };
    return commitOverSession(context, runtimeId, fingerprinted, async (stored) => {
      const prepared = await prepareReplacement(context, runtimeId, replacement, "replacement", stored);
      return (await isCurrent(context, runtimeId, expected, stored)) ? prepared : undefined;
    });
  },

  async clearSessionSnapshotIfCurrent(request) {
    const runtimeId = checkStoredRuntimeId(request.runtimeId, writeFailed);
    const expected = checkedExpectation(request.expected);
    const args = { expected: expectedArguments(expected) };
    const fingerprinted = { method: "ClearSessionSnapshotIfCurrent", request, args };
    return commitOverSession(context, runtimeId, fingerprinted, async (stored) =>
      (await isCurrent(context, runtimeId, expected, stored)) ? { document: undefined } : undefined,
    );
  },
});

/** Prepares a document that replaces any stored one: neither continuity nor the id is checked (contract 2.4). */
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
  const verdict = await context.transcripts.check({ incoming });
  acceptedId(verdict, field, runtimeId);
  return { document: { incoming, profile, verdict } };
}

function checkedExpectation(expected: ExpectedSnapshot): NamedSnapshot {
  const named = namedSnapshot(expected);
  if ("sha256" in named && named.sha256.length !== 32) {
    throw invalid(writeFailed, "sha256", "32 bytes", `${String(named.sha256.length)} bytes`);
  }
  return named;
}

const expectedArguments = (expected: NamedSnapshot): Argument[] =>
  "version" in expected ? [expected.version, undefined] : [undefined, expected.sha256];

/** Whether the stored document is the expected one. It is read outside the writer; the commit is bound to its version. */
async function isCurrent(
  context: StoreContext,
  runtimeId: RuntimeId,
  expected: NamedSnapshot,
  stored: StoredSession | undefined,
): Promise<boolean> {
  if (!stored) return false;
  if ("version" in expected) return sequenceOf(context.engine.epoch, expected.version) === stored.row.sequence;
  const loaded = await loadSession(context, runtimeId);
  if (loaded?.version !== versionOf(context, stored.row)) return false;
  const digest = createHash("sha256");
  for await (const chunk of loaded.chunks) digest.update(chunk);
  return digest.digest().equals(expected.sha256);
}

/** Returns the profile of a commit: the named one, which must equal the stored one, or else the stored one (contract 2.12). */
export function resolveProfile(
  change: { readonly profile?: SessionProfile | undefined },
  stored: SessionProfile | undefined,
  runtimeId: RuntimeId,
): SessionProfile {
  const profile = change.profile ?? stored ?? "session";
  if (stored !== undefined && profile !== stored) {
    throw profileMismatch(
      `the stored snapshot is of the ${stored} profile, not ${profile}`,
      stored,
      profile,
      runtimeId,
    );
  }
  return profile;
}

/** Refuses a feature that only sessions of the reference have when the snapshot is opaque (contract 2.12). */
export function refuseOnOpaque(profile: SessionProfile, feature: string, runtimeId: RuntimeId): void {
  if (profile === "opaque") {
    throw profileMismatch(`${feature} needs a snapshot of the session profile`, "session", profile, runtimeId);
  }
}

const profileMismatch = (text: string, expected: string, actual: string, runtimeId: RuntimeId): Error =>
  writeFailed("PROFILE_MISMATCH", text, { runtimeId, record: "session_delta.profile", expected, actual });

/** Returns the session id of an accepted document, or throws the refusal of the verdict (contract 10.8). */
export function acceptedId(verdict: TranscriptVerdict, field: string, runtimeId: RuntimeId): SessionId {
  switch (verdict.kind) {
    case "accepted":
      return verdict.id;
    case "unreadable": {
      const { path, reason, offset, isRule } = verdict.why;
      if (isRule) throw writeFailed("RECORD_REJECTED", reason, { runtimeId, record: field });
      const record = path === "" ? field : `${field}.${path}`;
      const place = offset === undefined ? "" : ` (byte ${String(offset)})`;
      const text = `${record}: the document is not a session: ${reason}${place}; the profile "opaque" accepts any bytes`;
      throw writeFailed("INVALID_ARGUMENT", text, { runtimeId, record });
    }
    case "unreadable previous": {
      const { path, reason } = verdict.why;
      const place = path === "" ? reason : `${path}: ${reason}`;
      throw readFailed("DAMAGED_RECORD", `the stored session snapshot of ${runtimeId} is not a session: ${place}`, {
        runtimeId,
        record: "session snapshot",
      });
    }
    case "refused": {
      const { variant, text, expected, actual } = verdict.refusal;
      if (variant === "TranscriptRevisionConflict") {
        throw transcriptRevisionConflict(expected ?? "", actual ?? "", runtimeId);
      }
      throw writeFailed("TRANSCRIPT_REJECTED", text, { runtimeId, record: field, expected, actual });
    }
  }
}

/** Refuses a document with another session id than the caller's key. `expected` is the key (contract 2.3). */
export function checkSessionKey(key: string | undefined, id: SessionId, runtimeId: RuntimeId): void {
  if (key === undefined) return;
  const expected = parseUuid(key, "session_store_key", writeFailed);
  if (expected !== id) throw sessionKeyMismatch(expected, id, runtimeId);
}
