import { type MachineLifecycle, type RuntimeStore, loadMachineLifecycle } from "@bolthole/contract";
import { readMachineLifecycle, writeMachineLifecycle } from "@bolthole/json";
import type { Difference } from "../replay-report.js";
import { lifecycleOf } from "../trace-args.js";
import { type Vector, judge, reading } from "../vector.js";
import { type Family, compared, differences } from "./family.js";

const written = (lifecycle: MachineLifecycle): string => writeMachineLifecycle(lifecycle).toString();

export const lifecycleRecords: Family = {
  needs: [],
  async play(vector, store, runtimeId) {
    if (vector.op === "encode") return encode(vector, store, runtimeId);
    const verdict = reading(vector, readMachineLifecycle);
    const read = judge(vector, "runtime_state", verdict, ({ runtimeState }) => runtimeState);
    if (read || "refusal" in verdict) return differences(read);
    return differences(await throughStore(store, runtimeId, verdict.value));
  },
};

async function encode(vector: Vector, store: RuntimeStore, runtimeId: string): Promise<Difference[]> {
  const facts = vector.input as Readonly<Record<string, unknown>>;
  const value = lifecycleOf(facts, facts["runtime_state"]);
  const encoded = compared("encode", vector.expect.ok?.["encoded"], written(value));
  return differences(encoded ?? (await throughStore(store, runtimeId, value)));
}

async function throughStore(
  store: RuntimeStore,
  runtimeId: string,
  value: MachineLifecycle,
): Promise<Difference | undefined> {
  await store.commitMachineLifecycle(runtimeId, value, []);
  const loaded = await loadMachineLifecycle(store, runtimeId);
  return compared("load_machine_lifecycle_record", written(value), loaded && written(loaded));
}
