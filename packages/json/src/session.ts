import type { Buffer } from "node:buffer";

import type { SessionId, SystemTime } from "./model/index.js";
import { readDocument, writeDocument } from "./document.js";
import { defaulted, hidden, required } from "./field.js";
import type { Gaps } from "./gaps.js";
import { RAW_OBJECT_IN_PLACE, RawJson } from "./free-json.js";
import { MESSAGES, type MessageList } from "./message-list.js";
import { USAGE } from "./message.js";
import { U32, UUID } from "./scalar.js";
import { struct } from "./struct.js";
import { SYSTEM_TIME } from "./system-time.js";

/** A session document of the reference (section 7.1). */
export interface Session {
  readonly id: SessionId;
  readonly messages: MessageList;
  readonly createdAt: SystemTime;
  readonly updatedAt: SystemTime;
  /** Of any content: only a look at the transcript history reads it further. */
  readonly metadata: RawJson;
  readonly usage: object;
}

const VERSION = 2;
const LEGACY_VERSION = 1;

const SESSION = struct<Session>("a session", {
  _version: hidden(defaulted("version", U32, LEGACY_VERSION), {
    verdict: (version) =>
      version === VERSION || version === LEGACY_VERSION
        ? undefined
        : "generated session persistence version authority rejected SessionEnvelope: " +
          `expected current ${VERSION} or legacy ${LEGACY_VERSION}, got ${version}`,
    compute: () => VERSION,
  }),
  id: required("id", UUID),
  messages: required("messages", MESSAGES),
  createdAt: required("created_at", SYSTEM_TIME),
  updatedAt: required("updated_at", SYSTEM_TIME),
  metadata: defaulted("metadata", RAW_OBJECT_IN_PLACE, RawJson.EMPTY_OBJECT),
  usage: defaulted<object>("usage", USAGE, { inputTokens: 0n, outputTokens: 0n }),
});

/** Reads a session; the bytes must stay as they are while it is in use. A `JsonError` when they are none. */
export function readSession(source: Uint8Array | string, gaps?: Gaps): Session {
  return readDocument(SESSION, source, gaps);
}

/** The session as the reference would write it again. */
export function writeSession(session: Session): Buffer {
  return writeDocument(SESSION, session);
}

/** The id of a session document, which is read as a whole; a `JsonError` when it is none. */
export function readSessionId(source: Uint8Array | string): SessionId {
  return readSession(source).id;
}
