import type { MessageInitShape } from "@bufbuild/protobuf";
import { SessionProfileSchema } from "../gen/bolthole/v1/session_pb.js";
import type * as pb from "../gen/bolthole/v1/session_pb.js";
import type { SessionDelta, TranscriptRewriteCommit } from "../model/index.js";
import { SESSION_PROFILES } from "../model/index.js";
import { enumCodec } from "./enum-codec.js";
import { InvalidArgument, required } from "./invalid-argument.js";

export const sessionProfile = enumCodec(SessionProfileSchema, SESSION_PROFILES);

export function toSessionDelta(message: pb.SessionDelta, field: string): SessionDelta {
  const profile = sessionProfile.toOptionalModel(message.profile, `${field}.profile`);
  switch (message.content.case) {
    case "sessionSnapshot":
      return { sessionSnapshot: message.content.value, profile };
    case "sessionJson":
      return { sessionSnapshot: Buffer.from(message.content.value, "utf8"), profile };
    case undefined:
      throw new InvalidArgument(`${field}.content`, "session_snapshot or session_json", "neither");
  }
}

export function fromSessionDelta(delta: SessionDelta): MessageInitShape<typeof pb.SessionDeltaSchema> {
  return {
    content: { case: "sessionSnapshot", value: delta.sessionSnapshot },
    profile: sessionProfile.toOptionalWire(delta.profile, "profile"),
  };
}

export function toRewriteCommit(message: pb.TranscriptRewriteCommit, field: string): TranscriptRewriteCommit {
  const selection = message.selection?.selection;
  if (selection?.case !== "messageRange") throw new InvalidArgument(`${field}.selection`, "a message_range", "none");
  const reason = required(message.reason, `${field}.reason`);
  const committedAt = required(message.committedAt, `${field}.committed_at`);
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
