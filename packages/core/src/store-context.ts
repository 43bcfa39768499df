import type { Limits, RuntimeId, Version, Versioned } from "@bolthole/contract";
import type { Committer } from "./commit/committer.js";
import type { KeyedQueue } from "./commit/preparation.js";
import { decodeRow, versionText } from "./commit/row.js";
import type { StoreTime } from "./commit/store-time.js";
import type { ArrivedBytes } from "./documents/arrived-bytes.js";
import type { OpsChecker } from "./documents/ops-checker.js";
import type { Uploads } from "./documents/uploads.js";
import type { Engine, Row, RowKey } from "./engine.js";
import type { HeldViews } from "./held-views.js";
import type { InputUploads } from "./input-rows/input-uploads.js";
import type { LongRows } from "./input-rows/long-rows.js";
import type { ManifestCorrections } from "./commit/runtime-replacement.js";
import type { TranscriptChecker } from "./transcript/transcript-checker.js";

/** Access to the runtimes that a store refuses because they are known to be damaged. */
export interface DamagedRuntimes {
  /** The engine without that refusal. */
  readonly engine: Engine;
  /** Corrects the store manifest when the manifest of a runtime is damaged. */
  readonly corrections: ManifestCorrections;
  /** Whether a runtime is refused. */
  has(runtimeId: RuntimeId): boolean;
  /** Ends the refusal of a runtime whose damaged rows were deleted or replaced. */
  release(runtimeId: RuntimeId): void;
}

/** The objects that the operations of one store share. */
export interface StoreContext {
  /** Refuses runtimes that are known to be damaged. */
  readonly engine: Engine;
  readonly damagedRuntimes: DamagedRuntimes;
  readonly committer: Committer;
  readonly time: StoreTime;
  readonly limits: Limits;
  /** Runs the changes of one session one after the other, from their preparation to their commit. */
  readonly sessions: KeyedQueue;
  /** Runs the changes of one large operation snapshot one after the other. */
  readonly operations: KeyedQueue;
  readonly transcripts: TranscriptChecker;
  readonly opsChecker: OpsChecker;
  readonly longRows: LongRows;
  readonly inputUploads: InputUploads;
  readonly heldViews: HeldViews;
  readonly arrived: ArrivedBytes;
  readonly uploads: Uploads;
  /** `EngineStoreOptions.reusesChunkBuffers`. */
  readonly reusesChunkBuffers: boolean;
}

export const versionOf = (context: StoreContext, row: Row): Version => versionText(context.engine.epoch, row.sequence);

/** Loads and decodes one row. A value that cannot be decoded is DAMAGED_RECORD, also when another program wrote it. */
export async function loadRow<T>(
  context: StoreContext,
  key: RowKey,
  decode: (value: Uint8Array, row: Row) => T,
): Promise<Versioned<T> | undefined> {
  const row = await context.engine.view((view) => view.get(key));
  return row && { value: decodeRow(key, row, decode), version: versionOf(context, row) };
}
