import { connect } from "@bolthole/client";
import type { StoreFactory } from "@bolthole/conformance";
import type { VersionedStore } from "@bolthole/contract";
import { capabilitiesOf } from "./daemon-stores.js";

/** One store that runs already. It is neither emptied nor restarted: a trace that it knows something of is skipped. */
export const targetStores = (target: string, token: string | undefined): StoreFactory => ({
  capabilities: { ...capabilitiesOf("lmdb"), durable: false },
  createSite: () =>
    Promise.resolve({
      async open() {
        const store = await connect(target, { token });
        return { store, versioned: store.versioned, close: () => store.close() };
      },
      remove: () => Promise.resolve(),
    }),
});

/** Whether the target holds something of these runtimes, or OAuth state. */
export async function isTaken(
  target: string,
  token: string | undefined,
  runtimeIds: ReadonlySet<string>,
  withOauth: boolean,
): Promise<boolean> {
  const store = await connect(target, { token });
  try {
    if (withOauth && (await store.loadAuthOauthFlowSnapshot()) !== undefined) return true;
    for await (const id of listed(store.versioned)) if (runtimeIds.has(id)) return true;
    return false;
  } finally {
    await store.close();
  }
}

async function* listed(store: VersionedStore): AsyncGenerator<string> {
  let pageToken = "";
  do {
    const page = await store.listRuntimes({ pageSize: 1000, pageToken });
    for (const { runtimeId } of page.runtimes) yield runtimeId;
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
}
