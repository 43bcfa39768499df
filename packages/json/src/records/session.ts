import type { Buffer } from "node:buffer";

import { RAW_OBJECT_IN_PLACE, RawJson } from "../shapes/raw-json.js";
import { UUID } from "../shapes/scalar.js";
import { readDocument, writeDocument } from "../shapes/shape.js";
import { defaulted, required, struct } from "../shapes/struct.js";
import { SYSTEM_TIME, type SystemTime } from "../shapes/time.js";
import type { Gaps } from "../text/reader.js";
import type { SessionId } from "./ids.js";
import { MESSAGES, type MessageList } from "./message-list.js";
import { USAGE } from "./message.js";
import { recordVersion } from "./record-version.js";

/** A session document of the reference (contract 7.1). */
export interface Session {
  readonly id: SessionId;
  readonly messages: MessageList;
  readonly createdAt: SystemTime;
  readonly updatedAt: SystemTime;
  /** An object with any members. `readTranscriptHistory` reads the one that the store interprets. */
  readonly metadata: RawJson;
  readonly usage: object;
}

export const SESSION = struct<Session>("a session", {
  _version: recordVersion("version", "SessionEnvelope"),
  id: required("id", UUID),
  messages: required("messages", MESSAGES),
  createdAt: required("created_at", SYSTEM_TIME),
  updatedAt: required("updated_at", SYSTEM_TIME),
  metadata: defaulted("metadata", RAW_OBJECT_IN_PLACE, RawJson.EMPTY_OBJECT),
  usage: defaulted<object>("usage", USAGE, { inputTokens: 0n, outputTokens: 0n }),
});

/**
 * Reads a session document (contract 7.1). The result shares the bytes of `source`, which must not change while it is in use.
 * `gaps` are the messages that were elided from the text. Throws a `JsonError` when the text is not a session.
 */
export function readSession(source: Uint8Array | string, gaps?: Gaps): Session {
  return readDocument(SESSION, source, gaps);
}

/** Returns the canonical JSON of a session: what the reference would write after reading it. */
export function writeSession(session: Session): Buffer {
  return writeDocument(SESSION, session);
}

/** Returns the id of a session document. Reads the whole document, and throws a `JsonError` when it is not a session. */
export function readSessionId(source: Uint8Array | string): SessionId {
  return readSession(source).id;
}
