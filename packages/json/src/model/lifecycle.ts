/** The states of a runtime, as the reference spells them (section 2). */
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

/** The only version of the lifecycle record that this contract writes and decodes (section 3). */
export const MACHINE_LIFECYCLE_RECORD_VERSION = 1;

/** Who holds the runtime, as the machine last recorded it. All four are unsigned facts of the machine, not of the store. */
export interface MachineLifecycleBinding {
  readonly agentRuntimeId?: string | undefined;
  /** 0 to 2^64-1. An `expectedFenceToken` is compared with the stored one. */
  readonly fenceToken?: bigint | undefined;
  readonly runtimeGeneration?: bigint | undefined;
  readonly runtimeEpochId?: string | undefined;
}

/** A decoded lifecycle record (section 3). */
export interface MachineLifecycle {
  readonly runtimeState: RuntimeState;
  readonly binding: MachineLifecycleBinding;
}
