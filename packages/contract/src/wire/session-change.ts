import { create } from "@bufbuild/protobuf";
import { type DocumentPart, SESSION_PROFILES, type SnapshotPatch } from "@bolthole/json/model";
import * as pb from "../gen/bolthole/v1/session_pb.js";
import type { SessionChange } from "../versioned-store.js";
import { type Codec, InvalidArgumentError, at, byteCount, enumeration, list, message, same } from "./message-codec.js";

export const sessionProfile = enumeration(pb.SessionProfileSchema, SESSION_PROFILES);

const range = message<typeof pb.RangeSchema, { offset: number; length: number }>(pb.RangeSchema, {
  offset: byteCount,
  length: byteCount,
});

const piece: Codec<pb.Piece, DocumentPart> = {
  toModel: ({ from }) => {
    switch (from.case) {
      case "insert":
        return from.value;
      case "copy":
        return at("copy", () => range.toModel(from.value));
      case undefined:
        throw new InvalidArgumentError("from", "copy or insert", "neither");
    }
  },
  toWire: (part) =>
    create(pb.PieceSchema, {
      from: part instanceof Uint8Array ? { case: "insert", value: part } : { case: "copy", value: range.toWire(part) },
    }),
};

const patch: Codec<pb.SnapshotPatch, SnapshotPatch> = message(pb.SnapshotPatchSchema, {
  baseVersion: same,
  resultLength: byteCount,
  resultCrc32: same,
  pieces: list(piece),
});

type Content = pb.SessionDelta["content"];

function contentOf(change: SessionChange): Content {
  if ("patch" in change) return { case: "patch", value: patch.toWire(change.patch) };
  if ("uploadId" in change) return { case: "uploadId", value: change.uploadId };
  return { case: "sessionSnapshot", value: change.sessionSnapshot };
}

function changeOf(content: Content): SessionChange {
  switch (content.case) {
    case "sessionSnapshot":
      return { sessionSnapshot: content.value };
    case "sessionJson":
      return { sessionSnapshot: Buffer.from(content.value, "utf8") };
    case "patch":
      return { patch: at("patch", () => patch.toModel(content.value)) };
    case "uploadId":
      return { uploadId: content.value };
    case undefined:
      throw new InvalidArgumentError("content", "session_snapshot, session_json, patch or upload_id", "none");
  }
}

/** The new document of a mutation. A document that was sent as text becomes bytes. */
export const sessionChange: Codec<pb.SessionDelta, SessionChange> = {
  toModel: (wire) => {
    const profile = at("profile", () => sessionProfile.optional.toModel(wire.profile));
    return { ...changeOf(wire.content), profile };
  },
  toWire: (change) =>
    create(pb.SessionDeltaSchema, {
      content: contentOf(change),
      profile: at("profile", () => sessionProfile.optional.toWire(change.profile)),
    }),
};
