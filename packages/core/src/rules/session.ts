import type { RuntimeId, SessionDelta, SessionId, SessionProfile } from "@bolthole/contract";
import { readFailed, sessionKeyMismatch, transcriptRevisionConflict, writeFailed } from "@bolthole/contract";
import type { TranscriptVerdict } from "../transcript/full-check.js";
import { parseUuid } from "../validate.js";

/** The profile of a commit: the one it names, which must be the stored one; or the stored one (section 14.16). */
export function resolveProfile(
  change: Pick<SessionDelta, "profile">,
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

/** What belongs to sessions of the reference alone is refused on an opaque snapshot (section 14.16). */
export function refuseOnOpaque(profile: SessionProfile, what: string, runtimeId: RuntimeId): void {
  if (profile === "opaque") {
    throw profileMismatch(`${what} needs a snapshot of the session profile`, "session", profile, runtimeId);
  }
}

const profileMismatch = (text: string, expected: string, actual: string, runtimeId: RuntimeId): Error =>
  writeFailed("PROFILE_MISMATCH", text, { runtimeId, record: "session_delta.profile", expected, actual });

/** The id of a document that was found to be what it should be; otherwise throws what is wrong with it (section 8.7). */
export function acceptedId(finding: TranscriptVerdict, field: string, runtimeId: RuntimeId): SessionId {
  switch (finding.kind) {
    case "accepted":
      return finding.id;
    case "unreadable": {
      const { path, reason, isRule } = finding.why;
      if (isRule) throw writeFailed("RECORD_REJECTED", reason, { runtimeId, record: field });
      const record = path === "" ? field : `${field}.${path}`;
      throw writeFailed("INVALID_ARGUMENT", `${record}: ${reason}`, { runtimeId, record });
    }
    case "unreadable previous": {
      const { path, reason } = finding.why;
      const place = path === "" ? reason : `${path}: ${reason}`;
      throw readFailed("DAMAGED_RECORD", `the stored session snapshot of ${runtimeId} is no session: ${place}`, {
        runtimeId,
        record: "session snapshot",
      });
    }
    case "refused": {
      const { variant, text, expected, actual } = finding.refusal;
      if (variant === "TranscriptRevisionConflict") {
        throw transcriptRevisionConflict(expected ?? "", actual ?? "", runtimeId);
      }
      throw writeFailed("TRANSCRIPT_REJECTED", text, { runtimeId, record: field, expected, actual });
    }
  }
}

/** `expected` is the caller's key, `actual` the id in the document (section 9.2). */
export function checkSessionKey(key: string | undefined, id: SessionId, runtimeId: RuntimeId): void {
  if (key === undefined) return;
  const expected = parseUuid(key, "session_store_key", writeFailed);
  if (expected !== id) throw sessionKeyMismatch(expected, id, runtimeId);
}
