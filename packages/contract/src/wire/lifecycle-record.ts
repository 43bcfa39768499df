import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { MachineLifecycleRecordSchema, RuntimeStateSchema } from "../gen/bolthole/v1/lifecycle_pb.js";
import type { MachineLifecycleRecord } from "../gen/bolthole/v1/lifecycle_pb.js";
import type { MachineLifecycle, RuntimeState } from "@bolthole/json/model";
import { MACHINE_LIFECYCLE_RECORD_VERSION, RUNTIME_STATES } from "@bolthole/json/model";
import { readFailed } from "../store-error.js";
import { enumCodec } from "./enum-codec.js";
import type { MachineLifecycleRecord as StoredLifecycleRecord } from "@bolthole/json";
import { InvalidArgumentError } from "./invalid-argument.js";

const runtimeState = enumCodec(RuntimeStateSchema, RUNTIME_STATES);

function parse(bytes: Uint8Array): MachineLifecycleRecord {
  try {
    return fromBinary(MachineLifecycleRecordSchema, bytes);
  } catch (cause) {
    throw readFailed("DAMAGED_RECORD", "machine lifecycle record is not a MachineLifecycleRecord message", { cause });
  }
}

/** The version-1 record, as `loadMachineLifecycleRecord` gives it back. */
export const encodeLifecycleRecord = (lifecycle: MachineLifecycle): Uint8Array =>
  encodeStoredLifecycleRecord({ recordVersion: MACHINE_LIFECYCLE_RECORD_VERSION, ...lifecycle });

/** A record of any version, as the reference's JSON has it. A state without a name here becomes unspecified. */
export function encodeStoredLifecycleRecord(record: StoredLifecycleRecord): Uint8Array {
  const state = RUNTIME_STATES.find((name) => name === record.runtimeState);
  return toBinary(
    MachineLifecycleRecordSchema,
    create(MachineLifecycleRecordSchema, {
      recordVersion: record.recordVersion,
      ...(state && { runtimeState: runtimeState.toWire(state, "runtime_state") }),
      binding: { ...record.binding },
    }),
  );
}

/** Refuses every record version but 1, and unknown states, as read failures (section 3). */
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
      runtimeState: runtimeState.toModel(record.runtimeState, "runtime_state"),
      binding: { agentRuntimeId, fenceToken, runtimeGeneration, runtimeEpochId },
    };
  } catch (cause) {
    if (!(cause instanceof InvalidArgumentError)) throw cause;
    throw readFailed("DAMAGED_RECORD", cause.message, { cause });
  }
}

/** What a store needs to know of a record, whatever its version: a state that it does not know is undefined. */
export function inspectLifecycleRecord(bytes: Uint8Array): {
  readonly recordVersion: number;
  readonly runtimeState: RuntimeState | undefined;
  readonly fenceToken: bigint | undefined;
} {
  const record = parse(bytes);
  const state: number = record.runtimeState;
  const isKnown = RuntimeStateSchema.values.some(({ number }) => number === state);
  return {
    recordVersion: record.recordVersion,
    runtimeState: isKnown ? runtimeState.toOptionalModel(record.runtimeState, "runtime_state") : undefined,
    fenceToken: record.binding?.fenceToken,
  };
}
