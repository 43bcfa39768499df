import assert from "node:assert/strict";
import { JsonError, readSessionId } from "@bolthole/json";
import type { StoreFactory, StoreHandle, StoreSite } from "../store-factory.js";
import { declaredResult } from "./declared-differences.js";
import { playStep } from "./operations.js";
import { type Difference, type Replayed, describeError, judged, skipped } from "./report.js";
import { type Trace, type TraceResult, type TraceStep, bytesOf, hasArgument, isSameResult, rawRowOf } from "./trace.js";

export interface TraceOptions {
  /** Also opens a durable store again before the step in the middle of each trace. */
  readonly reopenMidway?: boolean | undefined;
  /** Returns whether a store that is not empty has data of these runtimes, or OAuth state. Such traces are skipped. */
  readonly hasDataOf?: ((runtimeIds: ReadonlySet<string>, withOauth: boolean) => Promise<boolean>) | undefined;
}

export const HAS_DATA = "the store already has data of these runtimes";

/** Plays a trace on a new site, and compares every result with the recorded or declared one. */
export async function playTrace(trace: Trace, factory: StoreFactory, options: TraceOptions = {}): Promise<Replayed> {
  const reason = skipReason(trace, factory);
  if (reason !== undefined) return skipped(trace.name, reason);
  if (await options.hasDataOf?.(runtimeIdsOf(trace), usesOauth(trace))) return skipped(trace.name, HAS_DATA);
  const site = await factory.createSite();
  try {
    return await playOn(site, trace, factory, options);
  } finally {
    await site.remove();
  }
}

/** Returns why a trace cannot be played on such stores; undefined when it can. */
function skipReason(trace: Trace, { capabilities }: StoreFactory): string | undefined {
  if (!capabilities.rawRows && trace.steps.some(({ op }) => op === "put_raw_row"))
    return "writes external rows (put_raw_row)";
  if (!capabilities.transcriptRules && dependsOnTranscriptRules(trace)) return "depends on transcript rules";
  return undefined;
}

const runtimeIdsOf = ({ steps }: Trace): ReadonlySet<string> =>
  new Set(steps.flatMap(({ runtime_id: id }) => (id === undefined ? [] : [id])));

const usesOauth = ({ steps }: Trace): boolean => steps.some(({ op }) => op.includes("oauth"));

async function playOn(site: StoreSite, trace: Trace, factory: StoreFactory, options: TraceOptions): Promise<Replayed> {
  const differences: Difference[] = [];
  const middle = options.reopenMidway ? trace.steps.length >> 1 : -1;
  let declaredCount = 0;
  let handle: StoreHandle = await site.open();
  try {
    for (const [index, step] of trace.steps.entries()) {
      // A store that is not durable stays open, as the reference's memory store did when the traces were recorded.
      if ((step.reopen === true || index === middle) && factory.capabilities.durable) {
        await handle.close();
        handle = await site.open();
      }
      const found = await resultOf(handle, step);
      const declared = declaredResult(trace, index, factory.capabilities);
      const expected = declared ?? step.sqlite;
      if (!isSameResult(expected, found)) differences.push({ step: index, op: step.op, expected, found });
      else if (declared) declaredCount += 1;
    }
  } finally {
    await handle.close();
  }
  return judged(trace.name, differences, declaredCount);
}

/** Returns the result of a step. An error that is not a store error becomes a result that no recorded one equals. */
async function resultOf({ store, putRawRow }: StoreHandle, step: TraceStep): Promise<TraceResult> {
  try {
    if (step.op !== "put_raw_row") return await playStep(store, step);
    assert.ok(putRawRow, "the factory declares `rawRows`: expected a handle with `putRawRow`, found none");
    await putRawRow(rawRowOf(step));
    return { ok: null };
  } catch (error) {
    return { err: { variant: "none", text: describeError(error) } };
  }
}

const DOCUMENT_ARGUMENT: Readonly<Record<string, string>> = {
  commit_session_snapshot: "snapshot",
  atomic_apply: "snapshot",
  replace_session_snapshot_if_current: "replacement",
};

/**
 * Whether a result of the trace depends on transcript rules: a transcript is rewritten, or a document that is JSON with a
 * session id is refused. A store without these rules accepts such a document, and its later results differ as well.
 */
const dependsOnTranscriptRules = ({ steps }: Trace): boolean =>
  steps.some(({ op, args, sqlite: { err } }) => {
    if (op === "commit_session_transcript_rewrite_snapshot") return true;
    const argument = DOCUMENT_ARGUMENT[op];
    if (argument === undefined || !hasArgument(args, argument) || err?.variant !== "WriteFailed") return false;
    return !err.text.includes("UNIQUE constraint") && hasSessionId(bytesOf(args, argument));
  });

function hasSessionId(document: Uint8Array): boolean {
  try {
    readSessionId(document);
    return true;
  } catch (error) {
    if (error instanceof JsonError) return false;
    throw error;
  }
}
