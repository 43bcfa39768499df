import type { ExpectedVersion, RuntimeMutation, StoreErrorReason } from "@bolthole/contract";
import type { Random } from "../random.js";
import type { RuntimeState } from "./runtime-state.js";

/** What a mutation expects of its runtime, and how it must be refused when that is not so. */
export interface Expects {
  readonly carried: Pick<RuntimeMutation, "expectedFenceToken" | "expectedVersions">;
  readonly refusedAs?: StoreErrorReason | undefined;
}

export const NOTHING_EXPECTED: Expects = { carried: {} };

const MOST_VERSIONS = 3;

/** Mostly nothing, sometimes what is so, now and then what is not. */
export function expectsOf(random: Random, state: RuntimeState): Expects {
  switch (random.weighted({ nothing: 60, fence: 20, versions: 16, oldFence: 2, oldVersion: 2 })) {
    case "nothing":
      return NOTHING_EXPECTED;
    case "fence":
      return state.hasLifecycle ? { carried: { expectedFenceToken: state.fenceToken } } : NOTHING_EXPECTED;
    case "oldFence": {
      // Without a lifecycle record every token is refused.
      const expectedFenceToken = state.fenceToken - (state.hasLifecycle ? 1n : 0n);
      return { carried: { expectedFenceToken }, refusedAs: "FENCE_CONFLICT" };
    }
    case "versions":
      return { carried: { expectedVersions: someVersions(random, state) } };
    case "oldVersion": {
      const [first, ...rest] = someVersions(random, state);
      // A version that never was: a copy of the request that comes late must be refused as well.
      const wrong = first && { ...first, version: "gone.1" };
      return wrong
        ? { carried: { expectedVersions: [...rest, wrong] }, refusedAs: "VERSION_CONFLICT" }
        : NOTHING_EXPECTED;
    }
  }
}

/** Some records of the runtime as they are. */
function someVersions(random: Random, { versions, inputIds }: RuntimeState): ExpectedVersion[] {
  const all: ExpectedVersion[] = [
    { record: "session_snapshot", version: versions.get("snapshot") },
    { record: "machine_lifecycle", version: versions.get("lifecycle") },
    { record: "ops_lifecycle", version: versions.get("ops") },
    ...inputIds.map((inputId) => ({
      record: "input_state" as const,
      inputId,
      version: versions.get(`input ${inputId}`),
    })),
  ];
  const wanted = 1 + random.below(MOST_VERSIONS);
  return all.filter(() => random.below(all.length) < wanted);
}
