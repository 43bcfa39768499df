import type { UpdatedOauth, VersionedStore } from "@bolthole/contract";
import { writeFailed } from "@bolthole/contract";
import type { Row } from "../engine.js";
import { soundValue } from "../row.js";
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
    return commit(context, singleRow("PersistAuthOauthFlowSnapshot", request, KEY, snapshot));
  },

  loadAuthOauthFlowSnapshot: () => loadRow(context, KEY, (value) => value),

  async updateAuthOauthFlowSnapshot(request): Promise<UpdatedOauth> {
    const { snapshot, expected } = request;
    checkSize(snapshot.length, context.limits.oauthSnapshotBytes, "snapshot", writeFailed);
    let stored: Row | undefined;
    const committed = await context.committer.commit({
      method: "UpdateAuthOauthFlowSnapshot",
      mutation: request,
      args: [expected, snapshot],
      rows: [KEY],
      bytes: snapshot.length,
      decide: ([row]) => {
        stored = row;
        return (row && versionOf(context, row)) === expected ? [{ row: 0, value: snapshot }] : undefined;
      },
    });
    if (committed) return { ...committed, updated: true };
    return {
      updated: false,
      current: stored && { value: soundValue(KEY, stored), version: versionOf(context, stored) },
    };
  },
});
