import type { Buffer } from "node:buffer";

import { STRING, U16, U64, enumeration } from "../shapes/scalar.js";
import { readDocument, writeDocument } from "../shapes/shape.js";
import { hidden, nullable, required, struct } from "../shapes/struct.js";

/** The states of a runtime, spelled as in the reference (contract 3.1). */
export const RUNTIME_STATES = [
  "initializing",
  "idle",
  "attached",
  "running",
  "retired",
  "stopped",
  "destroyed",
] as const;
export type RuntimeState = (typeof RUNTIME_STATES)[number];

/** The only version of the lifecycle record that this package writes and decodes (contract 3.3). */
export const MACHINE_LIFECYCLE_RECORD_VERSION = 1;

/** The owner of the runtime, as the machine last recorded it. The store does not interpret these values. */
export interface MachineLifecycleBinding {
  readonly agentRuntimeId?: string | undefined;
  /** 0 to 2^64-1. An `expectedFenceToken` is compared with the stored one. */
  readonly fenceToken?: bigint | undefined;
  /** 0 to 2^64-1. */
  readonly runtimeGeneration?: bigint | undefined;
  readonly runtimeEpochId?: string | undefined;
}

/** A decoded lifecycle record (contract 3.2). */
export interface MachineLifecycle {
  readonly runtimeState: RuntimeState;
  readonly binding: MachineLifecycleBinding;
}

/** A stored lifecycle record of any version and in any state. */
export interface MachineLifecycleRecord {
  readonly recordVersion: number;
  readonly runtimeState: string;
  readonly binding: MachineLifecycleBinding;
}

const BINDING = struct<MachineLifecycleBinding>("a binding", {
  agentRuntimeId: nullable("agent_runtime_id", STRING),
  fenceToken: nullable("fence_token", U64),
  runtimeGeneration: nullable("runtime_generation", U64),
  runtimeEpochId: nullable("runtime_epoch_id", STRING),
});

const ANY_RECORD = struct<MachineLifecycleRecord>("a lifecycle record", {
  recordVersion: required("record_version", U16),
  runtimeState: required("runtime_state", STRING),
  binding: required("binding", BINDING),
});

export const LIFECYCLE_RECORD = struct<MachineLifecycle>("a lifecycle record", {
  _version: hidden<number>(required("record_version", U16), {
    compute: () => MACHINE_LIFECYCLE_RECORD_VERSION,
    allowed: {
      values: [MACHINE_LIFECYCLE_RECORD_VERSION],
      problem: (version) => `unsupported machine lifecycle store record version ${version}`,
    },
  }),
  runtimeState: required("runtime_state", enumeration(RUNTIME_STATES)),
  binding: required("binding", BINDING),
});

/** Reads a lifecycle record of any version and in any state (contract 3.3). Throws a `JsonError` when the text is not one. */
export function readMachineLifecycleRecord(source: Uint8Array | string): MachineLifecycleRecord {
  return readDocument(ANY_RECORD, source);
}

/** Decodes a lifecycle record. Throws a `JsonError` for a version that is not supported or an unknown state. */
export function readMachineLifecycle(source: Uint8Array | string): MachineLifecycle {
  return readDocument(LIFECYCLE_RECORD, source);
}

/** Returns the canonical JSON of a lifecycle record. Throws a `JsonError` when a value is not allowed. */
export function writeMachineLifecycle(lifecycle: MachineLifecycle): Buffer {
  return writeDocument(LIFECYCLE_RECORD, lifecycle);
}
