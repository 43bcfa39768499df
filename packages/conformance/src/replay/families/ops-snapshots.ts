import { canonicalRawJson, readOpsSnapshot, writeOpsSnapshot } from "@bolthole/json";
import { judge, reading } from "../vector.js";
import { type Family, compared, differences } from "./family.js";

/** With the members of every object in order. */
const written = (snapshot: Parameters<typeof writeOpsSnapshot>[0]): string =>
  canonicalRawJson(writeOpsSnapshot(snapshot).toString());

export const opsSnapshots: Family = {
  needs: [],
  async play(vector, store, runtimeId) {
    const verdict = reading(vector, readOpsSnapshot);
    const read = judge(vector, "sorted", verdict, written);
    if (read || "refusal" in verdict) return differences(read);
    await store.persistOpsLifecycle(runtimeId, verdict.value);
    const loaded = await store.loadOpsLifecycle(runtimeId);
    return differences(compared("load_ops_lifecycle", written(verdict.value), loaded && written(loaded)));
  },
};
