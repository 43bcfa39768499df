import type { MachineLifecycle, RuntimeState } from "./model/index.js";
import {
  canonicalRawJson,
  readInputState,
  readMachineLifecycle,
  readOpsSnapshot,
  readReceipt,
  readStoredInputState,
  writeInputState,
  writeMachineLifecycle,
  writeOpsSnapshot,
  writeReceipt,
} from "./index.js";
import { bytesOf, testVectors, verdict } from "./vectors.test.helper.js";

function stable(first: string, again: (text: string) => string): string {
  const second = again(first);
  return second === first ? first : `${first}, and in a second pass ${second}`;
}

testVectors("receipts.jsonl", "receipts are read and written as the reference does", (vector) => {
  const pass = (source: Uint8Array | string) => writeReceipt(readReceipt(source)).toString();
  return verdict(vector, "reencoded", () => stable(pass(bytesOf(vector)), pass));
});

testVectors("inputs.jsonl", "input states are read and written as the reference does", (vector) => {
  const pass = (source: Uint8Array | string) => writeInputState(readInputState(source)).toString();
  return verdict(vector, "reencoded", () => {
    const written = stable(pass(bytesOf(vector)), pass);
    const trusted = readStoredInputState(Buffer.from(written));
    expect(trusted).toEqual(readInputState(written));
    return written;
  });
});

testVectors("ops.jsonl", "operation snapshots are read and written as the reference does", (vector) => {
  const pass = (source: Uint8Array | string) => writeOpsSnapshot(readOpsSnapshot(source)).toString();
  return verdict(vector, "sorted", () => canonicalRawJson(stable(pass(bytesOf(vector)), pass)));
});

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

testVectors("lifecycle.jsonl", "lifecycle records are encoded and decoded as the reference does", (vector) => {
  if (vector.op !== "encode") {
    return verdict(vector, "runtime_state", () => readMachineLifecycle(bytesOf(vector)).runtimeState);
  }
  const value = lifecycleOf(vector.input as Readonly<Record<string, string | null>>);
  return verdict(vector, "encoded", () => {
    const encoded = writeMachineLifecycle(value);
    expect(readMachineLifecycle(encoded)).toEqual(value);
    return encoded.toString();
  });
});
