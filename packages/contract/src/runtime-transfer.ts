import type { RunBoundaryReceipt, RuntimeId, SessionProfile, StoredInputState } from "@bolthole/json/model";
import type { Finding } from "./store-maintenance.js";
import type { RuntimeRequest } from "./versioned-store.js";

/** All records of one runtime, as of one moment. */
export interface RuntimeContents {
  readonly runtimeId: RuntimeId;
  readonly session: { readonly snapshot: Uint8Array; readonly profile: SessionProfile } | undefined;
  /** A serialised `bolthole.v1.MachineLifecycleRecord` of any version (contract 3.2). */
  readonly lifecycle: Uint8Array | undefined;
  /** The JSON of the operation snapshot (contract 6.3). */
  readonly ops: Uint8Array | undefined;
  readonly inputs: readonly StoredInputState[];
  readonly receipts: readonly RunBoundaryReceipt[];
}

export interface ExportRuntime extends RuntimeRequest {
  /** True: a damaged runtime is not refused. Its readable records are exported, and the others are reported. */
  readonly salvage?: boolean | undefined;
}

/** The exported records of a runtime. */
export interface ExportedRuntime extends RuntimeContents {
  /** The damage of the records that were left out, and of the runtime manifest. Empty unless the request has `salvage`. */
  readonly findings: readonly Finding[];
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
   * was written, or is missing. With `salvage`, returns every record that is readable, and one finding for each damage.
   */
  exportRuntime(request: ExportRuntime): Promise<ExportedRuntime | undefined>;

  /**
   * Writes all records of a runtime in one commit, or returns "kept" without a change. Each record is checked as in its own
   * mutation and throws the same errors, but a session is not compared with the stored one. Damage of the stored runtime
   * counts as a difference: with `overwrite` the runtime is replaced, and is not damaged afterwards.
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
