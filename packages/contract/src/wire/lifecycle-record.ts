import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MachineLifecycleRecord as ReferenceLifecycleRecord } from "@bolthole/json";
import {
  MACHINE_LIFECYCLE_RECORD_VERSION,
  type MachineLifecycle,
  RUNTIME_STATES,
  type RuntimeId,
  type RuntimeState,
} from "@bolthole/json/model";
import {
  type MachineLifecycleRecord,
  MachineLifecycleRecordSchema,
  RuntimeStateSchema,
} from "../gen/bolthole/v1/lifecycle_pb.js";
import type { CallOptions, MachineLifecycleStore } from "../runtime-store.js";
import { readFailed } from "../store-error.js";
import { checkFields, refuseOthers, requireBytes, requireObject } from "./field-types.js";
import { type Codec, InvalidArgumentError, at, enumeration } from "./message-codec.js";

const runtimeState = enumeration(RuntimeStateSchema, RUNTIME_STATES);

/** The record in a message and as its bytes, which keep the fields that this version does not know. */
export const lifecycleRecord: Codec<MachineLifecycleRecord, Uint8Array> = {
  toModel: (wire) => toBinary(MachineLifecycleRecordSchema, wire),
  toWire(bytes) {
    requireBytes(bytes);
    try {
      return fromBinary(MachineLifecycleRecordSchema, bytes);
    } catch {
      throw new InvalidArgumentError("", "the bytes of a MachineLifecycleRecord message", "other bytes");
    }
  },
};

function parse(bytes: Uint8Array): MachineLifecycleRecord {
  try {
    return fromBinary(MachineLifecycleRecordSchema, bytes);
  } catch (cause) {
    throw readFailed("DAMAGED_RECORD", "machine lifecycle record is not a MachineLifecycleRecord message", { cause });
  }
}

/**
 * Returns a record of version 1, in the form that `loadMachineLifecycleRecord` returns (contract 3.3). Throws an
 * InvalidArgumentError for a value that the record cannot have.
 */
export function encodeLifecycleRecord(lifecycle: MachineLifecycle): Uint8Array {
  requireObject(lifecycle);
  at("runtime_state", () => runtimeState.toWire(lifecycle.runtimeState));
  refuseOthers(lifecycle, LIFECYCLE_MEMBERS);
  const { runtimeState: state, binding } = lifecycle;
  const record = { recordVersion: MACHINE_LIFECYCLE_RECORD_VERSION, runtimeState: state, binding };
  const bytes = encodeStoredLifecycleRecord(record);
  at("binding", () => {
    refuseOthers(binding, BINDING_MEMBERS);
  });
  return bytes;
}

const LIFECYCLE_MEMBERS: ReadonlySet<string> = new Set<keyof MachineLifecycle>(["runtimeState", "binding"]);
const BINDING_MEMBERS: ReadonlySet<string> = new Set<keyof MachineLifecycle["binding"]>([
  "agentRuntimeId",
  "fenceToken",
  "runtimeGeneration",
  "runtimeEpochId",
]);

/** Returns a record of any version, as the reference's JSON has it. A state that this version does not know is lost. */
export function encodeStoredLifecycleRecord(record: ReferenceLifecycleRecord): Uint8Array {
  const state = RUNTIME_STATES.find((name) => name === record.runtimeState);
  const init = {
    recordVersion: record.recordVersion,
    ...(state && { runtimeState: runtimeState.toWire(state) }),
    binding: record.binding,
  };
  checkFields(MachineLifecycleRecordSchema, init);
  return toBinary(
    MachineLifecycleRecordSchema,
    create(MachineLifecycleRecordSchema, { ...init, binding: { ...record.binding } }),
  );
}

/** Decodes a record. Throws a read failure for every record version other than 1 and for unknown states (contract 3.3). */
export function decodeLifecycleRecord(bytes: Uint8Array): MachineLifecycle {
  const record = parse(bytes);
  if (record.recordVersion !== MACHINE_LIFECYCLE_RECORD_VERSION) {
    throw readFailed(
      "UNSUPPORTED_RECORD_VERSION",
      `unsupported machine lifecycle store record version ${String(record.recordVersion)}`,
    );
  }
  try {
    const { agentRuntimeId, fenceToken, runtimeGeneration, runtimeEpochId } = record.binding ?? {};
    return {
      runtimeState: at("runtime_state", () => runtimeState.toModel(record.runtimeState)),
      binding: { agentRuntimeId, fenceToken, runtimeGeneration, runtimeEpochId },
    };
  } catch (cause) {
    if (!(cause instanceof InvalidArgumentError)) throw cause;
    throw readFailed("DAMAGED_RECORD", cause.message, { cause });
  }
}

/** Returns the facts that a store reads from a record of any version. An unknown state is undefined. */
export function inspectLifecycleRecord(bytes: Uint8Array): {
  readonly recordVersion: number;
  readonly runtimeState: RuntimeState | undefined;
  readonly fenceToken: bigint | undefined;
  /** Whether the record or its binding has fields that this version does not know. They are lost in the reference's JSON. */
  readonly hasUnknownFields: boolean;
} {
  const record = parse(bytes);
  const unknown = [...(record.$unknown ?? []), ...(record.binding?.$unknown ?? [])];
  return {
    recordVersion: record.recordVersion,
    runtimeState: runtimeState.find(record.runtimeState),
    fenceToken: record.binding?.fenceToken,
    hasUnknownFields: unknown.length > 0,
  };
}

/**
 * Loads and decodes the lifecycle record of a runtime, or returns undefined when none is stored. Throws a read failure
 * with the reason UNSUPPORTED_RECORD_VERSION for every record version other than 1 (contract 3.3).
 */
export async function loadMachineLifecycle(
  store: Pick<MachineLifecycleStore, "loadMachineLifecycleRecord">,
  runtimeId: RuntimeId,
  options?: CallOptions,
): Promise<MachineLifecycle | undefined> {
  const record = await store.loadMachineLifecycleRecord(runtimeId, options);
  return record && decodeLifecycleRecord(record);
}

/** Loads the state in a runtime's lifecycle record, or returns undefined when no record is stored. */
export async function loadRuntimeState(
  store: Pick<MachineLifecycleStore, "loadMachineLifecycleRecord">,
  runtimeId: RuntimeId,
  options?: CallOptions,
): Promise<RuntimeState | undefined> {
  return (await loadMachineLifecycle(store, runtimeId, options))?.runtimeState;
}
