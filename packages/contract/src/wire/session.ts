import type { MessageInitShape } from "@bufbuild/protobuf";
import { SessionProfileSchema } from "../gen/bolthole/v1/session_pb.js";
import type * as pb from "../gen/bolthole/v1/session_pb.js";
import type { SnapshotPatch, TranscriptRewriteCommit } from "@bolthole/json/model";
import { SESSION_PROFILES } from "@bolthole/json/model";
import type { SessionChange } from "../versioned-store.js";
import { enumCodec } from "./enum-codec.js";
import { InvalidArgumentError, requireField } from "./invalid-argument.js";

export const sessionProfile = enumCodec(SessionProfileSchema, SESSION_PROFILES);

export function toSessionChange(message: pb.SessionDelta, field: string): SessionChange {
  const profile = sessionProfile.toOptionalModel(message.profile, `${field}.profile`);
  switch (message.content.case) {
    case "sessionSnapshot":
      return { sessionSnapshot: message.content.value, profile };
    case "sessionJson":
      return { sessionSnapshot: Buffer.from(message.content.value, "utf8"), profile };
    case "patch":
      return { patch: toPatch(message.content.value, `${field}.patch`), profile };
    case "uploadId":
      return { uploadId: message.content.value, profile };
    case undefined:
      throw new InvalidArgumentError(`${field}.content`, "session_snapshot, session_json, patch or upload_id", "none");
  }
}

export function fromSessionChange(change: SessionChange): MessageInitShape<typeof pb.SessionDeltaSchema> {
  return { content: contentOf(change), profile: sessionProfile.toOptionalWire(change.profile, "profile") };
}

function contentOf(change: SessionChange): NonNullable<MessageInitShape<typeof pb.SessionDeltaSchema>["content"]> {
  if ("patch" in change) return { case: "patch", value: fromPatch(change.patch) };
  if ("uploadId" in change) return { case: "uploadId", value: change.uploadId };
  return { case: "sessionSnapshot", value: change.sessionSnapshot };
}

const toPatch = (message: pb.SnapshotPatch, field: string): SnapshotPatch => ({
  baseVersion: message.baseVersion,
  resultLength: toLength(message.resultLength, `${field}.result_length`),
  resultCrc32: message.resultCrc32,
  pieces: message.pieces.map(({ from }, index) => {
    const name = `${field}.pieces[${String(index)}]`;
    if (from.case === "insert") return from.value;
    if (from.case === undefined) throw new InvalidArgumentError(`${name}.from`, "copy or insert", "neither");
    const { offset, length } = from.value;
    return {
      offset: toLength(offset, `${name}.copy.offset`),
      length: toLength(length, `${name}.copy.length`),
    };
  }),
});

const fromPatch = (patch: SnapshotPatch): MessageInitShape<typeof pb.SnapshotPatchSchema> => ({
  ...patch,
  resultLength: BigInt(patch.resultLength),
  pieces: patch.pieces.map((part) => ({
    from:
      part instanceof Uint8Array
        ? { case: "insert", value: part }
        : { case: "copy", value: { offset: BigInt(part.offset), length: BigInt(part.length) } },
  })),
});

/** A number of bytes, which a double holds exactly. */
export function toLength(value: bigint, field: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new InvalidArgumentError(field, "at most 2^53 - 1", value.toString());
  return Number(value);
}

export function toRewriteCommit(message: pb.TranscriptRewriteCommit, field: string): TranscriptRewriteCommit {
  const selection = message.selection?.selection;
  if (selection?.case !== "messageRange")
    throw new InvalidArgumentError(`${field}.selection`, "a message_range", "none");
  const reason = requireField(message.reason, `${field}.reason`);
  const committedAt = requireField(message.committedAt, `${field}.committed_at`);
  return {
    parentRevision: message.parentRevision,
    revision: message.revision,
    selection: { kind: "message_range", start: selection.value.start, end: selection.value.end },
    originalSpanDigest: message.originalSpanDigest,
    replacementDigest: message.replacementDigest,
    messagesBefore: message.messagesBefore,
    messagesAfter: message.messagesAfter,
    reason: { kind: reason.kind, note: reason.note },
    actor: message.actor,
    committedAt: { seconds: committedAt.seconds, nanos: committedAt.nanos },
  };
}

export function fromRewriteCommit(
  commit: TranscriptRewriteCommit,
): MessageInitShape<typeof pb.TranscriptRewriteCommitSchema> {
  const { start, end } = commit.selection;
  return {
    ...commit,
    selection: { selection: { case: "messageRange", value: { start, end } } },
    reason: { ...commit.reason },
    committedAt: { ...commit.committedAt },
  };
}
