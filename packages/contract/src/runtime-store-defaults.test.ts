import { RuntimeStoreDefaults } from "./runtime-store-defaults.js";

class Bare extends RuntimeStoreDefaults {}

test("an optional method that a store does not override is refused with the text of the reference", async () => {
  const store = new Bare();
  const nothing = undefined as never;
  const calls: [string, Promise<unknown>][] = [
    ["persist_auth_oauth_flow_snapshot", store.persistAuthOauthFlowSnapshot(nothing)],
    ["load_auth_oauth_flow_snapshot", store.loadAuthOauthFlowSnapshot()],
    ["update_auth_oauth_flow_snapshot", store.updateAuthOauthFlowSnapshot(nothing)],
    [
      "commit_session_transcript_rewrite_snapshot",
      store.commitSessionTranscriptRewriteSnapshot("rt", nothing, nothing),
    ],
    ["persist_ops_lifecycle", store.persistOpsLifecycle("rt", nothing)],
    ["load_ops_lifecycle", store.loadOpsLifecycle("rt")],
    ["delete_ops_lifecycle", store.deleteOpsLifecycle("rt")],
  ];
  for (const [method, call] of calls) {
    await expect(call).rejects.toMatchObject({
      variant: "Unsupported",
      message: `Unsupported store operation: ${method}`,
    });
  }
  expect(store.authAuthorityKey()).toBeUndefined();
});
