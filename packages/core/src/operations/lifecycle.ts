import type { VersionedStore } from "@bolthole/contract";
import { readFailed } from "@bolthole/contract";
import { ReadSet } from "../commit/read-set.js";
import { inputRows, putInputs, unchangedArguments } from "../rules/input.js";
import { checkLifecycleRecord } from "../rules/lifecycle.js";
import { type StoreContext, checkRuntime, commit, loadRow } from "../store-context.js";

type LifecycleOperations = Pick<VersionedStore, "loadMachineLifecycleRecord" | "commitMachineLifecycle">;

export const lifecycleOperations = (context: StoreContext): LifecycleOperations => ({
  async loadMachineLifecycleRecord(request) {
    const runtimeId = checkRuntime(context, request.runtimeId, readFailed);
    return loadRow(context, { table: "lifecycle", runtimeId }, (value) => value);
  },

  async commitMachineLifecycle(request) {
    const runtimeId = checkRuntime(context, request.runtimeId);
    const { record } = request;
    checkLifecycleRecord(record);
    const inputs = inputRows(
      runtimeId,
      request.inputStates,
      (index) => `input_states[${String(index)}]`,
      context.limits,
    );
    const reads = new ReadSet();
    const edits = [
      { handle: reads.add({ table: "lifecycle", runtimeId }), value: record },
      ...putInputs(inputs, reads),
    ];
    return commit(context, {
      method: "CommitMachineLifecycle",
      request,
      args: {
        record,
        unchangedInputs: unchangedArguments(request.unchangedInputs),
        inputStates: inputs.rows.map(({ value }) => value),
      },

      reads,
      bytes: record.length + inputs.bytes,
      decide: () => edits,
    });
  },
});
