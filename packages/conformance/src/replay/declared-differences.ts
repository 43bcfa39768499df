import type { Capabilities, Capability } from "../store-factory.js";
import { matches } from "./compare.js";
import type { Trace, TraceResult } from "./trace.js";
import { textOf } from "./trace-args.js";

/** The reference's memory store's; the argument that an earlier step stored; or this. */
type OtherAnswer = "memory" | { readonly storedBy: number; readonly argument: string } | TraceResult;

/** Where Bolthole answers otherwise than the reference's SQLite store, by a numbered decision of CONTRACT.md, section 14. */
export interface DeclaredDifference {
  readonly trace: string;
  readonly steps: readonly number[];
  readonly decision: number;
  /** Holds only of stores with this capability. */
  readonly needs?: Capability;
  /** What is answered instead. It is checked. */
  readonly answer: OtherAnswer;
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
  // A session in the form of a list, which no writer produces.
  {
    trace: "snapshot/what_is_a_session",
    steps: [273, 274, 276, 277],
    decision: 19,
    answer: { err: { variant: "WriteFailed", text: "Store write failed: expected an object" } },
  },
  { trace: "snapshot/what_is_a_session", steps: [283], decision: 19, answer: { storedBy: 258, argument: "snapshot" } },
  // A message without a time gets the same stand-in every time, so a document continues itself.
  { trace: "snapshot/created_at_missing_trap", steps: [2], decision: 10, answer: { ok: null } },
  { trace: "snapshot/created_at_missing_trap", steps: [4], decision: 10, answer: { storedBy: 2, argument: "receipt" } },
];

/** The answer that is declared for a step instead of the reference's, if there is one. */
export function declaredAnswer(trace: Trace, index: number, capabilities: Capabilities): TraceResult | undefined {
  const declared = DECLARED_DIFFERENCES.find((one) => one.trace === trace.name && one.steps.includes(index));
  if (!declared || (declared.needs && !capabilities[declared.needs])) return undefined;
  const reference = trace.steps[index]?.sqlite;
  const answer = resolve(declared.answer, trace, index);
  if (!answer || !reference || matches(reference, answer)) {
    throw new Error(`${trace.name}, step ${String(index)}: declared as a difference, but it is none`);
  }
  return answer;
}

function resolve(answer: OtherAnswer, trace: Trace, index: number): TraceResult | undefined {
  if (answer === "memory") return trace.steps[index]?.memory;
  if (!("storedBy" in answer)) return answer;
  const args = trace.steps[answer.storedBy]?.args;
  return args && { ok: { text: textOf(args, answer.argument) } };
}
