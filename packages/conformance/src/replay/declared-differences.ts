import type { Capabilities, Capability } from "../store-factory.js";
import { matches } from "./compare.js";
import type { TraceResult, TraceStep } from "./trace.js";

/** Where Bolthole answers otherwise than the reference's SQLite store, by a numbered decision of CONTRACT.md, section 14. */
export interface DeclaredDifference {
  readonly trace: string;
  readonly steps: readonly number[];
  readonly decision: number;
  /** Holds only of stores with this capability. */
  readonly needs?: Capability;
  /** What is answered instead: as the reference's memory store, or this. It is checked. */
  readonly answer: "memory" | TraceResult;
}

export const DECLARED_DIFFERENCES: readonly DeclaredDifference[] = [
  // Every sequence is a receipt key of its own, up to 2^64-1.
  { trace: "difference/05_sequence_clamp", steps: [1, 2, 3, 4], decision: 5, needs: "fullSequences", answer: "memory" },
  {
    trace: "receipt/sequence_edges",
    steps: [6, 7, 8, 15, 16, 17],
    decision: 5,
    needs: "fullSequences",
    answer: "memory",
  },
  {
    trace: "receipt/sequence_clamp_lookup",
    steps: [2, 3, 5, 6],
    decision: 5,
    needs: "fullSequences",
    answer: "memory",
  },
  // A message without a time gets the same stand-in every time, so a document continues itself.
  { trace: "snapshot/created_at_missing_trap", steps: [2], decision: 10, answer: { ok: null } },
];

/** The answer that is declared for a step instead of the reference's, if there is one. */
export function declaredAnswer(
  trace: string,
  index: number,
  step: TraceStep,
  capabilities: Capabilities,
): TraceResult | undefined {
  const declared = DECLARED_DIFFERENCES.find((one) => one.trace === trace && one.steps.includes(index));
  if (!declared || (declared.needs && !capabilities[declared.needs])) return undefined;
  const answer = declared.answer === "memory" ? step.memory : declared.answer;
  if (!answer || matches(step.sqlite, answer)) {
    throw new Error(`${trace}, step ${String(index)}: declared as a difference, but it is none`);
  }
  return answer;
}
