import type { RunBoundaryReceipt, RuntimeId, VersionedStore } from "@bolthole/contract";
import { readFailed, writeFailed } from "@bolthole/contract";
import { readReceipt, writeReceipt } from "@bolthole/json";
import type { Edits } from "../commit/committer.js";
import { ReadSet } from "../commit/row.js";
import { changeArguments, incomingOf } from "../documents/incoming.js";
import { commitOverSession } from "../documents/session-commit.js";
import type { KeyOf, Row } from "../engine.js";
import { type StoreContext, loadRow } from "../store-context.js";
import { checkRuntimeId, checkStoredRuntimeId, invalid, parseUuid, shaped } from "../validate.js";
import { commitInputs, firstResponse, unchangedArguments, withInputs } from "./inputs.js";
import { acceptedId, checkSessionKey, refuseOnOpaque, resolveProfile } from "./sessions.js";

type BoundaryOperations = Pick<VersionedStore, "atomicApply" | "loadBoundaryReceipt">;

export const boundaryOperations = (context: StoreContext): BoundaryOperations => ({
  async atomicApply(request) {
    const runtimeId = checkRuntimeId(request.runtimeId, context.limits);
    const { sessionDelta, sessionStoreKey } = request;
    const receipt = receiptRow(runtimeId, request.receipt);
    const sent = { states: request.inputUpdates, uploadId: request.inputUploadId, field: "input_updates" };
    return withInputs(context, request, sent, async (inputs) => {
      const fingerprinted = {
        method: "AtomicApply",
        request,
        args: {
          sessionDelta: sessionDelta
            ? await changeArguments(sessionDelta, context, "session_delta")
            : [undefined, undefined],
          sessionStoreKey,
          unchangedInputs: unchangedArguments(request.unchangedInputs),
          receipt: receipt.value,
          inputUpdates: inputs.rowArguments,
          inputUploadId: inputs.uploadArguments,
        },
        inputIds: inputs.ids,
      };
      const reads = new ReadSet();
      const handle = reads.add(receipt.key);
      const edits = [{ handle, value: receipt.value }, ...inputs.edits(reads)];
      const boundary: Edits = {
        reads,
        bytes: receipt.value.length + inputs.bytes,
        rowSet: inputs.upload?.merged,
        decide: (rows) => {
          refuseTakenReceipt(rows.get(handle), request.receipt, runtimeId, receipt.value);
          return edits;
        },
      };
      if (!sessionDelta) return commitInputs(context, inputs, { ...fingerprinted, ...boundary });
      if (inputs.upload && !inputs.upload.merged) return firstResponse(context, inputs.upload, fingerprinted);

      return commitOverSession(context, runtimeId, fingerprinted, async (stored) => {
        const profile = resolveProfile(sessionDelta, stored?.facts.profile, runtimeId);
        const incoming = incomingOf(context, runtimeId, sessionDelta, "session_delta", stored);
        if (profile === "opaque") {
          if (sessionStoreKey !== undefined) refuseOnOpaque(profile, "a session store key", runtimeId);
          return { document: { incoming, profile }, otherEdits: boundary };
        }
        const verdict = await context.transcripts.check({ incoming, guard: { previous: stored } });
        if ("id" in verdict) checkSessionKey(sessionStoreKey, verdict.id, runtimeId);
        acceptedId(verdict, "session_delta", runtimeId);
        return { document: { incoming, profile, verdict }, otherEdits: boundary };
      });
    });
  },

  async loadBoundaryReceipt(request) {
    const runtimeId = checkStoredRuntimeId(request.runtimeId, readFailed);
    const runId = parseUuid(request.runId, "run_id", readFailed);
    const { sequence } = request;
    if (BigInt.asUintN(64, sequence) !== sequence) {
      throw invalid(readFailed, "sequence", "an unsigned 64-bit number", sequence.toString());
    }
    return loadRow(context, { table: "receipt", runtimeId, runId, sequence }, readReceipt);
  },
});

/** Returns the key and the canonical JSON of a receipt. Its content is not compared with anything (contract 4.2). */
export function receiptRow(
  runtimeId: RuntimeId,
  receipt: RunBoundaryReceipt,
): { key: KeyOf<"receipt">; value: Uint8Array } {
  const value = shaped("receipt", writeFailed, () => writeReceipt(receipt));
  const runId = parseUuid(receipt.runId, "receipt.run_id", writeFailed);
  return { key: { table: "receipt", runtimeId, runId, sequence: receipt.sequence }, value };
}

/** Refuses a receipt whose key is stored already, also with equal content; the error says whether it is equal (contract 4.2). */
function refuseTakenReceipt(
  stored: Row | undefined,
  receipt: RunBoundaryReceipt,
  runtimeId: RuntimeId,
  value: Uint8Array,
): void {
  if (!stored) return;
  const identical = Buffer.compare(stored.value, value) === 0;
  throw writeFailed(
    "RECEIPT_EXISTS",
    `a receipt of run ${receipt.runId} with sequence ${receipt.sequence.toString()} is already stored` +
      (identical ? ", identical to this one" : ", with other content"),
    { runtimeId, record: "receipt", identical },
  );
}
