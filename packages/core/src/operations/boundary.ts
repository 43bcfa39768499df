import type { AtomicApply, VersionedStore } from "@bolthole/contract";
import { readFailed } from "@bolthole/contract";
import { readReceipt } from "@bolthole/json";
import type { Change } from "../commit/committer.js";
import { ReadSet } from "../commit/read-set.js";
import { changeArguments, incomingOf } from "../documents/incoming.js";
import { commitOverSession } from "../documents/prepared-session.js";
import { inputRows, putInputs, unchangedArguments } from "../rules/input.js";
import { receiptRow, refuseTakenReceipt } from "../rules/receipt.js";
import { acceptedId, checkSessionKey, refuseOnOpaque, resolveProfile } from "../rules/session.js";
import { type StoreContext, checkRuntime, commit, loadRow } from "../store-context.js";
import { invalid, parseUuid } from "../validate.js";

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
      request,
      args: {
        sessionDelta: sessionDelta
          ? await changeArguments(sessionDelta, context, "session_delta")
          : [undefined, undefined],
        sessionStoreKey,
        unchangedInputs: unchangedArguments(request.unchangedInputs),
        receipt: receipt.value,
        inputUpdates: inputs.rows.map(({ value }) => value),
      },
    };
    const reads = new ReadSet();
    const receiptHandle = reads.add(receipt.key);
    const edits = [{ handle: receiptHandle, value: receipt.value }, ...putInputs(inputs, reads)];
    const boundary: Pick<Change<AtomicApply>, "reads" | "bytes" | "decide"> = {
      reads,
      bytes: receipt.value.length + inputs.bytes,
      decide: (rows) => {
        refuseTakenReceipt(rows.get(receiptHandle), request.receipt, runtimeId, receipt.value);
        return edits;
      },
    };
    if (!sessionDelta) return commit(context, { ...identity, ...boundary });

    const committed = await commitOverSession(context, runtimeId, identity, async (stored) => {
      const profile = resolveProfile(sessionDelta, stored?.facts.profile, runtimeId);
      const incoming = incomingOf(context, runtimeId, sessionDelta, "session_delta", stored);
      if (profile === "opaque") {
        if (sessionStoreKey !== undefined) refuseOnOpaque(profile, "a session store key", runtimeId);
        return { document: { incoming, profile }, beside: boundary };
      }
      const finding = await context.transcripts.check({ incoming, guard: { previous: stored } });
      if ("id" in finding) checkSessionKey(sessionStoreKey, finding.id, runtimeId);
      acceptedId(finding, "session_delta", runtimeId);
      return { document: { incoming, profile, finding }, beside: boundary };
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
