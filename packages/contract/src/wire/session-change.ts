import { isUint8Array } from "node:util/types";
import { create } from "@bufbuild/protobuf";
import { type DocumentPart, SESSION_PROFILES, type SnapshotPatch } from "@bolthole/json/model";
import { type OpsDelta as WireOpsDelta, OpsDeltaSchema } from "../gen/bolthole/v1/operations_pb.js";
import * as pb from "../gen/bolthole/v1/session_pb.js";
import type { OpsDelta, SessionChange } from "../versioned-store.js";
import { refuseOthers, requireBytes, requireObject } from "./field-types.js";
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
      from: isUint8Array(part) ? { case: "insert", value: part } : { case: "copy", value: range.toWire(part) },
    }),
  refuseUnknown: (part) => {
    if (!isUint8Array(part)) at("copy", () => range.refuseUnknown?.(part));
  },
};

const patch: Codec<pb.SnapshotPatch, SnapshotPatch> = message(pb.SnapshotPatchSchema, {
  baseVersion: same,
  resultLength: byteCount,
  resultCrc32: same,
  pieces: list(piece),
});

/** A new document that is not sent as a whole. */
type PartialDocument = { readonly patch: SnapshotPatch } | { readonly uploadId: string };
type PartialContent = Extract<pb.SessionDelta["content"], { readonly case: "patch" | "uploadId" }>;

const partialContentOf = (change: PartialDocument): PartialContent =>
  "patch" in change
    ? { case: "patch", value: at("patch", () => patch.toWire(change.patch)) }
    : { case: "uploadId", value: change.uploadId };

const partialOf = (content: PartialContent): PartialDocument =>
  content.case === "patch" ? { patch: at("patch", () => patch.toModel(content.value)) } : { uploadId: content.value };

/** Refuses what is beside the content of a change, also a second content, which would not be sent. */
function refuseBeside(change: SessionChange | OpsDelta, whole: string, beside: readonly string[]): void {
  const content = [whole, "patch"].find((name) => name in change) ?? "uploadId";
  refuseOthers(change, new Set([content, ...beside]));
  if (content === "patch" && "patch" in change) at("patch", () => patch.refuseUnknown?.(change.patch));
}

type Content = pb.SessionDelta["content"];

const contentOf = (change: SessionChange): Content =>
  "sessionSnapshot" in change
    ? { case: "sessionSnapshot", value: bytesOf("session_snapshot", change.sessionSnapshot) }
    : partialContentOf(change);

/** Returns bytes as they are. protobuf-es would take a list of numbers for bytes. */
function bytesOf(field: string, bytes: Uint8Array): Uint8Array {
  at(field, () => {
    requireBytes(bytes);
  });
  return bytes;
}

function changeOf(content: Content): SessionChange {
  switch (content.case) {
    case "sessionSnapshot":
      return { sessionSnapshot: content.value };
    case "sessionJson":
      return { sessionSnapshot: Buffer.from(content.value, "utf8") };
    case "patch":
    case "uploadId":
      return partialOf(content);
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
  toWire: (change) => {
    requireObject(change);
    return create(pb.SessionDeltaSchema, {
      content: contentOf(change),
      profile: at("profile", () => sessionProfile.optional.toWire(change.profile)),
    });
  },
  refuseUnknown: (change) => {
    refuseBeside(change, "sessionSnapshot", ["profile"]);
  },
};

/** The new JSON of an operation snapshot. JSON that was sent as text becomes bytes. */
export const opsDelta: Codec<WireOpsDelta, OpsDelta> = {
  toModel: ({ content }) => {
    switch (content.case) {
      case "opsSnapshot":
        return { opsSnapshot: content.value };
      case "opsJson":
        return { opsSnapshot: Buffer.from(content.value, "utf8") };
      case "patch":
      case "uploadId":
        return partialOf(content);
      case undefined:
        throw new InvalidArgumentError("content", "ops_snapshot, ops_json, patch or upload_id", "none");
    }
  },
  toWire: (delta) => {
    requireObject(delta);
    return create(OpsDeltaSchema, {
      content:
        "opsSnapshot" in delta
          ? { case: "opsSnapshot", value: bytesOf("ops_snapshot", delta.opsSnapshot) }
          : partialContentOf(delta),
    });
  },
  refuseUnknown: (delta) => {
    refuseBeside(delta, "opsSnapshot", []);
  },
};
