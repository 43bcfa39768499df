import type { PersistedOpsSnapshot, RuntimeId, SessionDelta, TranscriptRewriteCommit } from "@bolthole/json/model";
import type { AuthOauthFlowUpdate, CallOptions, RuntimeStore } from "./runtime-store.js";
import { unsupported } from "./store-error.js";

/** The methods of `RuntimeStore` that a store may leave out (contract 2.11). */
export type OptionalMethods =
  | "persistAuthOauthFlowSnapshot"
  | "loadAuthOauthFlowSnapshot"
  | "updateAuthOauthFlowSnapshot"
  | "commitSessionTranscriptRewriteSnapshot"
  | "persistOpsLifecycle"
  | "loadOpsLifecycle"
  | "deleteOpsLifecycle";

/**
 * The base class of other implementations of `RuntimeStore`, with the defaults of the reference's trait (contract 2.11):
 * no authority key, and the error UNSUPPORTED from the seven optional methods that a class does not override.
 *
 * ```ts
 * class MyStore extends RuntimeStoreDefaults implements RuntimeStore { ... }
 * ```
 */
export abstract class RuntimeStoreDefaults implements Pick<RuntimeStore, OptionalMethods | "authAuthorityKey"> {
  authAuthorityKey(): string | undefined {
    return undefined;
  }

  persistAuthOauthFlowSnapshot(_snapshot: Uint8Array, _options?: CallOptions): Promise<void> {
    return Promise.reject(unsupported("persist_auth_oauth_flow_snapshot"));
  }

  loadAuthOauthFlowSnapshot(_options?: CallOptions): Promise<Uint8Array | undefined> {
    return Promise.reject(unsupported("load_auth_oauth_flow_snapshot"));
  }

  updateAuthOauthFlowSnapshot(_update: AuthOauthFlowUpdate, _options?: CallOptions): Promise<void> {
    return Promise.reject(unsupported("update_auth_oauth_flow_snapshot"));
  }

  commitSessionTranscriptRewriteSnapshot(
    _runtimeId: RuntimeId,
    _sessionDelta: SessionDelta,
    _commit: TranscriptRewriteCommit,
    _options?: CallOptions,
  ): Promise<void> {
    return Promise.reject(unsupported("commit_session_transcript_rewrite_snapshot"));
  }

  persistOpsLifecycle(_runtimeId: RuntimeId, _snapshot: PersistedOpsSnapshot, _options?: CallOptions): Promise<void> {
    return Promise.reject(unsupported("persist_ops_lifecycle"));
  }

  loadOpsLifecycle(_runtimeId: RuntimeId, _options?: CallOptions): Promise<PersistedOpsSnapshot | undefined> {
    return Promise.reject(unsupported("load_ops_lifecycle"));
  }

  deleteOpsLifecycle(_runtimeId: RuntimeId, _options?: CallOptions): Promise<void> {
    return Promise.reject(unsupported("delete_ops_lifecycle"));
  }
}
