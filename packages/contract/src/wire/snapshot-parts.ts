import type { MessageInitShape } from "@bufbuild/protobuf";
import type { SessionSnapshotInfoSchema } from "../gen/bolthole/v1/session_pb.js";
import type { LoadSessionSnapshotResponse, LoadSessionSnapshotResponseSchema } from "../gen/bolthole/v1/store_pb.js";
import type { LoadedSnapshot } from "../versioned-store.js";
import { requireField } from "./invalid-argument.js";
import { sessionProfile } from "./session.js";
import { withFirst } from "./with-first.js";

/** A stream without a message means that no snapshot is stored. */
export async function toSnapshotParts(
  parts: AsyncIterable<LoadSessionSnapshotResponse>,
): Promise<LoadedSnapshot | undefined> {
  const { first, all } = await withFirst(parts);
  if (!first) return undefined;
  const info = requireField(first.info, "info");
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for await (const { chunk } of all) yield chunk;
  }
  return {
    version: info.version,
    length: Number(info.length),
    profile: sessionProfile.toModel(info.profile, "info.profile"),
    chunks: chunks(),
  };
}

/** The first message carries what is known about the snapshot, and its first bytes. */
export async function* fromSnapshotParts(
  snapshot: LoadedSnapshot | undefined,
): AsyncGenerator<MessageInitShape<typeof LoadSessionSnapshotResponseSchema>> {
  if (!snapshot) return;
  const { version, length, profile } = snapshot;
  let info: MessageInitShape<typeof SessionSnapshotInfoSchema> | undefined = {
    version,
    length: BigInt(length),
    profile: sessionProfile.toWire(profile),
  };
  for await (const chunk of snapshot.chunks) {
    yield info ? { info, chunk } : { chunk };
    info = undefined;
  }
  if (info) yield { info };
}
