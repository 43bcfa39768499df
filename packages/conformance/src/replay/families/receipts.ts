import { readReceipt, writeReceipt } from "@bolthole/json";
import { judge, reading } from "../vector.js";
import { type Family, compared, differences } from "./family.js";

const written = (receipt: Parameters<typeof writeReceipt>[0]): string => writeReceipt(receipt).toString();

export const receipts: Family = {
  needs: [],
  async play(vector, store, runtimeId) {
    const verdict = reading(vector, readReceipt);
    const read = judge(vector, "reencoded", verdict, written);
    if (read || "refusal" in verdict) return differences(read);
    const { value } = verdict;
    await store.atomicApply(runtimeId, undefined, value, [], undefined);
    const loaded = await store.loadBoundaryReceipt(runtimeId, value.runId, value.sequence);
    return differences(compared("load_boundary_receipt", written(value), loaded && written(loaded)));
  },
};
