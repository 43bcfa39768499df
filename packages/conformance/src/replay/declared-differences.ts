import { readMachineLifecycle, writeMachineLifecycle } from "@bolthole/json";
import type { Capabilities, Capability } from "../store-factory.js";
import { type Trace, type TraceResult, isSameResult, textOf } from "./trace.js";

/**
 * The result that replaces the recorded one:
 * - `"memory"`: the result of the reference's memory store.
 * - `storedBy`: the argument that an earlier step stored.
 * - `decodedBy`: the result of the reference's decoder, which another step recorded, for the loaded lifecycle record.
 * - a `TraceResult`: this result.
 */
type OtherResult =
  "memory" | { readonly storedBy: number; readonly argument: string } | { readonly decodedBy: number } | TraceResult;

/** Steps of a trace whose result differs from that of the reference's SQLite store, by a decision of this project. */
export interface DeclaredDifference {
  readonly trace: string;
  readonly steps: readonly number[];
  /** The number of the decision: 5 is contract 4.3. */
  readonly decision: number;
  /** The difference holds only for stores with this capability. */
  readonly needs?: Capability;
  /** The expected result. */
  readonly result: OtherResult;
}

export const DECLARED_DIFFERENCES: readonly DeclaredDifference[] = [
  // Every sequence up to 2^64-1 is a distinct receipt key.
  { trace: "difference/05_sequence_clamp", steps: [1, 2, 3, 4], decision: 5, needs: "fullSequences", result: "memory" },
  {
    trace: "receipt/sequence_edges",
    steps: [6, 7, 8, 15, 16, 17],
    decision: 5,
    needs: "fullSequences",
    result: "memory",
  },
  {
    trace: "receipt/sequence_clamp_lookup",
    steps: [2, 3, 5, 6],
    decision: 5,
    needs: "fullSequences",
    result: "memory",
  },
  // A session written as a list of member values, which no writer produces.
  {
    trace: "snapshot/what_is_a_session",
    steps: [273, 274, 276, 277],
    decision: 19,
    result: { err: { variant: "WriteFailed", text: "Store write failed: expected an object" } },
  },
  { trace: "snapshot/what_is_a_session", steps: [283], decision: 19, result: { storedBy: 258, argument: "snapshot" } },
  // A message without a time always gets the same time, so a document continues itself.
  { trace: "snapshot/created_at_missing_trap", steps: [2], decision: 10, result: { ok: null } },
  { trace: "snapshot/created_at_missing_trap", steps: [4], decision: 10, result: { storedBy: 2, argument: "receipt" } },
  // External rows in the tables of the reference. A lifecycle record is returned decoded, as a message.
  ...externalRecords("sqlite/legacy_runtime_state_row_is_not_lifecycle_authority", [[2, 1]]),
  ...externalRecords("sqlite/legacy_machine_lifecycle_snapshot_row_is_not_lifecycle_authority", [[2, 1]]),
  ...externalRecords(
    "lifecycle/decoder_over_raw_rows",
    [4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, 37, 40, 43, 55, 58, 61, 64, 67, 73, 76, 79, 82, 85, 88, 91, 94, 97, 100]
      .concat([103, 106, 109, 112, 115, 118])
      .map((step) => [step, step + 1]),
  ),
  // The external rows that no writer produces.
  unreadableLifecycle([46, 47], "binding: expected an object (byte 53)"),
  unreadableLifecycle([49, 50, 52, 53], "expected an object (byte 0)"),
  unreadableLifecycle([70, 71], "runtime_state: expected a string (byte 36)"),
];

/** Declares loads of an external row that is not a lifecycle record. */
function unreadableLifecycle(steps: readonly number[], why: string): DeclaredDifference {
  const text = `Store read failed: stored machine lifecycle record cannot be read: ${why}`;
  return {
    trace: "lifecycle/decoder_over_raw_rows",
    steps,
    decision: 19,
    result: { err: { variant: "ReadFailed", text } },
  };
}

/** Declares loads of external lifecycle records. Each pair is the step of the load and the step of the decoder. */
function externalRecords(trace: string, steps: readonly (readonly number[])[]): DeclaredDifference[] {
  return steps.map(([step = -1, decodedBy = -1]) => ({ trace, steps: [step], decision: 12, result: { decodedBy } }));
}

/**
 * Returns the result that is declared for a step instead of the recorded one; undefined when there is no declaration.
 * Throws when the declared result equals the recorded one.
 */
export function declaredResult(trace: Trace, index: number, capabilities: Capabilities): TraceResult | undefined {
  const declared = DECLARED_DIFFERENCES.find((one) => one.trace === trace.name && one.steps.includes(index));
  if (!declared || (declared.needs && !capabilities[declared.needs])) return undefined;
  const recorded = trace.steps[index]?.sqlite;
  const result = resolve(declared.result, trace, index);
  if (!result || !recorded || isSameResult(recorded, result)) {
    throw new Error(
      `${trace.name}, step ${String(index)}: expected a result that differs from the recorded one, found the same: ` +
        "remove the step from DECLARED_DIFFERENCES",
    );
  }
  return result;
}

function resolve(result: OtherResult, trace: Trace, index: number): TraceResult | undefined {
  if (result === "memory") return trace.steps[index]?.memory;
  if ("decodedBy" in result) {
    const decoded = trace.steps[result.decodedBy]?.sqlite;
    const record = trace.steps[index]?.sqlite.ok;
    if (decoded?.err || typeof record !== "object" || record === null || !("text" in record)) return decoded;
    return { ok: { text: writeMachineLifecycle(readMachineLifecycle(record.text)).toString() } };
  }
  if (!("storedBy" in result)) return result;
  const args = trace.steps[result.storedBy]?.args;
  return args && { ok: { text: textOf(args, result.argument) } };
}
