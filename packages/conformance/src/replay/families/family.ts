import type { RuntimeStore } from "@bolthole/contract";
import type { Capability } from "../../store-factory.js";
import type { Difference } from "../replay-report.js";
import type { Vector } from "../vector.js";

export type Verdict = readonly Difference[] | { readonly skip: string };

/** How the cases of one file are played. */
export interface Family {
  readonly needs: readonly Capability[];
  /** First through the JSON shapes, then through a store, under a runtime id of the case's own. */
  play(vector: Vector, store: RuntimeStore, runtimeId: string): Promise<Verdict>;
}

export const differences = (...found: readonly (Difference | undefined)[]): Difference[] =>
  found.filter((one) => one !== undefined);

/** The store gives another value than it should, or undefined. */
export const compared = (op: string, expected: unknown, got: unknown): Difference | undefined =>
  expected === got ? undefined : { op, expected, got };
