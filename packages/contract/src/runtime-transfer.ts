import type {
  PersistedOpsSnapshot,
  RunBoundaryReceipt,
  RuntimeId,
  SessionProfile,
  StoredInputState,
} from "@bolthole/json/model";
import type { RuntimeRequest } from "./versioned-store.js";

/** Everything that is stored of one runtime, as of one moment. */
export interface RuntimeContents extends RuntimeRequest {
  readonly session: { readonly snapshot: Uint8Array; readonly profile: SessionProfile } | undefined;
  /** A serialised `MachineLifecycleRecord`. */
  readonly lifecycle: Uint8Array | undefined;
  readonly ops: PersistedOpsSnapshot | undefined;
  readonly inputs: readonly StoredInputState[];
  readonly receipts: readonly RunBoundaryReceipt[];
}

export interface ImportRuntime {
  readonly contents: RuntimeContents;
  /** What is stored of the runtime may be replaced; rows that are not imported are then deleted. */
  readonly overwrite: boolean;
  /** Checks and compares everything, and writes nothing. */
  readonly dryRun: boolean;
}

/**
 * What an import did, or would do: nothing was stored before; something else was, and was replaced; the same was stored
 * already; something else is stored, and stays.
 */
export const IMPORT_RESULTS = ["added", "replaced", "unchanged", "kept"] as const;
export type ImportResult = (typeof IMPORT_RESULTS)[number];

/** Whole runtimes in and out of a store. */
export interface RuntimeTransfer {
  /** Undefined: nothing is stored. Fails with DAMAGED_RECORD when a row is not what was written, or is missing. */
  exportRuntime(request: RuntimeRequest): Promise<RuntimeContents | undefined>;
  /** All in one commit. Each record is checked as in a commit of its own; a session is not compared with the stored one. */
  importRuntime(request: ImportRuntime): Promise<ImportResult>;
}

export const emptyContents = (runtimeId: RuntimeId): RuntimeContents => ({
  runtimeId,
  session: undefined,
  lifecycle: undefined,
  ops: undefined,
  inputs: [],
  receipts: [],
});
