import type { StoreFactory } from "@bolthole/conformance";
import { type RuntimeStore, StoreError, type VersionedStore, internal } from "@bolthole/contract";
import { memoryStores } from "./memory-stores.test.helper.js";

/** A change to the plain store, where one to the store with versions would not do. */
export function withPlain(alter: (store: RuntimeStore) => Partial<RuntimeStore>): StoreFactory {
  const sound = memoryStores();
  return {
    ...sound,
    async createSite() {
      const site = await sound.createSite();
      const open = async () => {
        const handle = await site.open();
        const changes = alter(handle.store);
        const store = new Proxy(handle.store, {
          get: (target, name) => Reflect.get(name in changes ? changes : target, name) as unknown,
        });
        return { ...handle, store };
      };
      return { ...site, open };
    },
  };
}

/** Every store is sound but for one thing; the chapter and the step that must find it out. */
export const BROKEN: readonly (readonly [flaw: string, chapter: string, step: RegExp, factory: StoreFactory])[] = [
  [
    "re-encodes snapshots",
    "session",
    /comes back to the byte/,
    memoryStores((store) => ({
      ...store,
      commitSessionSnapshot: ({ sessionDelta, ...rest }) => {
        if (!("sessionSnapshot" in sessionDelta)) return store.commitSessionSnapshot({ sessionDelta, ...rest });
        const text = Buffer.from(sessionDelta.sessionSnapshot).toString();
        const sessionSnapshot = isJson(text)
          ? Buffer.from(JSON.stringify(JSON.parse(text)))
          : sessionDelta.sessionSnapshot;
        return store.commitSessionSnapshot({ ...rest, sessionDelta: { ...sessionDelta, sessionSnapshot } });
      },
    })),
  ],
  [
    "reads a snapshot once and answers from memory",
    "session",
    /replaces whatever is stored/,
    withPlain((store) => {
      const cache = new Map<string, Uint8Array>();
      return {
        loadSessionSnapshot: async (runtimeId) => {
          const loaded = cache.get(runtimeId) ?? (await store.loadSessionSnapshot(runtimeId));
          if (loaded) cache.set(runtimeId, loaded);
          return loaded;
        },
      };
    }),
  ],
  [
    "stores the rows of a refused apply",
    "boundary",
    /nothing of the apply is visible/,
    memoryStores((store) => ({
      ...store,
      atomicApply: async (request) => {
        for (const state of request.inputUpdates)
          await store.persistInputState({ runtimeId: request.runtimeId, state });
        return store.atomicApply(request);
      },
    })),
  ],
  [
    "stores the snapshot of an apply before the rest of it",
    "concurrency",
    /sees the receipt and the row/,
    memoryStores((store) => ({
      ...store,
      atomicApply: async (request) => {
        const { runtimeId, sessionDelta } = request;
        if (sessionDelta) await store.commitSessionSnapshot({ runtimeId, sessionDelta });
        await new Promise(setImmediate);
        return store.atomicApply(request);
      },
    })),
  ],
  [
    "overwrites a receipt",
    "boundary",
    /taken receipt key is refused/,
    withPlain((store) => {
      const receipts = new Map<string, Parameters<RuntimeStore["atomicApply"]>[2]>();
      const keyOf = (runtimeId: string, runId: string, sequence: bigint) => `${runId} ${String(sequence)} ${runtimeId}`;
      return {
        atomicApply: async (runtimeId, delta, receipt, rows) => {
          if (delta) await store.commitSessionSnapshot(runtimeId, delta);
          for (const row of rows) await store.persistInputState(runtimeId, row);
          receipts.set(keyOf(runtimeId, receipt.runId, receipt.sequence), receipt);
        },
        loadBoundaryReceipt: (runtimeId, runId, sequence) =>
          Promise.resolve(receipts.get(keyOf(runtimeId, runId, sequence))),
      };
    }),
  ],
  [
    "lists rows in the order of their writes",
    "input",
    /ascending id/,
    withPlain((store) => {
      const order: string[] = [];
      return {
        persistInputState: async (runtimeId, state) => {
          await store.persistInputState(runtimeId, state);
          if (!order.includes(state.inputId)) order.push(state.inputId);
        },
        loadInputStates: async (runtimeId) => {
          const rows = await store.loadInputStates(runtimeId);
          return rows.sort((a, b) => order.indexOf(a.inputId) - order.indexOf(b.inputId));
        },
      };
    }),
  ],
  [
    "gives rows back as they came in",
    "input",
    /normal form of instants and payload/,
    withPlain((store) => {
      const rows = new Map<string, Parameters<RuntimeStore["persistInputState"]>[1]>();
      return {
        persistInputState: async (runtimeId, state) => {
          await store.persistInputState(runtimeId, state);
          rows.set(`${state.inputId} ${runtimeId}`, state);
        },
        loadInputState: (runtimeId, inputId) => Promise.resolve(rows.get(`${inputId} ${runtimeId}`)),
      };
    }),
  ],
  [
    "takes an empty text of a binding for none",
    "lifecycle",
    /binding's facts come back/,
    withPlain((store) => ({
      commitMachineLifecycle: (runtimeId, { runtimeState, binding }, rows) => {
        const agentRuntimeId = binding.agentRuntimeId || undefined;
        return store.commitMachineLifecycle(runtimeId, { runtimeState, binding: { ...binding, agentRuntimeId } }, rows);
      },
    })),
  ],
  [
    "deletes no registry",
    "ops",
    /delete is idempotent/,
    memoryStores((store) => ({ ...store, deleteOpsLifecycle: (request) => store.clearSessionSnapshot(request) })),
  ],
  [
    "updates OAuth state whatever was stored",
    "oauth",
    /concurrent updates all take effect/,
    memoryStores((store) => ({
      ...store,
      updateAuthOauthFlowSnapshot: async (request) => ({
        ...(await store.persistAuthOauthFlowSnapshot(request)),
        updated: true,
      }),
    })),
  ],
  [
    "wraps the error of an OAuth closure",
    "oauth",
    /reaches the caller untouched/,
    withPlain((store) => ({
      updateAuthOauthFlowSnapshot: (update) =>
        store.updateAuthOauthFlowSnapshot(update).catch((error: unknown) => {
          throw internal(`the update failed: ${String(error)}`);
        }),
    })),
  ],
  [
    "normalises runtime ids",
    "isolation",
    /every runtime id holds its own data/,
    memoryStores((store) => ({
      ...store,
      atomicApply: (request) => store.atomicApply({ ...request, runtimeId: request.runtimeId.trim().normalize() }),
      commitMachineLifecycle: (request) =>
        store.commitMachineLifecycle({ ...request, runtimeId: request.runtimeId.trim().normalize() }),
    })),
  ],
  [
    "leaves out the bad rows of a batch",
    "sizes",
    /bad row is refused/,
    memoryStores((store) => ({
      ...store,
      commitMachineLifecycle: (request) =>
        store
          .commitMachineLifecycle(request)
          .catch(() => store.commitMachineLifecycle({ ...request, inputStates: request.inputStates.slice(0, 1) })),
    })),
  ],
  [
    "forgets request ids",
    "requests",
    /^requests: atomicApply: a repeat gets the first answer/,
    memoryStores((store) => ({
      ...store,
      atomicApply: (request) => store.atomicApply({ ...request, requestId: undefined }),
    })),
  ],
  [
    "takes a request id for the whole of its request",
    "requests",
    /other arguments is refused/,
    memoryStores((store) => {
      const answers = new Map<string, Awaited<ReturnType<VersionedStore["atomicApply"]>>>();
      return {
        ...store,
        atomicApply: async (request) => {
          const known = answers.get(request.requestId ?? "");
          if (known) return { ...known, replayed: true };
          const answer = await store.atomicApply(request);
          if (request.requestId !== undefined) answers.set(request.requestId, answer);
          return answer;
        },
      };
    }),
  ],
  [
    "ignores the fence token",
    "expectations",
    /fence token must be that of the stored/,
    memoryStores((store) => ({
      ...store,
      persistInputState: (request) => store.persistInputState({ ...request, expectedFenceToken: undefined }),
    })),
  ],
  [
    "forgets the profile",
    "profiles",
    /stay opaque when no profile is named/,
    memoryStores((store) => ({
      ...store,
      commitSessionSnapshot: async (request) => {
        await store.clearSessionSnapshot({ runtimeId: request.runtimeId });
        return store.commitSessionSnapshot(request);
      },
    })),
  ],
  [
    "puts any document in the place of any other",
    "transcript",
    /take no message away and change none/,
    memoryStores((store) => ({
      ...store,
      atomicApply: async (request) => {
        await store.clearSessionSnapshot({ runtimeId: request.runtimeId });
        return store.atomicApply(request);
      },
    })),
  ],
  [
    "patches whatever is stored",
    "patches",
    /another base than the stored one changes nothing/,
    memoryStores((store) => ({
      ...store,
      commitSessionSnapshot: (request) =>
        store.commitSessionSnapshot(request).catch((error: unknown) => {
          const { sessionDelta } = request;
          if (!("patch" in sessionDelta) || !(error instanceof StoreError)) throw error;
          const { actual: baseVersion = "" } = error.subject;
          const patch = { ...sessionDelta.patch, baseVersion };
          return store.commitSessionSnapshot({ ...request, sessionDelta: { ...sessionDelta, patch } });
        }),
    })),
  ],
  [
    "keeps an upload that was used",
    "uploads",
    /used up by the commit that it goes with/,
    memoryStores((store) => {
      const uploads = new Map<string, { readonly runtimeId: string; readonly sessionSnapshot: Buffer }>();
      return {
        ...store,
        uploadSessionSnapshot: async (request) => {
          const chunks: Uint8Array[] = [];
          for await (const chunk of request.chunks) chunks.push(chunk);
          const again = async function* () {
            await Promise.resolve();
            yield* chunks;
          };
          const id = await store.uploadSessionSnapshot({ ...request, chunks: again() });
          uploads.set(id, { runtimeId: request.runtimeId, sessionSnapshot: Buffer.concat(chunks) });
          return id;
        },
        atomicApply: (request) => {
          const { sessionDelta } = request;
          const kept = sessionDelta && "uploadId" in sessionDelta ? uploads.get(sessionDelta.uploadId) : undefined;
          return store.atomicApply(kept ? { ...request, sessionDelta: { ...sessionDelta, ...kept } } : request);
        },
      };
    }),
  ],
  [
    "believes that rows are unchanged",
    "unchanged inputs",
    /after another writer's row nothing is applied/,
    memoryStores((store) => ({
      ...store,
      atomicApply: (request) => store.atomicApply({ ...request, unchangedInputs: undefined }),
    })),
  ],
  [
    "does not list the empty runtime id",
    "listing",
    /list each runtime once/,
    memoryStores((store) => ({
      ...store,
      listRuntimes: async (request) => {
        const page = await store.listRuntimes(request);
        return { ...page, runtimes: page.runtimes.filter(({ runtimeId }) => runtimeId !== "") };
      },
    })),
  ],
  [
    "claims to be durable",
    "reopen",
    /everything is there after a reopen/,
    {
      capabilities: { ...memoryStores().capabilities, durable: true },
      createSite: () =>
        Promise.resolve({
          open: async () => (await memoryStores().createSite()).open(),
          remove: () => Promise.resolve(),
        }),
    },
  ],
];

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
