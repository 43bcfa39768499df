import type { LoadedSnapshot, RuntimeId, SessionProfile } from "@bolthole/contract";
import { bufferOf } from "../bytes.js";
import { UnknownFormError, expectForm } from "../commit/row.js";
import type { KeyOf } from "../engine.js";
import type { StoreContext } from "../store-context.js";
import { type DocumentFacts, type StoredDocument, loadDocument, storedDocument } from "./stored-document.js";

/** The value of a `snapshot` row: the facts about its document. */
export interface SnapshotFacts extends DocumentFacts {
  readonly profile: SessionProfile;
}

const FORM = 1;
const PROFILES: readonly SessionProfile[] = ["session", "opaque"];
const FACTS_BYTES = 14;

export function encodeSnapshotFacts({ profile, length, crc32 }: SnapshotFacts): Uint8Array {
  const bytes = Buffer.allocUnsafe(FACTS_BYTES);
  bytes[0] = FORM;
  bytes[1] = PROFILES.indexOf(profile);
  bytes.writeUInt32LE(crc32, 2);
  bytes.writeDoubleLE(length, 6);
  return bytes;
}

/** Throws `UnknownFormError` for an unknown profile too: any default would turn the guards of the stored profile off. */
export function decodeSnapshotFacts(value: Uint8Array): SnapshotFacts {
  expectForm(value, FORM);
  const bytes = bufferOf(value);
  const profile = PROFILES[bytes.readUInt8(1)];
  if (!profile) throw new UnknownFormError("profile", `a number below ${String(PROFILES.length)}`, value[1]);
  return { profile, crc32: bytes.readUInt32LE(2), length: bytes.readDoubleLE(6) };
}

export const snapshotKey = (runtimeId: RuntimeId): KeyOf<"snapshot"> => ({ table: "snapshot", runtimeId });

/** The stored session document of a runtime. */
export type StoredSession = StoredDocument<SnapshotFacts>;

export const storedSession = (context: StoreContext, runtimeId: RuntimeId): Promise<StoredSession | undefined> =>
  storedDocument(context, snapshotKey(runtimeId), decodeSnapshotFacts);

/** Returns the stored session document in chunks, by the rules of `loadDocument`. */
export async function loadSession(context: StoreContext, runtimeId: RuntimeId): Promise<LoadedSnapshot | undefined> {
  const loaded = await loadDocument(context, snapshotKey(runtimeId), decodeSnapshotFacts);
  return (
    loaded && {
      version: loaded.version,
      length: loaded.length,
      profile: loaded.facts.profile,
      chunks: loaded.chunks,
    }
  );
}
