import type { Limits, RuntimeId, SessionDelta, SessionId, SessionProfile } from "@bolthole/contract";
import { sessionKeyMismatch, writeFailed } from "@bolthole/contract";
import { readSessionId } from "@bolthole/contract/json";
import { checkSize, parseUuid, shaped } from "../validate.js";

/** The profile of a commit: the one it names, which must be the stored one; or the stored one (section 14.16). */
export function resolveProfile(
  delta: SessionDelta,
  stored: SessionProfile | undefined,
  runtimeId: RuntimeId,
): SessionProfile {
  const profile = delta.profile ?? stored ?? "session";
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

/** The incoming document by itself: its size, and for the session profile its form. */
export function checkDocument(
  document: Uint8Array,
  profile: SessionProfile,
  field: string,
  limits: Limits,
): SessionId | undefined {
  checkSize(document.length, limits.documentBytes, field, writeFailed);
  return profile === "opaque" ? undefined : shaped(field, writeFailed, () => readSessionId(document));
}

/** `expected` is the caller's key, `actual` the id in the document (section 9.2). */
export function checkSessionKey(key: string | undefined, id: SessionId | undefined, runtimeId: RuntimeId): void {
  if (key === undefined || id === undefined) return;
  const expected = parseUuid(key, "session_store_key", writeFailed);
  if (expected !== id) throw sessionKeyMismatch(expected, id, runtimeId);
}
