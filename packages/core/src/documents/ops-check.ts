import { JsonError, checkOpsSnapshot } from "@bolthole/json";

/** The reason why a text is not an operation snapshot. Plain data, so that a worker thread can send it. */
export interface OpsProblem {
  /** The path of the wrong member. */
  readonly path: string;
  readonly reason: string;
}

/** The result of the check of an operation snapshot: undefined when it is one. */
export type OpsVerdict = OpsProblem | undefined;

/** Checks the whole JSON of an operation snapshot (contract 6.1). */
export function checkOps(json: Uint8Array): OpsVerdict {
  try {
    checkOpsSnapshot(json);
    return undefined;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return { path: error.path, reason: error.reason };
  }
}
