import { createHash } from "node:crypto";

import { JsonError, type MessageList, readSession, readTranscriptHistory, writeSession } from "./index.js";
import { type VectorCase, bytesOf, testVectors } from "./vectors.test.helper.js";

const digestOf = (messages: MessageList): string => {
  const digest = createHash("sha256").update("[");
  let isFirst = true;
  for (const slice of messages.slices(0, messages.length)) {
    if (!isFirst) digest.update(",");
    isFirst = false;
    digest.update(slice);
  }
  return `sha256:${digest.update("]").digest("hex")}`;
};

interface Expected {
  readonly id: string;
  readonly message_count: number;
  readonly digest?: string;
  readonly revision?: string;
  readonly revision_err?: string;
  readonly reencoded?: string;
  /** What a second pass gives, where it differs. */
  readonly again?: { readonly ok?: Pick<Expected, "digest" | "reencoded">; readonly err?: string };
}

function problemOf(vector: VectorCase): string | undefined {
  const { ok, err } = vector.expect as unknown as { ok?: Expected; err?: string };
  let session;
  try {
    session = readSession(bytesOf(vector));
  } catch (error) {
    if (!(error instanceof JsonError)) return `threw ${String(error)}`;
    if (err === undefined) return vector.quirk ? undefined : `refused: ${error.message}`;
    const text = err.replace(/ at line \d+ column \d+$/, "");
    // A list in the place of an object may be refused before any rule is looked at (section 14.19).
    const isRule =
      vector.name !== "positional-version-three" && /rejected SessionEnvelope|overflow deserializing/.test(err);
    return isRule && error.message !== text ? `says ${error.message} instead of ${text}` : undefined;
  }
  if (ok === undefined) return vector.quirk ? undefined : "accepted";
  if (session.id !== ok.id) return `id ${session.id}`;
  if (session.messages.length !== ok.message_count) return `${session.messages.length} messages`;
  if (ok.digest === undefined) return undefined;
  const digest = digestOf(session.messages);
  if (digest !== ok.digest) return `digest ${digest}`;
  const reencoded = writeSession(session).toString();
  if (reencoded !== ok.reencoded) return `written as ${reencoded}`;
  let revision: string | undefined;
  try {
    revision = readTranscriptHistory(session.metadata)?.head ?? digest;
  } catch (error) {
    if (!(error instanceof JsonError)) return `history threw ${String(error)}`;
  }
  if (revision !== ok.revision) return `revision ${revision ?? "malformed"}`;
  const { again } = ok;
  if (again?.err !== undefined) return undefined;
  const second = readSession(reencoded);
  if (digestOf(second.messages) !== (again?.ok?.digest ?? digest)) return "another digest on the second pass";
  return writeSession(second).toString() === (again?.ok?.reencoded ?? reencoded)
    ? undefined
    : "another text on the second pass";
}

testVectors("sessions.jsonl", "sessions are read as the reference reads them", problemOf);
