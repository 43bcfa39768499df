import type { StoreFactory } from "@bolthole/conformance";
import { type RuntimeStore, internal } from "@bolthole/contract";
import { memoryStores } from "./memory-stores.js";
import { withPlain } from "./plain-store.js";

/** A store with one defect, and the chapter and the step that must detect it. */
export type BrokenStore = readonly [defect: string, chapter: string, step: RegExp, factory: StoreFactory];

/** Stores that break the reference's contract. */
export const BROKEN_CONTRACT: readonly BrokenStore[] = [
  [
    "re-encodes snapshots",
    "session",
    /returns the committed snapshot byte for byte/,
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
    "caches a snapshot forever",
    "session",
    /replaces the stored snapshot/,
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
    /also loads the receipt and the row/,
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
    /used receipt key is refused/,
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
    "returns rows as they were sent",
    "input",
    /returned as canonical JSON/,
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
    "treats an empty text of a binding as absent",
    "lifecycle",
    /facts of a binding are loaded unchanged/,
    withPlain((store) => ({
      commitMachineLifecycle: (runtimeId, { runtimeState, binding }, rows) => {
        const agentRuntimeId = binding.agentRuntimeId || undefined;
        return store.commitMachineLifecycle(runtimeId, { runtimeState, binding: { ...binding, agentRuntimeId } }, rows);
      },
    })),
  ],
  [
    "does not delete an operation registry",
    "ops",
    /delete is idempotent/,
    memoryStores((store) => ({ ...store, deleteOpsLifecycle: (request) => store.clearSessionSnapshot(request) })),
  ],
  [
    "updates OAuth state whatever is stored",
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
    /reaches the caller unchanged/,
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
    /every runtime id has separate data/,
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
];

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
