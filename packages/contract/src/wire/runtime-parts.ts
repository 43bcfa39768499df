import { type MessageInitShape, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { RuntimePart, RuntimePartSchema } from "../gen/bolthole/v1/admin_pb.js";
import { MachineLifecycleRecordSchema } from "../gen/bolthole/v1/lifecycle_pb.js";
import type { RunBoundaryReceipt, RuntimeId, SessionProfile, StoredInputState } from "@bolthole/json/model";
import { type RuntimeContents, emptyContents } from "../runtime-transfer.js";
import { fromInputState, toInputState } from "./input-state.js";
import { InvalidArgumentError, requireField } from "./invalid-argument.js";
import { fromOpsSnapshot, toOpsSnapshot } from "./operations.js";
import { fromReceipt, toReceipt } from "./receipt.js";
import { sessionProfile } from "./session.js";

type Part = MessageInitShape<typeof RuntimePartSchema>;

const CHUNK_BYTES = 1 << 20;

/** A runtime in pieces of one record, or of at most 1 MiB of its session snapshot. */
export function* fromContents(contents: RuntimeContents): Generator<Part> {
  const { session, lifecycle, ops, inputs, receipts } = contents;
  if (session) {
    const profile = sessionProfile.toWire(session.profile);
    // An empty snapshot is a part without bytes, and none at all is no part.
    for (let at = 0; at === 0 || at < session.snapshot.length; at += CHUNK_BYTES) {
      const chunk = session.snapshot.subarray(at, at + CHUNK_BYTES);
      yield { part: { case: "snapshot", value: { profile, chunk } } };
    }
  }
  if (lifecycle) yield { part: { case: "lifecycle", value: fromBinary(MachineLifecycleRecordSchema, lifecycle) } };
  if (ops) yield { part: { case: "ops", value: fromOpsSnapshot(ops) } };
  for (const input of inputs) yield { part: { case: "input", value: fromInputState(input) } };
  for (const receipt of receipts) yield { part: { case: "receipt", value: fromReceipt(receipt) } };
}

/** Puts the pieces together again. */
export async function toContents(
  runtimeId: RuntimeId,
  parts: AsyncIterable<RuntimePart | undefined>,
): Promise<RuntimeContents> {
  let { lifecycle, ops } = emptyContents(runtimeId);
  let profile: SessionProfile | undefined;
  const chunks: Uint8Array[] = [];
  const inputs: StoredInputState[] = [];
  const receipts: RunBoundaryReceipt[] = [];
  for await (const one of parts) {
    const { part } = requireField(one, "part");
    switch (part.case) {
      case "snapshot":
        profile = sessionProfile.toModel(part.value.profile, "part.snapshot.profile");
        chunks.push(part.value.chunk);
        break;
      case "lifecycle":
        lifecycle = toBinary(MachineLifecycleRecordSchema, part.value);
        break;
      case "ops":
        ops = toOpsSnapshot(part.value, "part.ops");
        break;
      case "input":
        inputs.push(toInputState(part.value, `inputs[${inputs.length}]`));
        break;
      case "receipt":
        receipts.push(toReceipt(part.value, `receipts[${receipts.length}]`));
        break;
      case undefined:
        throw new InvalidArgumentError("part", "a record", "none");
    }
  }
  const session = profile && { snapshot: Buffer.concat(chunks), profile };
  return { runtimeId, session, lifecycle, ops, inputs, receipts };
}
