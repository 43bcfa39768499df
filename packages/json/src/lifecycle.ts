import type { Buffer } from "node:buffer";

import {
  MACHINE_LIFECYCLE_RECORD_VERSION,
  type MachineLifecycle,
  type MachineLifecycleBinding,
  RUNTIME_STATES,
} from "./model/index.js";
import { readDocument, writeDocument } from "./document.js";
import { JsonError } from "./json-error.js";
import { STRING, U16, U64, enumeration } from "./scalar.js";
import { nullable, required } from "./field.js";
import { struct } from "./struct.js";

/** A stored record whose version and state may be any. */
export interface MachineLifecycleRecord {
  readonly recordVersion: number;
  readonly runtimeState: string;
  readonly binding: MachineLifecycleBinding;
}

interface KnownStateRecord extends MachineLifecycle {
  readonly recordVersion: number;
}

/** Section 3. */
const BINDING = struct<MachineLifecycleBinding>("a binding", {
  agentRuntimeId: nullable("agent_runtime_id", STRING),
  fenceToken: nullable("fence_token", U64),
  runtimeGeneration: nullable("runtime_generation", U64),
  runtimeEpochId: nullable("runtime_epoch_id", STRING),
});

const RAW_RECORD = struct<MachineLifecycleRecord>("a lifecycle record", {
  recordVersion: required("record_version", U16),
  runtimeState: required("runtime_state", STRING),
  binding: required("binding", BINDING),
});

const RECORD = struct<KnownStateRecord>("a lifecycle record", {
  recordVersion: required("record_version", U16),
  runtimeState: required("runtime_state", enumeration(RUNTIME_STATES)),
  binding: required("binding", BINDING),
});

/** What a stored record says, whatever its version and state. */
export function readMachineLifecycleRecord(source: Uint8Array | string): MachineLifecycleRecord {
  return readDocument(RAW_RECORD, source);
}

/** Decodes a record of the only supported version. */
export function readMachineLifecycle(source: Uint8Array | string): MachineLifecycle {
  const { recordVersion, runtimeState, binding } = readDocument(RECORD, source);
  if (recordVersion !== MACHINE_LIFECYCLE_RECORD_VERSION) {
    throw JsonError.rule(`unsupported machine lifecycle store record version ${recordVersion}`);
  }
  return { runtimeState, binding };
}

export function writeMachineLifecycle({ runtimeState, binding }: MachineLifecycle): Buffer {
  return writeDocument(RECORD, { recordVersion: MACHINE_LIFECYCLE_RECORD_VERSION, runtimeState, binding });
}
