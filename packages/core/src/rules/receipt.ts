import type { RunBoundaryReceipt, RuntimeId } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { writeReceipt } from "@bolthole/json";
import type { Row, RowKey } from "../engine.js";
import { parseUuid, shaped } from "../validate.js";

/** A receipt's key and normal form. Its content is not checked against anything (section 4). */
export function receiptRow(runtimeId: RuntimeId, receipt: RunBoundaryReceipt): { key: RowKey; value: Uint8Array } {
  const value = shaped("receipt", writeFailed, () => writeReceipt(receipt));
  const runId = parseUuid(receipt.runId, "receipt.run_id", writeFailed);
  return { key: { table: "receipt", runtimeId, runId, sequence: receipt.sequence }, value };
}

/** A taken key is refused, also by an identical receipt; the error says whether it is one (section 14.1). */
export function refuseTakenReceipt(
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
