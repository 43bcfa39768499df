import type { MessageInitShape } from "@bufbuild/protobuf";
import type { GetServerInfoResponse, GetServerInfoResponseSchema } from "../gen/bolthole/v1/store_pb.js";
import type { StoreInfo } from "../versioned-store.js";
import { requireField } from "./invalid-argument.js";

export function toServerInfo(message: GetServerInfoResponse): StoreInfo {
  const limits = requireField(message.limits, "limits");
  const retention = requireField(message.outcomeRetention, "outcome_retention");
  return {
    serverVersion: message.serverVersion,
    storeId: message.storeId,
    engine: message.engine,
    durable: message.durable,
    limits: {
      requestBytes: Number(limits.requestBytes),
      requestBytesInFlight: Number(limits.requestBytesInFlight),
      requestsInFlight: limits.requestsInFlight,
      documentBytes: Number(limits.documentBytes),
      runtimeIdBytes: limits.runtimeIdBytes,
      inputRowBytes: limits.inputRowBytes,
      batchRows: limits.batchRows,
      operationSnapshotBytes: limits.operationSnapshotBytes,
      oauthSnapshotBytes: limits.oauthSnapshotBytes,
      patchPieces: limits.patchPieces,
      patchInsertBytes: limits.patchInsertBytes,
      uploadBytes: Number(limits.uploadBytes),
      uploadIdleSeconds: limits.uploadIdleSeconds,
      ...(limits.quotaBytes === undefined ? {} : { quotaBytes: Number(limits.quotaBytes) }),
    },
    outcomeRetention: {
      maxAgeSeconds: Number(retention.maxAgeSeconds),
      maxCount: Number(retention.maxCount),
    },
  };
}

export function fromServerInfo(info: StoreInfo): MessageInitShape<typeof GetServerInfoResponseSchema> {
  return {
    ...info,
    limits: {
      ...info.limits,
      requestBytes: BigInt(info.limits.requestBytes),
      requestBytesInFlight: BigInt(info.limits.requestBytesInFlight),
      documentBytes: BigInt(info.limits.documentBytes),
      uploadBytes: BigInt(info.limits.uploadBytes),
      quotaBytes: info.limits.quotaBytes === undefined ? undefined : BigInt(info.limits.quotaBytes),
    },
    outcomeRetention: {
      maxAgeSeconds: BigInt(info.outcomeRetention.maxAgeSeconds),
      maxCount: BigInt(info.outcomeRetention.maxCount),
    },
  };
}
