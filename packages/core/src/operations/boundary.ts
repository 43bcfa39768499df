import type { VersionedStore } from "@bolthole/contract";
import { readFailed } from "@bolthole/contract";
import { readReceipt } from "@bolthole/contract/json";
import type { Change } from "../committer.js";
import { commitOverSession, putSnapshot } from "../prepared-session.js";
import { inputRows, putInputs } from "../rules/input.js";
import { receiptRow, refuseTakenReceipt } from "../rules/receipt.js";
import { checkDocument, checkSessionKey, refuseOnOpaque, resolveProfile } from "../rules/session.js";
import { type StoreContext, checkRuntime, commit, loadRow } from "../store-context.js";
import { parseUuid } from "../validate.js";
import { deltaArguments, snapshotKey } from "./session.js";

type BoundaryOperations = Pick<VersionedStore, "atomicApply" | "loadBoundaryReceipt">;

export const boundaryOperations = (context: StoreContext): BoundaryOperations => ({
  async atomicApply(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    const { sessionDelta, sessionStoreKey } = request;
    const receipt = receiptRow(runtimeId, request.receipt);
    const inputs = inputRows(
      runtimeId,
      request.inputUpdates,
      (index) => `input_updates[${String(index)}]`,
      context.limits,
    );
    const identity = {
      method: "AtomicApply",
      mutation: request,
      args: [
        ...(sessionDelta ? deltaArguments(sessionDelta, context) : [undefined, undefined]),
        sessionStoreKey,
        receipt.value,
        ...inputs.values,
      ],
    };
    const boundary: Pick<Change, "rows" | "bytes" | "decide"> = {
      rows: [snapshotKey(runtimeId), receipt.key, ...inputs.keys],
      bytes: receipt.value.length + inputs.bytes,
      decide: (rows) => {
        refuseTakenReceipt(rows[1], request.receipt, runtimeId, receipt.value);
        return [{ row: 1, value: receipt.value }, ...putInputs(inputs, 2)];
      },
    };
    if (!sessionDelta) return commit(context, { ...identity, ...boundary });

    const document = sessionDelta.sessionSnapshot;
    const committed = await commitOverSession(context, runtimeId, identity, (stored) => {
      const profile = resolveProfile(sessionDelta, stored?.facts.profile, runtimeId);
      const id = checkDocument(document, profile, "session_delta", context.limits);
      if (sessionStoreKey !== undefined) refuseOnOpaque(profile, "a session store key", runtimeId);
      checkSessionKey(sessionStoreKey, id, runtimeId);
      return Promise.resolve({
        rows: boundary.rows,
        bytes: boundary.bytes + document.length,
        decide: (rows: Parameters<Change["decide"]>[0]) => [
          putSnapshot(document, profile),
          ...(boundary.decide(rows) ?? []),
        ],
      });
    });
    if (!committed) throw new TypeError("a boundary expects nothing");
    return committed;
  },

  async loadBoundaryReceipt(request) {
    const runtimeId = checkRuntime(context, request.runtimeId, readFailed);
    const runId = parseUuid(request.runId, "run_id", readFailed);
    return loadRow(context, { table: "receipt", runtimeId, runId, sequence: request.sequence }, readReceipt);
  },
});
