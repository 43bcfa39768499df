import type { Limits, OutcomeRetention, RuntimeTransfer, VersionedStore } from "@bolthole/contract";
import { Committer } from "./commit/committer.js";
import { DocumentMemory } from "./documents/document-memory.js";
import type { Engine } from "./engine.js";
import { KeyedQueue } from "./commit/preparation.js";
import { boundaryOperations } from "./operations/boundary.js";
import { inputOperations } from "./operations/input.js";
import { lifecycleOperations } from "./operations/lifecycle.js";
import { oauthOperations } from "./operations/oauth.js";
import { opsOperations } from "./operations/ops.js";
import { sessionOperations } from "./operations/session.js";
import { storeOperations } from "./operations/store.js";
import { transferOperations } from "./operations/transfer.js";
import { pruneOutcomes } from "./commit/outcome-pruning.js";
import { loadRow } from "./store-context.js";
import { decodeStoreManifest } from "./commit/store-manifest.js";
import { Uploads } from "./documents/uploads.js";
import { type CheckOptions, TranscriptChecker } from "./transcript/transcript-checker.js";

export const DEFAULT_LIMITS: Limits = {
  requestBytes: 32 * 1024 * 1024,
  requestBytesInFlight: 256 * 1024 * 1024,
  requestsInFlight: 4096,
  documentBytes: 256 * 1024 * 1024,
  runtimeIdBytes: 8 * 1024,
  inputRowBytes: 1024 * 1024,
  batchRows: 4096,
  operationSnapshotBytes: 3 * 1024 * 1024,
  oauthSnapshotBytes: 1024 * 1024,
  patchPieces: 4096,
  patchInsertBytes: 1024 * 1024,
  uploadBytes: 512 * 1024 * 1024,
  uploadIdleSeconds: 60,
};

export const DEFAULT_RETENTION: OutcomeRetention = { maxAgeSeconds: 24 * 60 * 60, maxCount: 250_000 };

export interface EngineStoreOptions {
  readonly limits?: Limits | undefined;
  readonly outcomeRetention?: OutcomeRetention | undefined;
  readonly serverVersion?: string | undefined;
  readonly checks?: CheckOptions | undefined;
  /** Bytes of whole documents on their way into the store, all together; whoever sends more waits for room, for a while. */
  readonly documentMemoryBytes?: number | undefined;
  /**
   * For whoever passes documents on and keeps none: a chunk of a loaded document is valid until the next one is asked for, and
   * the memory of an uploaded one goes back to the system when its bytes were taken.
   */
  readonly reusesChunkBuffers?: boolean | undefined;
  /** Milliseconds since the epoch. */
  readonly now?: (() => number) | undefined;
}

/** A store over an engine, and what its owner has to do from time to time. */
export interface EngineStore extends VersionedStore, RuntimeTransfer {
  /** Forgets outcomes beyond the retention, in small commits, until none is left. */
  prune(): Promise<void>;
  /** How many request outcomes are kept. */
  keptOutcomes(): Promise<number>;
}

/** The contract over any engine: all rules, none of the storage. */
export function createEngineStore(engine: Engine, options: EngineStoreOptions = {}): EngineStore {
  const { limits = DEFAULT_LIMITS, outcomeRetention = DEFAULT_RETENTION, serverVersion = "", now = Date.now } = options;
  const maxAgeMs = outcomeRetention.maxAgeSeconds * 1000;
  const documents = new DocumentMemory({ boundBytes: options.documentMemoryBytes });
  const reusesChunkBuffers = options.reusesChunkBuffers ?? false;
  const context = {
    engine,
    limits,
    committer: new Committer(engine, maxAgeMs, now),
    sessions: new KeyedQueue(),
    transcripts: new TranscriptChecker(documents, options.checks),
    uploads: new Uploads(limits, documents, reusesChunkBuffers),
    reusesChunkBuffers,
  };
  return {
    ...oauthOperations(context),
    ...sessionOperations(context),
    ...boundaryOperations(context),
    ...inputOperations(context),
    ...lifecycleOperations(context),
    ...opsOperations(context),
    ...storeOperations(context, serverVersion, outcomeRetention),
    ...transferOperations(context),
    async keptOutcomes() {
      return (await loadRow(context, { table: "storeManifest" }, decodeStoreManifest))?.value.outcome.rows ?? 0;
    },
    async prune() {
      while ((await pruneOutcomes(engine, { maxCount: outcomeRetention.maxCount, maxAgeMs }, now())) > 0);
    },
  };
}
