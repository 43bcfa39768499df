import type { SessionId } from "../model/index.js";
import { readDocument } from "./document.js";
import { UUID } from "./scalar.js";
import { required } from "./field.js";
import { struct } from "./struct.js";

const ENVELOPE = struct<{ readonly id: SessionId }>("a session", { id: required("id", UUID) });

/** The id of a session document; a `JsonError` when the bytes are no JSON object with an id. */
export function readSessionId(source: Uint8Array | string): SessionId {
  return readDocument(ENVELOPE, source).id;
}
