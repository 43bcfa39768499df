import {
  type ImportResult,
  type RunBoundaryReceipt,
  type RuntimePart,
  StoreError,
  type StoredInputState,
  type VersionedStore,
} from "@bolthole/contract";
import { readOpsSnapshot, writeOpsSnapshot } from "@bolthole/json";
import type { BrokenStore } from "./broken-contract.js";
import { memoryStores } from "./memory-stores.js";

// eslint-disable-next-line @typescript-eslint/require-await -- the parts are in memory
async function* streamOf(parts: readonly RuntimePart[]): AsyncGenerator<RuntimePart, void> {
  yield* parts;
}

/** Stores that break what this project promises beyond the reference's contract. */
export const BROKEN_ADDITIONS: readonly BrokenStore[] = [
  [
    "ignores request ids",
    "requests",
    /^requests: atomicApply: a repeated request id returns the first response/,
    memoryStores((store) => ({
      ...store,
      atomicApply: (request) => store.atomicApply({ ...request, requestId: undefined }),
    })),
  ],
  [
    "returns a replayed response without the input rows",
    "requests",
    /^requests: atomicApply: a repeated request id returns the first response/,
    memoryStores((store) => ({
      ...store,
      atomicApply: async (request) => {
        const response = await store.atomicApply(request);
        return response.replayed ? { ...response, keptInputs: [], inputs: undefined } : response;
      },
    })),
  ],
  [
    "compares request ids without the rest of the request",
    "requests",
    /other arguments is refused/,
    memoryStores((store) => {
      const responses = new Map<string, Awaited<ReturnType<VersionedStore["atomicApply"]>>>();
      return {
        ...store,
        atomicApply: async (request) => {
          const known = responses.get(request.requestId ?? "");
          if (known) return { ...known, replayed: true };
          const response = await store.atomicApply(request);
          if (request.requestId !== undefined) responses.set(request.requestId, response);
          return response;
        },
      };
    }),
  ],
  [
    "ignores the fence token",
    "expectations",
    /fence token must equal that of the stored/,
    memoryStores((store) => ({
      ...store,
      persistInputState: (request) => store.persistInputState({ ...request, expectedFenceToken: undefined }),
    })),
  ],
  [
    "does not keep the profile",
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
    "replaces a document without a check of its transcript",
    "transcript",
    /removes or changes messages is refused/,
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
    /base is not the stored document is refused/,
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
    "keeps an upload after its commit",
    "uploads",
    /used up by the commit that applies it/,
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
    "stores the canonical form of an operation snapshot instead of its bytes",
    "ops documents",
    /kept byte for byte, with unknown members/,
    memoryStores((store) => ({
      ...store,
      persistOpsLifecycle: (request) => {
        const { opsDelta } = request;
        if (!opsDelta || !("opsSnapshot" in opsDelta)) return store.persistOpsLifecycle(request);
        const opsSnapshot = writeOpsSnapshot(readOpsSnapshot(opsDelta.opsSnapshot));
        return store.persistOpsLifecycle({ ...request, opsDelta: { opsSnapshot } });
      },
    })),
  ],
  [
    "accepts uploaded input rows in any order",
    "input uploads",
    /^input uploads: rows in another order/,
    memoryStores((store) => ({
      ...store,
      uploadInputStates: async (request) => {
        const rows: StoredInputState[] = [];
        for await (const part of request.parts) if (!("bytes" in part)) rows.push(...part);
        const ordered = new Map(
          [...rows].sort((a, b) => (a.inputId < b.inputId ? -1 : 1)).map((row) => [row.inputId, row]),
        );
        const parts = async function* () {
          yield await Promise.resolve([...ordered.values()]);
        };
        return store.uploadInputStates({ ...request, rowCount: ordered.size, parts: parts() });
      },
    })),
  ],
  [
    "does not check that omitted rows are unchanged",
    "unchanged inputs",
    /nothing is applied after another writer/,
    memoryStores((store) => ({
      ...store,
      atomicApply: (request) => store.atomicApply({ ...request, unchangedInputs: undefined }),
    })),
  ],
  [
    "leaves the receipts of a deleted runtime",
    "deletion",
    /^deletion: every record of the runtime is deleted and counted/,
    memoryStores((store) => {
      let receipt: RunBoundaryReceipt | undefined;
      return {
        ...store,
        atomicApply: (request) => {
          receipt = request.receipt;
          return store.atomicApply(request);
        },
        deleteRuntime: async ({ runtimeId, ...rest }) => {
          const deleted = await store.deleteRuntime({ runtimeId, ...rest });
          const boundary = { runtimeId, inputUpdates: [], sessionDelta: undefined, sessionStoreKey: undefined };
          if (receipt) await store.atomicApply({ ...boundary, receipt });
          return deleted;
        },
      };
    }),
  ],
  [
    "deletes a runtime when an import has no records",
    "transfer",
    /an import without records/,
    memoryStores((store) => ({
      ...store,
      importRuntime: async (request) => {
        const sent: RuntimePart[] = [];
        for await (const part of request.parts) sent.push(part);
        if (sent.length > 0) return store.importRuntime({ ...request, parts: streamOf(sent) });
        const { runtimeId, overwrite, dryRun } = request;
        if (overwrite && !dryRun) await store.deleteRuntime({ runtimeId });
        return "unchanged";
      },
    })),
  ],
  [
    "imports the rows of a runtime in two commits",
    "transfer",
    /a reader during an import/,
    memoryStores((store) => ({
      ...store,
      importRuntime: async (request) => {
        const sent: RuntimePart[] = [];
        for await (const part of request.parts) sent.push(part);
        const first = sent.find(({ kind }) => kind === "inputs");
        const importOf = (parts: readonly RuntimePart[], dryRun = request.dryRun): Promise<ImportResult> =>
          store.importRuntime({ ...request, dryRun, parts: streamOf(parts) });
        if (request.dryRun || first?.kind !== "inputs" || first.inputs.length < 2) return importOf(sent);
        const result = await importOf(sent, true);
        const half = { ...first, inputs: first.inputs.slice(1) };
        if (result === "added" || result === "replaced") {
          await importOf(sent.map((part) => (part === first ? half : part)));
        }
        await new Promise(setImmediate);
        await importOf(sent);
        return result;
      },
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
    /every record is loaded unchanged after a reopen/,
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
