import type { EngineStore } from "@bolthole/core";
import type { Random } from "../random.js";
import type { Disguise, ObservedStore } from "./observed-store.js";
import type { Runtimes } from "./runtimes.js";
import type { SimulatedIds } from "./simulated-ids.js";

/** The values from which steps are made. */
export interface StepContext {
  readonly random: Random;
  readonly ids: SimulatedIds;
  readonly runtimes: Runtimes;
  /** The store whose versions the steps use. Its calls are not observed. */
  readonly reference: () => EngineStore;
}

/** The response to a mutation that was applied. */
export interface Applied {
  readonly version: string;
  readonly replayed: boolean;
}

/** The records that a step reads or changes. */
export interface Touched {
  readonly runtimeIds: readonly string[];
  readonly requestIds: readonly string[];
  readonly oauth: boolean;
}

/** One step of a run. It does the same in every store. */
export interface Step {
  readonly name: string;
  readonly touched: Touched;
  readonly isMutation: boolean;
  readonly disguise: Disguise;
  /** Performs the step in one store. Returns undefined when nothing was applied. */
  send(observed: ObservedStore): Promise<Applied | undefined>;
  /** Called when the reference store has applied the step. `document` is the last document that it sent. */
  applied(version: string, document: Buffer | undefined): Promise<void>;
}

const NOTHING: Touched = { runtimeIds: [], requestIds: [], oauth: false };

/** Returns a step that reads. Its calls may be refused one by one. */
export const readStep = (
  name: string,
  touched: Partial<Touched>,
  read: (observed: ObservedStore) => Promise<unknown>,
): Step => ({
  name,
  touched: { ...NOTHING, ...touched },
  isMutation: false,
  disguise: {},
  send: async (observed) => {
    await read(observed);
    return undefined;
  },
  applied: () => Promise.resolve(),
});

/** Returns a step that changes something. */
export const writeStep = (
  name: string,
  touched: Partial<Touched>,
  send: Step["send"],
  rest: Partial<Pick<Step, "disguise" | "applied">> = {},
): Step => ({
  name,
  touched: { ...NOTHING, ...touched },
  isMutation: true,
  disguise: {},
  send,
  applied: () => Promise.resolve(),
  ...rest,
});

/** Performs calls of which each may be refused. */
export async function attemptAll(calls: readonly (() => Promise<unknown>)[]): Promise<void> {
  for (const call of calls) {
    try {
      await call();
    } catch {
      // It is among the observations.
    }
  }
}
