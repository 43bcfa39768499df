import type {
  HorizonControl,
  Limits,
  OutcomeRetention,
  RuntimeId,
  RuntimeTransfer,
  VersionedStore,
} from "@bolthole/contract";
import { quarantine } from "./audit/quarantine.js";
import { type Clock, SYSTEM_CLOCK } from "./clock.js";
import { Committer } from "./commit/committer.js";
import { STORE_MANIFEST_KEY, decodeStoreManifest } from "./commit/manifests.js";
import { KeyedQueue } from "./commit/preparation.js";
import { type HorizonMove, OutcomePruner } from "./commit/pruning.js";
import { SealCount } from "./commit/seal-count.js";
import { StoreTime } from "./commit/store-time.js";
import { DocumentMemory } from "./documents/document-memory.js";
import { OpsChecker } from "./documents/ops-checker.js";
import { ManifestCorrections } from "./commit/runtime-replacement.js";
import { ArrivedBytes } from "./documents/arrived-bytes.js";
import { Uploads } from "./documents/uploads.js";
import type { Engine } from "./engine.js";
import { HeldViews } from "./held-views.js";
import { InputUploads } from "./input-rows/input-uploads.js";
import { LongRows } from "./input-rows/long-rows.js";
import { boundaryOperations } from "./operations/boundary.js";
import { deletionOperations } from "./operations/deletion.js";
import { type ClockState, clockState, horizonOperations } from "./operations/horizon.js";
import { inputOperations } from "./operations/inputs.js";
import { opsOperations } from "./operations/ops.js";
import { recordOperations } from "./operations/records.js";
import { sessionOperations } from "./operations/sessions.js";
import { storeOperations } from "./operations/store.js";
import { transferOperations } from "./operations/transfer.js";
import { loadRow } from "./store-context.js";
import { CheckWorkers } from "./transcript/check-workers.js";
import { type CheckOptions, TranscriptChecker } from "./transcript/transcript-checker.js";

export const DEFAULT_LIMITS: Limits = {
  requestBytes: 32 * 1024 * 1024,
  requestBytesInFlight: 256 * 1024 * 1024,
  requestsInFlight: 4096,
  documentBytes: 256 * 1024 * 1024,
  runtimeIdBytes: 8 * 1024,
  inputRowBytes: 32 * 1024 * 1024,
  batchRows: 4096,
  operationSnapshotBytes: 256 * 1024 * 1024,
  typedOpsSnapshotBytes: 1024 * 1024,
  oauthSnapshotBytes: 1024 * 1024,
  patchPieces: 4096,
  patchInsertBytes: 1024 * 1024,
  uploadBytes: 512 * 1024 * 1024,
  uploadIdleSeconds: 60,
  inputUploadRows: 250_000,
  inputUploadBytes: 16 * 1024 * 1024 * 1024,
};

/** The largest limit of an input row: its text must fit into one string, and its value into one blob of SQLite. */
export const MAX_INPUT_ROW_BYTES = 256 * 1024 * 1024;

export const DEFAULT_RETENTION: OutcomeRetention = { maxAgeSeconds: 24 * 60 * 60, maxCount: 250_000 };

export interface EngineStoreOptions {
  /** `DEFAULT_LIMITS` unless set. */
  readonly limits?: Limits | undefined;
  /** `DEFAULT_RETENTION` unless set. */
  readonly outcomeRetention?: OutcomeRetention | undefined;
  readonly serverVersion?: string | undefined;
  readonly checks?: CheckOptions | undefined;
  /**
   * The total size in bytes of the whole documents that are being stored; `DEFAULT_DOCUMENT_MEMORY` unless set. A sender of
   * another one waits for space for up to 2 seconds.
   */
  readonly documentMemoryBytes?: number | undefined;
  /**
   * Whether chunks share their memory, for a caller that passes documents on and keeps none: a chunk of a loaded document is
   * valid until the next one is requested, and the memory of an uploaded chunk is released when its bytes have been copied.
   */
  readonly reusesChunkBuffers?: boolean | undefined;
  /**
   * The runtimes that are known to be damaged: every operation on them throws DAMAGED_RECORD, except their deletion, an
   * export with `salvage`, and an import. A runtime that is deleted or replaced leaves the set. More may be added later. None
   * unless set.
   */
  readonly damagedRuntimes?: Pick<Set<RuntimeId>, "size" | "has" | "delete"> | undefined;
  /** The system's clock unless set. */
  readonly clock?: Clock | undefined;
  /** Called after the horizon was moved by a deletion of outcomes or by `setHorizon`. */
  readonly onHorizonMoved?: ((move: HorizonMove) => void) | undefined;
}

/** A store over an engine, with the maintenance that its owner has to call from time to time. */
export interface EngineStore extends VersionedStore, RuntimeTransfer, HorizonControl {
  /** Deletes all outcomes beyond the retention, in small commits. Ends after the present one when `signal` aborts. */
  prune(signal?: AbortSignal): Promise<void>;
  /** Returns the number of request outcomes that are kept. */
  keptOutcomes(): Promise<number>;
  /** Returns the clock beside the stored times. Throws DAMAGED_RECORD when the store manifest cannot be read. */
  clockState(): Promise<ClockState>;
}

/** Returns a store over any engine. It has all rules and no storage of its own. */
export function createEngineStore(unguardedEngine: Engine, options: EngineStoreOptions = {}): EngineStore {
  const { limits = DEFAULT_LIMITS, outcomeRetention = DEFAULT_RETENTION, serverVersion = "" } = options;
  const { clock = SYSTEM_CLOCK, onHorizonMoved = () => undefined } = options;
  const time = new StoreTime(clock);
  const seals = new SealCount();
  const bounds = { maxCount: outcomeRetention.maxCount, maxAgeMs: outcomeRetention.maxAgeSeconds * 1000 };
  const documents = new DocumentMemory({ boundBytes: options.documentMemoryBytes });
  const workers = new CheckWorkers();
  const reusesChunkBuffers = options.reusesChunkBuffers ?? false;
  const damagedRuntimes = options.damagedRuntimes ?? new Set<RuntimeId>();
  const longRows = new LongRows();
  const arrived = new ArrivedBytes(limits.uploadBytes);
  const engine = quarantine(unguardedEngine, damagedRuntimes);
  const context = {
    engine,
    damagedRuntimes: {
      engine: unguardedEngine,
      corrections: new ManifestCorrections(unguardedEngine),
      has: (runtimeId: RuntimeId) => damagedRuntimes.has(runtimeId),
      release: (runtimeId: RuntimeId) => {
        damagedRuntimes.delete(runtimeId);
      },
    },
    limits,
    committer: new Committer(engine, time, () => {
      seals.add(1);
    }),
    time,
    sessions: new KeyedQueue(),
    operations: new KeyedQueue(),
    transcripts: new TranscriptChecker(documents, options.checks, workers),
    opsChecker: new OpsChecker(documents, workers, options.checks?.incremental),
    longRows,
    inputUploads: new InputUploads(engine, limits, longRows),
    heldViews: new HeldViews(engine),
    arrived,
    uploads: new Uploads(limits, arrived, documents, reusesChunkBuffers),
    reusesChunkBuffers,
  };
  const pruner = new OutcomePruner({ engine, time, clock, bounds, seals, onHorizonMoved });
  return {
    ...recordOperations(context),
    ...opsOperations(context),
    ...sessionOperations(context),
    ...boundaryOperations(context),
    ...inputOperations(context),
    ...storeOperations(context, serverVersion, outcomeRetention),
    ...transferOperations(context),
    ...deletionOperations(context),
    ...horizonOperations(context, onHorizonMoved),
    async keptOutcomes() {
      return (await loadRow(context, STORE_MANIFEST_KEY, decodeStoreManifest))?.value.outcome.rows ?? 0;
    },
    prune: (signal) => pruner.prune(signal),
    clockState: () => clockState(context),
  };
}
