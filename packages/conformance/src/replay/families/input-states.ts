import { type RuntimeStore, StoreError } from "@bolthole/contract";
import { readInputState, writeInputState } from "@bolthole/json";
import type { Difference } from "../replay-report.js";
import { type Vector, judge, reading } from "../vector.js";
import { type Family, compared, differences } from "./family.js";

const written = (state: Parameters<typeof writeInputState>[0]): string => writeInputState(state).toString();

export const inputStates: Family = {
  needs: [],
  async play(vector, store, runtimeId) {
    const verdict = reading(vector, readInputState);
    const read = judge(vector, "reencoded", verdict, written);
    if (read || "refusal" in verdict) return differences(read);
    return differences(await throughStore(vector, store, runtimeId, verdict.value));
  },
};

async function throughStore(
  { authorize }: Vector,
  store: RuntimeStore,
  runtimeId: string,
  state: ReturnType<typeof readInputState>,
): Promise<Difference | undefined> {
  const refusal = await store.persistInputState(runtimeId, state).then(() => undefined, storeError);
  if (authorize?.err !== undefined) {
    const isRejected = refusal?.reason === "RECORD_REJECTED";
    return compared("persist", authorize.err, isRejected ? refusal.text : refusal?.message);
  }
  if (refusal !== undefined) return { op: "persist", expected: "stored", got: refusal.message };
  const loaded = await store.loadInputState(runtimeId, state.inputId);
  const [listed] = await store.loadInputStates(runtimeId);
  // The payload is compared apart: a writer would put it into its normal form.
  const one = compared("load_input_state", written(state), loaded && written(loaded));
  const payload = compared("load_input_state", state.persistedInput, loaded?.persistedInput);
  return one ?? payload ?? compared("load_input_states", written(state), listed && written(listed));
}

function storeError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  throw error;
}
