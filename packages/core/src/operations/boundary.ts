import type { VersionedStore } from "@bolthole/contract";
import { readFailed } from "@bolthole/contract";
import { readReceipt } from "@bolthole/contract/json";
import type { Change } from "../commit/committer.js";
import { commitOverSession, snapshotEdit } from "../prepared-session.js";
import { inputRows, putInputs } from "../rules/input.js";
import { receiptRow, refuseTakenReceipt } from "../rules/receipt.js";
import { acceptedId, checkSessionKey, refuseOnOpaque, resolveProfile } from "../rules/session.js";
import { type StoreContext, checkRuntime, commit, loadRow } from "../store-context.js";
import { invalid, parseUuid } from "../validate.js";
import { deltaArguments, snapshotKey, storedDocument } from "./session.js";

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
        ...(sessionDelta ? await deltaArguments(sessionDelta, context) : [undefined, undefined]),
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

    const incoming = sessionDelta.sessionSnapshot;
    const committed = await commitOverSession(context, runtimeId, identity, async (stored) => {
      const profile = resolveProfile(sessionDelta, stored?.facts.profile, runtimeId);
      if (profile === "session") {
        const previous = await storedDocument(context, runtimeId, stored);
        const finding = await context.transcripts.check({ incoming, guard: { previous } });
        if ("id" in finding) checkSessionKey(sessionStoreKey, finding.id, runtimeId);
        acceptedId(finding, "session_delta", runtimeId);
      } else if (sessionStoreKey !== undefined) {
        refuseOnOpaque(profile, "a session store key", runtimeId);
      }
      const edit = await snapshotEdit(incoming, profile);
      return {
        rows: boundary.rows,
        bytes: boundary.bytes + incoming.length,
        decide: (rows: Parameters<Change["decide"]>[0]) => [edit, ...(boundary.decide(rows) ?? [])],
      };
    });
    if (!committed) throw new TypeError("a boundary expects nothing");
    return committed;
  },

  async loadBoundaryReceipt(request) {
    const runtimeId = checkRuntime(context, request.runtimeId, readFailed);
    const runId = parseUuid(request.runId, "run_id", readFailed);
    const { sequence } = request;
    if (BigInt.asUintN(64, sequence) !== sequence) {
      throw invalid(readFailed, "sequence", "an unsigned 64-bit number", sequence.toString());
    }
    return loadRow(context, { table: "receipt", runtimeId, runId, sequence }, readReceipt);
  },
});
