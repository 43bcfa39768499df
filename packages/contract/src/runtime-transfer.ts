import type {
  PersistedOpsSnapshot,
  RunBoundaryReceipt,
  RuntimeId,
  SessionProfile,
  StoredInputState,
} from "@bolthole/json/model";
import type { RuntimeRequest } from "./versioned-store.js";

/** All records of one runtime, as of one moment. */
export interface RuntimeContents {
  readonly runtimeId: RuntimeId;
  readonly session: { readonly snapshot: Uint8Array; readonly profile: SessionProfile } | undefined;
  /** A serialised `bolthole.v1.MachineLifecycleRecord` of any version (contract 3.2). */
  readonly lifecycle: Uint8Array | undefined;
  readonly ops: PersistedOpsSnapshot | undefined;
  readonly inputs: readonly StoredInputState[];
  readonly receipts: readonly RunBoundaryReceipt[];
}

export interface ImportRuntime {
  readonly contents: RuntimeContents;
  /** True: stored records may be replaced. Stored rows that are not in `contents` are then deleted. */
  readonly overwrite: boolean;
  /** True: all records are checked and compared, and nothing is written. */
  readonly dryRun: boolean;
}

/**
 * The results of an import, or of a dry run: "added", nothing was stored before; "replaced", other records were stored
 * and were replaced; "unchanged", the same records were stored already; "kept", other records are stored and stay, because
 * `overwrite` is false.
 */
export const IMPORT_RESULTS = ["added", "replaced", "unchanged", "kept"] as const;
export type ImportResult = (typeof IMPORT_RESULTS)[number];

/** The export and import of whole runtimes. */
export interface RuntimeTransfer {
  /**
   * Returns all records of a runtime, or undefined when nothing is stored. Throws DAMAGED_RECORD when a record is not as it
   * was written, or is missing.
   */
  exportRuntime(request: RuntimeRequest): Promise<RuntimeContents | undefined>;

  /**
   * Writes all records of a runtime in one commit, or returns "kept" without a change. Each record is checked as in its own
   * mutation and throws the same errors, but a session is not compared with the stored one.
   */
  importRuntime(request: ImportRuntime): Promise<ImportResult>;
}

/** Returns the contents of a runtime without records. */
export const emptyContents = (runtimeId: RuntimeId): RuntimeContents => ({
  runtimeId,
  session: undefined,
  lifecycle: undefined,
  ops: undefined,
  inputs: [],
  receipts: [],
});
