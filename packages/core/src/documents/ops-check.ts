import { JsonError, checkOpsSnapshot } from "@bolthole/json";
import type { OpsIndex } from "./ops-index.js";

/** The reason why a text is not an operation snapshot. */
export interface OpsProblem {
  /** The path of the wrong member. */
  readonly path: string;
  readonly reason: string;
  /** The byte at which reading stopped. */
  readonly offset: number | undefined;
}

/** The result of the check of an operation snapshot. Plain data, so that a worker thread can send it. */
export type OpsVerdict = { readonly index: OpsIndex } | { readonly problem: OpsProblem };

/** Checks the whole JSON of an operation snapshot (contract 6.1). */
export function checkOps(json: Uint8Array): OpsVerdict {
  try {
    return { index: Float64Array.from(checkOpsSnapshot(json)) };
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    const { path, reason, offset } = error;
    return { problem: { path, reason, offset } };
  }
}
