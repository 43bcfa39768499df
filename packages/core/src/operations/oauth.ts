import type { UpdatedOauth, Versioned, VersionedStore } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import { ReadSet } from "../commit/read-set.js";
import { type StoreContext, commit, loadRow, singleRow, versionOf } from "../store-context.js";
import { checkSize } from "../validate.js";

type OauthOperations = Pick<
  VersionedStore,
  "authAuthorityKey" | "persistAuthOauthFlowSnapshot" | "loadAuthOauthFlowSnapshot" | "updateAuthOauthFlowSnapshot"
>;

const KEY = { table: "oauth" } as const;

export const oauthOperations = (context: StoreContext): OauthOperations => ({
  authAuthorityKey: () => Promise.resolve(`bolthole:${context.engine.storeId}`),

  async persistAuthOauthFlowSnapshot(request) {
    const { snapshot } = request;
    checkSize(snapshot.length, context.limits.oauthSnapshotBytes, "snapshot", writeFailed);
    return commit(context, singleRow("PersistAuthOauthFlowSnapshot", request, { snapshot }, KEY, snapshot));
  },

  loadAuthOauthFlowSnapshot: () => loadSnapshot(context),

  async updateAuthOauthFlowSnapshot(request): Promise<UpdatedOauth> {
    const { snapshot, expected } = request;
    checkSize(snapshot.length, context.limits.oauthSnapshotBytes, "snapshot", writeFailed);
    const reads = new ReadSet();
    const handle = reads.add(KEY);
    const committed = await context.committer.commit({
      method: "UpdateAuthOauthFlowSnapshot",
      request,
      args: { expected, snapshot },
      reads,
      bytes: snapshot.length,
      decide: (rows) => {
        const row = rows.get(handle);
        return (row && versionOf(context, row)) === expected ? [{ handle, value: snapshot }] : undefined;
      },
    });
    if (committed) return { ...committed, updated: true };
    return { updated: false, current: await loadSnapshot(context) };
  },
});

const loadSnapshot = (context: StoreContext): Promise<Versioned<Uint8Array> | undefined> =>
  loadRow(context, KEY, (value) => value);
