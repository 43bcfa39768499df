import assert from "node:assert/strict";
import type { StoreFactory, StoreHandle, StoreSite } from "../store-factory.js";
import { matches } from "./compare.js";
import { declaredAnswer } from "./declared-differences.js";
import { play } from "./operations.js";
import { type Difference, type Replayed, judged, skipped } from "./replay-report.js";
import type { Trace, TraceResult, TraceStep } from "./trace.js";
import { rawRowOf } from "./trace-args.js";
import { isTranscriptDecided } from "./transcript-decided.js";

export interface TraceOptions {
  /** Opens the store again before the step in the middle, too. */
  readonly reopenMidway?: boolean | undefined;
  /** For stores that are not empty: whether something of these runtimes, or of the OAuth state, is stored already. */
  readonly isTaken?: ((runtimeIds: ReadonlySet<string>, withOauth: boolean) => Promise<boolean>) | undefined;
}

export const TAKEN = "the store already holds something of it";

/** Why a trace cannot be played on such stores. */
function skipReason(trace: Trace, { capabilities }: StoreFactory): string | undefined {
  if (!capabilities.rawRows && trace.steps.some(({ op }) => op === "put_raw_row"))
    return "writes rows past the store (put_raw_row)";
  if (!capabilities.transcriptRules && isTranscriptDecided(trace)) return "transcript rules";
  return undefined;
}

/** Plays a trace on an empty store, and compares every answer. */
export async function playTrace(trace: Trace, factory: StoreFactory, options: TraceOptions = {}): Promise<Replayed> {
  const reason = skipReason(trace, factory);
  if (reason !== undefined) return skipped(trace.name, reason);
  if (await options.isTaken?.(...subjectsOf(trace))) return skipped(trace.name, TAKEN);
  const site = await factory.createSite();
  try {
    return await playOn(site, trace, factory, options);
  } finally {
    await site.remove();
  }
}

function subjectsOf({ steps }: Trace): [runtimeIds: ReadonlySet<string>, withOauth: boolean] {
  const ids = steps.flatMap(({ runtime_id: id }) => (id === undefined ? [] : [id]));
  return [new Set(ids), steps.some(({ op }) => op.includes("oauth"))];
}

async function playOn(site: StoreSite, trace: Trace, factory: StoreFactory, options: TraceOptions): Promise<Replayed> {
  const differences: Difference[] = [];
  const middle = options.reopenMidway ? trace.steps.length >> 1 : -1;
  let declared = 0;
  let handle: StoreHandle = await site.open();
  try {
    for (const [index, step] of trace.steps.entries()) {
      // A store that does not last lives on, as the reference's memory store does in the traces.
      if ((step.reopen === true || index === middle) && factory.capabilities.durable) {
        await handle.close();
        handle = await site.open();
      }
      const got = await answered(handle, step);
      const otherwise = declaredAnswer(trace, index, factory.capabilities);
      const expected = otherwise ?? step.sqlite;
      if (!matches(expected, got)) differences.push({ step: index, op: step.op, expected, got });
      else if (otherwise) declared += 1;
    }
  } finally {
    await handle.close();
  }
  return judged(trace.name, differences, declared);
}

/** A fault that is no store error is an answer too: always a wrong one. */
async function answered({ store, putRawRow }: StoreHandle, step: TraceStep): Promise<TraceResult> {
  try {
    if (step.op !== "put_raw_row") return await play(store, step);
    assert.ok(putRawRow, "a handle cannot write raw rows, although `rawRows` is declared");
    await putRawRow(rawRowOf(step));
    return { ok: null };
  } catch (error) {
    return { err: { variant: "none", text: error instanceof Error ? (error.stack ?? error.message) : String(error) } };
  }
}
