import type { MessageInitShape } from "@bufbuild/protobuf";
import type { UploadSessionSnapshotRequest, UploadSessionSnapshotRequestSchema } from "../gen/bolthole/v1/store_pb.js";
import type { UploadSessionSnapshot } from "../versioned-store.js";
import { InvalidArgumentError, requireField } from "./invalid-argument.js";
import { toLength } from "./session.js";
import { withFirst } from "./with-first.js";

/** The first message says what comes, all others bring bytes. */
export async function toUpload(parts: AsyncIterable<UploadSessionSnapshotRequest>): Promise<UploadSessionSnapshot> {
  const { first, all } = await withFirst(parts);
  if (first?.part.case !== "upload") throw new InvalidArgumentError("upload", "in the first message", "none");
  const { runtimeId, length, sha256 } = first.part.value;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for await (const message of all) {
      if (message === first) continue;
      if (message.part.case !== "chunk") throw new InvalidArgumentError("chunk", "in every message after the first");
      yield message.part.value;
    }
  }
  return {
    runtimeId: requireField(runtimeId, "upload.runtime_id"),
    length: toLength(length, "upload.length"),
    sha256,
    chunks: chunks(),
  };
}

export async function* fromUpload({
  runtimeId,
  length,
  sha256,
  chunks,
}: UploadSessionSnapshot): AsyncGenerator<MessageInitShape<typeof UploadSessionSnapshotRequestSchema>> {
  yield { part: { case: "upload", value: { runtimeId, length: BigInt(length), sha256 } } };
  for await (const chunk of chunks) yield { part: { case: "chunk", value: chunk } };
}
