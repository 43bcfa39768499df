import { readMachineLifecycle, writeMachineLifecycle } from "@bolthole/json";
import type { Capabilities, Capability } from "../store-factory.js";
import { matches } from "./compare.js";
import type { Trace, TraceResult } from "./trace.js";
import { textOf } from "./trace-args.js";

/**
 * The reference's memory store's; the argument that an earlier step stored; what the reference's decoder says of the
 * lifecycle record that another step loads; or this.
 */
type OtherAnswer =
  "memory" | { readonly storedBy: number; readonly argument: string } | { readonly decodedBy: number } | TraceResult;

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

const DAMAGED_LIFECYCLE = "Store read failed: stored machine lifecycle record does not match its checksum";

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
  // Rows that somebody else wrote into the reference's tables. A lifecycle record travels decoded, as a message.
  ...raw("sqlite/legacy_runtime_state_row_is_not_lifecycle_authority", [[2, 1]]),
  ...raw("sqlite/legacy_machine_lifecycle_snapshot_row_is_not_lifecycle_authority", [[2, 1]]),
  ...raw(
    "lifecycle/decoder_over_raw_rows",
    [4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, 37, 40, 43, 55, 58, 61, 64, 67, 73, 76, 79, 82, 85, 88, 91, 94, 97, 100]
      .concat([103, 106, 109, 112, 115, 118])
      .map((step) => [step, step + 1]),
  ),
  // Of them, the ones that no writer produces.
  {
    trace: "lifecycle/decoder_over_raw_rows",
    steps: [46, 47, 49, 50, 52, 53, 70, 71],
    decision: 19,
    answer: { err: { variant: "ReadFailed", text: DAMAGED_LIFECYCLE } },
  },
];

function raw(trace: string, steps: readonly (readonly number[])[]): DeclaredDifference[] {
  return steps.map(([step = -1, decodedBy = -1]) => ({ trace, steps: [step], decision: 12, answer: { decodedBy } }));
}

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
  if ("decodedBy" in answer) {
    const verdict = trace.steps[answer.decodedBy]?.sqlite;
    const record = trace.steps[index]?.sqlite.ok;
    if (verdict?.err || typeof record !== "object" || record === null || !("text" in record)) return verdict;
    return { ok: { text: writeMachineLifecycle(readMachineLifecycle(record.text)).toString() } };
  }
  if (!("storedBy" in answer)) return answer;
  const args = trace.steps[answer.storedBy]?.args;
  return args && { ok: { text: textOf(args, answer.argument) } };
}
