import type { VersionedStore } from "@bolthole/contract";
import { RuntimeStoreAdapter } from "@bolthole/contract";
import { type ConnectOptions, resolveOptions } from "./connect-options.js";
import { createCheckedStore } from "./checked-store.js";
import { createDeltaStore } from "./deltas/delta-store.js";
import { GrpcConnection } from "./grpc-connection.js";
import { createGrpcStore } from "./grpc-store.js";
import { RequestIds } from "./request-ids.js";
import { parseTarget } from "./target.js";

/**
 * The store of a daemon: a `RuntimeStore` over gRPC. Create it with `connect`.
 *
 * **Durability.** When the promise of a mutation resolves, the change is on the disk and survives a crash of the daemon
 * or of the machine. (A daemon whose `getServerInfo` reports `durable: false` keeps its data in memory only.) Each
 * mutation applies completely or not at all. A load returns one consistent state, and never a change that could still
 * be lost.
 *
 * **Do not change documents.** The store holds the session documents that you commit or load by reference. Do not change
 * their bytes, neither during the call nor later: make a new `Uint8Array` for the next document. A changed document
 * makes the next commit slower. It does not damage stored data. Input rows are copied and may be changed after the call.
 *
 * **Errors.** A call that fails rejects with a `StoreError`. Switch on `reason`; `applied` says whether the call changed
 * anything, and `retry` whether the same call can succeed later. The client has then already retried within the time
 * limit where that was safe.
 *
 * - All calls: `CLOSED` after `close`, `INVALID_ARGUMENT`, `TOO_LARGE`, `UNAUTHENTICATED`, `UNSUPPORTED`, `BUSY`, `SHUTTING_DOWN`, `UNAVAILABLE`,
 *   `DEADLINE_EXCEEDED`, `CANCELLED`, `STORE_REPLACED`, `INTERNAL`.
 * - Loads: `DAMAGED_RECORD`.
 * - Mutations: `OUTCOME_UNKNOWN` (an `OutcomeUnknownError` when the client lost the response), `DISK_FULL`, `QUOTA`,
 *   `DAMAGED_RECORD`, `REQUEST_ID_REUSED`, `REQUEST_ID_EXPIRED`, `REQUEST_ID_SEALED`.
 * - Mutations through `withExpectations`: `FENCE_CONFLICT`, `VERSION_CONFLICT`.
 * - Mutations with a session document: `RECORD_REJECTED`, `PROFILE_MISMATCH`.
 * - `atomicApply`: `RECEIPT_EXISTS`, `RECORD_REJECTED`, `SESSION_KEY_MISMATCH`, `TRANSCRIPT_REJECTED`.
 * - `commitSessionTranscriptRewriteSnapshot`: `TRANSCRIPT_REJECTED`, `TRANSCRIPT_REVISION_CONFLICT`.
 * - `persistInputState` and `commitMachineLifecycle`: `RECORD_REJECTED`.
 * - `updateAuthOauthFlowSnapshot`: `VERSION_CONFLICT` after 100 attempts, and any error of its callback.
 * - `loadMachineLifecycle` and `loadRuntimeState`: `UNSUPPORTED_RECORD_VERSION`.
 * - `versioned`, for patches, uploads, unchanged rows and encoded lifecycle records of the caller: `BASE_NOT_CURRENT`,
 *   `UPLOAD_UNKNOWN`, `INPUT_NOT_CURRENT`, `UNSUPPORTED_RECORD_VERSION`.
 *
 * docs/errors.md of the repository says for each reason what happened and what to do. The `...IfCurrent` methods report a
 * snapshot that is not the expected one by returning `false`, not by an error.
 */
export class BoltholeStore extends RuntimeStoreAdapter {
  constructor(
    /**
     * The same store with a version in every response, request outcomes, a list of runtimes and facts about the daemon.
     * It also sends only changes. A patch, an upload id or `unchangedInputs` that the caller passes is sent unchanged.
     */
    readonly versioned: VersionedStore,
    storeId: string,
    private readonly connection: GrpcConnection,
  ) {
    super(versioned, storeId);
  }

  /**
   * Closes the connection. The daemon keeps running. A call that was not sent yet, and every later call, is rejected as `CLOSED`,
   * and nothing is applied. A call that was sent still gets its response, and is not repeated: a mutation whose response is lost
   * is rejected as `OUTCOME_UNKNOWN`. Does not wait for running calls. A second close does nothing.
   */
  close(): Promise<void> {
    this.connection.close();
    return Promise.resolve();
  }

  /** Closes the connection at the end of a block: `await using store = await connect(target)`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Closes the connection at the end of a block: `using store = await connect(target)`. */
  [Symbol.dispose](): void {
    this.connection.close();
  }
}

/**
 * Connects to a daemon and reads the id of its store. When the daemon later serves another store, for example after a
 * restore, all calls of the returned store are refused as `STORE_REPLACED`, also those through `versioned`, and loads too: they would
 * return that nothing is stored. Only `versioned.getServerInfo` is answered.
 *
 * `target` is the path of the data folder or of the socket in it, with or without `unix:`, or the address of a TCP endpoint
 * (`127.0.0.1:7117`), which needs `options.token`.
 *
 * Rejects with a `TypeError` when the target or an option cannot be used, and with a `StoreError`: `UNAVAILABLE` when there is no
 * connection within `timeoutMs`, `DEADLINE_EXCEEDED` when the daemon does not respond in time, `UNAUTHENTICATED` when the
 * token is missing or wrong.
 *
 * @example
 * const store = await connect("unix:/path/to/data/bolthole.sock");
 * await store.commitMachineLifecycle("my-runtime", { runtimeState: "idle", binding: { fenceToken: 1n } }, []);
 * await store.close();
 */
export async function connect(target: string, options: ConnectOptions = {}): Promise<BoltholeStore> {
  const resolved = resolveOptions(options);
  const connection = new GrpcConnection(parseTarget(target), resolved);
  try {
    const requestIds = new RequestIds();
    const { storeId, limits, requestIdTimes } = await createGrpcStore(connection, requestIds).getServerInfo({});
    // A daemon of version 0.1 reports no times.
    if (requestIdTimes) requestIds.learn(requestIdTimes);
    connection.limitRequests(limits.requestBytes);
    connection.expectStore(storeId);
    const plain = createGrpcStore(connection, requestIds, storeId);
    const store = createCheckedStore(createDeltaStore(plain, limits, resolved), (fail) => {
      connection.refuseIfClosed(fail);
    });
    return new BoltholeStore(store, storeId, connection);
  } catch (error) {
    connection.close();
    throw error;
  }
}
