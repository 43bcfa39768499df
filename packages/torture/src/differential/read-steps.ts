import type { RuntimeContents, RuntimeSummary } from "@bolthole/contract";
import { emptyContents, exportContents, partsOf } from "@bolthole/contract";
import type { EngineStore } from "@bolthole/core";
import { plainOf } from "./observation.js";
import { type Step, type StepContext, attemptAll, readStep, writeStep } from "./step.js";

const ABSENT_ID = "01970000-0000-7000-8000-00000000dead";
/** The runtimes that imports write. No operation writes them. */
const COPIES = ["copy 1", "copy 2"] as const;

/** Returns a step that loads everything of a runtime, in every way that there is. */
export function loadEverything({ random, runtimes }: StepContext, runtimeId: string): Step {
  const state = runtimes.stateOf(runtimeId);
  const inputIds = [...(state?.inputIds ?? []).filter(() => random.oneIn(3)), ABSENT_ID];
  const receipts = [...(state?.receipts ?? []).filter(() => random.oneIn(4)), { runId: ABSENT_ID, sequence: 1n }];
  return readStep("loads of everything", { runtimeIds: [runtimeId] }, ({ facade }) =>
    attemptAll([
      () => facade.loadSessionSnapshot({ runtimeId }),
      () => facade.loadMachineLifecycleRecord({ runtimeId }),
      () => facade.loadOpsLifecycle({ runtimeId }),
      () => facade.loadOpsLifecycleJson({ runtimeId }),
      () => facade.loadInputStates({ runtimeId }),
      () => facade.loadInputStates({ runtimeId, eachOutcome: true }),
      ...inputIds.map((inputId) => () => facade.loadInputState({ runtimeId, inputId })),
      ...receipts.map((receipt) => () => facade.loadBoundaryReceipt({ runtimeId, ...receipt })),
      () => facade.exportRuntime({ runtimeId }),
    ]),
  );
}

export const loadOauth = (): Step =>
  readStep("load of the OAuth value", { oauth: true }, ({ facade }) =>
    attemptAll([() => facade.loadAuthOauthFlowSnapshot({})]),
  );

/** Returns all pages of the list. Engines order the runtimes in their own way. */
export async function listAll(store: EngineStore, pageSize: number): Promise<RuntimeSummary[]> {
  const all: RuntimeSummary[] = [];
  let pageToken = "";
  do {
    const page = await store.listRuntimes({ pageSize, pageToken });
    all.push(...page.runtimes);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return all.sort((one, other) => (one.runtimeId < other.runtimeId ? -1 : 1));
}

/** Returns a step that reads the complete contents of a store, without some runtimes. */
export function completeContents({ random }: Pick<StepContext, "random">, without: readonly string[]): Step {
  const pageSize = 1 + random.below(4);
  return readStep("complete contents", {}, async (observed) => {
    const { facade, store } = observed;
    const runtimes = (await listAll(store, pageSize)).filter(({ runtimeId }) => !without.includes(runtimeId));
    observed.note("listRuntimes, all pages", await plainOf(runtimes));
    await attemptAll([
      ...runtimes.map(
        ({ runtimeId }) =>
          () =>
            facade.exportRuntime({ runtimeId }),
      ),
      () => facade.getServerInfo({}),
      () => facade.authAuthorityKey({}),
      () => facade.keptOutcomes(),
    ]);
  });
}

/** Returns a step that deletes outcomes beyond the retention. */
export const prune = (): Step =>
  writeStep("prune", {}, async ({ facade }) => {
    await facade.prune();
    await facade.getServerInfo({});
    await facade.keptOutcomes();
    return undefined;
  });

/** Returns a step that imports a runtime over itself, or over a copy. */
export async function importSome({ random, runtimes, reference }: StepContext): Promise<Step> {
  const { runtimeId } = runtimes.pick();
  const exported = await exportContents(reference(), { runtimeId });
  const contents: RuntimeContents = exported ?? emptyContents(runtimeId);
  const isCopy = random.below(4) > 0;
  const target = isCopy ? random.pick(COPIES) : runtimeId;
  // Without `overwrite`, another state stays; over itself, nothing changes.
  const sent = { ...contents, ...(random.oneIn(4) ? { ops: undefined, inputs: contents.inputs.slice(1) } : {}) };
  const request = {
    runtimeId: target,
    // Each store reads the parts anew.
    parts: { [Symbol.asyncIterator]: () => partsOf(sent) },
    overwrite: isCopy && random.oneIn(2),
    dryRun: random.oneIn(5),
  };
  return writeStep("importRuntime", { runtimeIds: [target] }, async ({ facade }) => {
    await facade.importRuntime(request);
    return undefined;
  });
}

/** Returns a step that deletes a copy. */
export const deleteCopy = ({ random, ids }: StepContext): Step => {
  const [runtimeId, requestId] = [random.pick(COPIES), ids.next()];
  return writeStep("DeleteRuntime of a copy", { runtimeIds: [runtimeId], requestIds: [requestId] }, ({ facade }) =>
    facade.deleteRuntime({ runtimeId, requestId }),
  );
};
