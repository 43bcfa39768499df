import { errorOf } from "../testing/input-rows.js";
import { bytesOf, mismatch, testVectors } from "../testing/vectors.js";
import {
  type MachineLifecycle,
  type RuntimeState,
  readMachineLifecycle,
  readMachineLifecycleRecord,
  writeMachineLifecycle,
} from "./lifecycle.js";

function lifecycleOf(input: Readonly<Record<string, string | null>>): MachineLifecycle {
  const number = (text: string | null | undefined) => (text === null || text === undefined ? undefined : BigInt(text));
  return {
    runtimeState: input["runtime_state"] as RuntimeState,
    binding: {
      agentRuntimeId: input["agent_runtime_id"] ?? undefined,
      fenceToken: number(input["fence_token"]),
      runtimeGeneration: number(input["runtime_generation"]),
      runtimeEpochId: input["runtime_epoch_id"] ?? undefined,
    },
  };
}

testVectors("lifecycle.jsonl", "lifecycle records are encoded and decoded as in the reference", (vector) => {
  if (vector.op !== "encode") {
    return mismatch(vector, "runtime_state", () => readMachineLifecycle(bytesOf(vector)).runtimeState);
  }
  const value = lifecycleOf(vector.input as Readonly<Record<string, string | null>>);
  return mismatch(vector, "encoded", () => {
    const encoded = writeMachineLifecycle(value);
    expect(readMachineLifecycle(encoded)).toEqual(value);
    return encoded.toString();
  });
});

test("a lifecycle record of another version is read, but not decoded", () => {
  const record = `{"record_version":2,"runtime_state":"paused","binding":{"fence_token":7},"more":1}`;
  expect(readMachineLifecycleRecord(record)).toEqual({
    recordVersion: 2,
    runtimeState: "paused",
    binding: { fenceToken: 7n },
  });
  expect(errorOf(() => readMachineLifecycle(record.replace("paused", "idle"))).message).toBe(
    "unsupported machine lifecycle store record version 2",
  );
});
