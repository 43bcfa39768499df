import type { InputId, RunId } from "./ids.js";

export const RUN_APPLY_BOUNDARIES = ["immediate", "run_start", "run_checkpoint"] as const;
export type RunApplyBoundary = (typeof RUN_APPLY_BOUNDARIES)[number];

/** Proof that a run's boundary was applied. Its key is runtime, run and sequence (section 4). */
export interface RunBoundaryReceipt {
  readonly runId: RunId;
  readonly boundary: RunApplyBoundary;
  /** In the order of contribution. */
  readonly contributingInputIds: readonly InputId[];
  readonly conversationDigest?: string | undefined;
  readonly messageCount: bigint;
  readonly sequence: bigint;
}
