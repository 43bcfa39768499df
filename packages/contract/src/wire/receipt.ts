import type { MessageInitShape } from "@bufbuild/protobuf";
import { RunApplyBoundarySchema } from "../gen/bolthole/v1/receipt_pb.js";
import type { RunBoundaryReceipt as ReceiptMessage, RunBoundaryReceiptSchema } from "../gen/bolthole/v1/receipt_pb.js";
import type { RunBoundaryReceipt } from "@bolthole/json/model";
import { RUN_APPLY_BOUNDARIES } from "@bolthole/json/model";
import { enumCodec } from "./enum-codec.js";

export const runApplyBoundary = enumCodec(RunApplyBoundarySchema, RUN_APPLY_BOUNDARIES);

export function toReceipt(message: ReceiptMessage, field: string): RunBoundaryReceipt {
  return {
    runId: message.runId,
    boundary: runApplyBoundary.toModel(message.boundary, `${field}.boundary`),
    contributingInputIds: message.contributingInputIds,
    conversationDigest: message.conversationDigest,
    messageCount: message.messageCount,
    sequence: message.sequence,
  };
}

export function fromReceipt(receipt: RunBoundaryReceipt): MessageInitShape<typeof RunBoundaryReceiptSchema> {
  return {
    ...receipt,
    boundary: runApplyBoundary.toWire(receipt.boundary, "boundary"),
    contributingInputIds: [...receipt.contributingInputIds],
  };
}
