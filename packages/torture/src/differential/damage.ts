import type { RuntimeContents } from "@bolthole/contract";
import type { RowKey } from "@bolthole/core";
import type { Observation } from "./observation.js";
import type { Applied, Touched } from "./step.js";
import type { Subject } from "./subject.js";

/** The record that is damaged in one store. */
export type DamagedTarget = { readonly runtimeId: string } | { readonly requestId: string } | { readonly oauth: true };

/** Damage that was planted in one store. */
export interface Damage {
  readonly subject: Subject;
  readonly target: DamagedTarget;
  readonly description: string;
  /** The step at which it ends. */
  readonly endsAt: number;
}

/** Whether a step reads or changes the damaged record. */
export const touches = (target: DamagedTarget, touched: Touched): boolean => {
  if ("runtimeId" in target) return touched.runtimeIds.includes(target.runtimeId);
  if ("requestId" in target) return touched.requestIds.includes(target.requestId);
  return touched.oauth;
};

/** Returns the keys of all rows of a runtime. */
export function keysOf({ runtimeId, session, lifecycle, ops, inputs, receipts }: RuntimeContents): RowKey[] {
  const keys: RowKey[] = [{ table: "runtimeManifest", runtimeId }];
  if (session) keys.push({ table: "snapshot", runtimeId });
  if (lifecycle) keys.push({ table: "lifecycle", runtimeId });
  if (ops) keys.push({ table: "ops", runtimeId });
  for (const { inputId } of inputs) keys.push({ table: "input", runtimeId, inputId });
  for (const { runId, sequence } of receipts) keys.push({ table: "receipt", runtimeId, runId, sequence });
  return keys;
}

const DAMAGED = "DAMAGED_RECORD";

/** Refusals that follow from versions that the damaged store has for itself. */
const OF_VERSIONS = ["VERSION_CONFLICT", "BASE_NOT_CURRENT", "INPUT_NOT_CURRENT", "UPLOAD_UNKNOWN"];

/** What a damaged store did with a change of its damaged record, before the other stores get it. */
type Verdict = "refused as damaged" | "applied" | "refused otherwise";

/** Returns the verdict on the observations of a change. A change that missed counts as refused as damaged: nothing has changed. */
export function verdictOn(observations: readonly Observation[], applied: Applied | undefined): Verdict {
  if (applied) return "applied";
  const last = observations.at(-1);
  const reason = last?.refusal?.reason;
  if (reason === DAMAGED || (reason !== undefined && OF_VERSIONS.includes(reason))) return "refused as damaged";
  if (reason !== undefined) return "refused otherwise";
  const response = last?.response;
  const isMissed =
    response === null || (typeof response === "object" && "updated" in response && response["updated"] === false);
  return isMissed ? "refused as damaged" : "applied";
}

const VERSION = /"[^" ]+\.\d+"/g;

const withoutVersions = (value: unknown): string => JSON.stringify(value).replace(VERSION, '"(version)"');

/**
 * Returns the first load of a damaged record whose response is neither that of the reference nor a refusal of the damage.
 * Undefined when there is none.
 */
export function wrongLoad(reference: readonly Observation[], own: readonly Observation[]): number | undefined {
  const index = own.findIndex((found, at) => {
    const expected = reference[at];
    if (!expected || expected.method !== found.method) return true;
    if (found.refusal) return found.refusal.reason !== DAMAGED && found.refusal.reason !== expected.refusal?.reason;
    if (withoutVersions(found) === withoutVersions(expected)) return false;
    return !isPartOf(found.response, expected.response);
  });
  if (index >= 0) return index;
  return own.length === reference.length ? undefined : own.length;
}

/** Whether a load of each row's outcome returned only rows of the reference, and at least one failure for the others. */
function isPartOf(found: unknown, expected: unknown): boolean {
  const [own, all] = [found, expected] as { batches?: unknown; failures?: readonly { reason?: string }[] }[];
  if (!own?.failures?.length || !all) return false;
  const rowsOf = ({ batches }: { batches?: unknown }): string[] =>
    (Array.isArray(batches) ? batches : []).map(withoutVersions);
  const known = new Set(rowsOf(all));
  return rowsOf(own).every((row) => known.has(row)) && own.failures.every(({ reason }) => reason === DAMAGED);
}
