import type { VersionedStore } from "@bolthole/contract";
import { readFailed, writeFailed } from "@bolthole/contract";
import { readOpsSnapshot, writeOpsSnapshot } from "@bolthole/json";
import { type StoreContext, checkRuntime, commit, loadRow, singleRow } from "../store-context.js";
import { checkSize, shaped } from "../validate.js";

type OpsOperations = Pick<VersionedStore, "persistOpsLifecycle" | "loadOpsLifecycle" | "deleteOpsLifecycle">;

export const opsOperations = (context: StoreContext): OpsOperations => ({
  async persistOpsLifecycle(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    const value = shaped("snapshot", writeFailed, () => writeOpsSnapshot(request.snapshot));
    checkSize(value.length, context.limits.operationSnapshotBytes, "snapshot", writeFailed);
    return commit(
      context,
      singleRow("PersistOpsLifecycle", request, { snapshot: value }, { table: "ops", runtimeId }, value),
    );
  },

  async loadOpsLifecycle(request) {
    const runtimeId = checkRuntime(context, request.runtimeId, readFailed);
    return loadRow(context, { table: "ops", runtimeId }, readOpsSnapshot);
  },

  async deleteOpsLifecycle(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    return commit(context, singleRow("DeleteOpsLifecycle", request, {}, { table: "ops", runtimeId }, undefined));
  },
});
