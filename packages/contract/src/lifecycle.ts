import type { MachineLifecycle, RuntimeId, RuntimeState } from "@bolthole/json/model";
import type { CallOptions, MachineLifecycleStore } from "./runtime-store.js";
import { decodeLifecycleRecord } from "./wire/lifecycle-record.js";

/** The decoded lifecycle record of a runtime; a read failure for any record version but 1 (section 3). */
export async function loadMachineLifecycle(
  store: Pick<MachineLifecycleStore, "loadMachineLifecycleRecord">,
  runtimeId: RuntimeId,
  options?: CallOptions,
): Promise<MachineLifecycle | undefined> {
  const record = await store.loadMachineLifecycleRecord(runtimeId, options);
  return record && decodeLifecycleRecord(record);
}

/** The state in a runtime's lifecycle record. */
export async function loadRuntimeState(
  store: Pick<MachineLifecycleStore, "loadMachineLifecycleRecord">,
  runtimeId: RuntimeId,
  options?: CallOptions,
): Promise<RuntimeState | undefined> {
  return (await loadMachineLifecycle(store, runtimeId, options))?.runtimeState;
}
