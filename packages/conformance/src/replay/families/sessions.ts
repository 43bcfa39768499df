import { Buffer } from "node:buffer";
import { type RuntimeStore, StoreError } from "@bolthole/contract";
import { readRewriteCommit } from "@bolthole/json";
import { receipt } from "../../fixtures.js";
import { sameText } from "../compare.js";
import type { Difference } from "../replay-report.js";
import { type Vector, inputOf, isPositional } from "../vector.js";
import { type Family, type Verdict, differences } from "./family.js";

/** The refusal of a call, or undefined. */
async function refusalOf(call: Promise<unknown>): Promise<StoreError | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    if (error instanceof StoreError) return error;
    throw error;
  }
}

function verdictOn(vector: Vector, op: string, refusal: StoreError | undefined): Difference | undefined {
  const got = refusal?.message ?? "accepted";
  if ("hangs" in vector.expect) {
    // The reference never answers; a store has to refuse (section 14.9).
    return refusal?.message.includes("transcript history state is malformed: ") === true
      ? undefined
      : { op, expected: "a malformed history", got };
  }
  const expected = storeText(vector);
  if (expected === undefined) return refusal && vector.quirk !== true ? { op, expected: "accepted", got } : undefined;
  if (vector.quirk === true) return undefined;
  const isSame = refusal && (isPositional(vector) || sameText(expected, refusal.message));
  return isSame === true ? undefined : { op, expected, got };
}

/** How a store shows the error of a decoder or a guard (section 8.7). */
function storeText({ guard, clock, expect: { err } }: Vector): string | undefined {
  // A message without a time is the same every time, so that a document continues itself (section 14.10).
  if (err === undefined || clock === true) return undefined;
  if (typeof err === "string") return `Store write failed: ${err}`;
  const isConflict = guard === "rewrite" && err.variant === "TranscriptRevisionConflict";
  return isConflict
    ? `Transcript revision conflict: expected ${String(err.expected)}, actual ${String(err.actual)}`
    : `Store write failed: ${err.text}`;
}

/** Which documents a store takes as sessions; it gives them back as they were. */
export const sessions: Family = {
  needs: ["transcriptRules"],
  async play(vector, store, runtimeId) {
    const document = inputOf(vector);
    const refusal = await refusalOf(store.commitSessionSnapshot(runtimeId, { sessionSnapshot: document }));
    const loaded = await store.loadSessionSnapshot(runtimeId);
    const expected = refusal ? undefined : document;
    const isSame = expected && loaded ? expected.equals(loaded) : expected === loaded;
    return differences(
      verdictOn(vector, "commit_session_snapshot", refusal),
      isSame ? undefined : { op: "load_session_snapshot", expected: expected?.toString(), got: loaded },
    );
  },
};

/** The guards of the two calls that have one. */
export const guards: Family = {
  needs: ["transcriptRules"],
  async play(vector, store, runtimeId) {
    if (vector.guard === "append") return { skip: "no store call has the append guard alone" };
    if (typeof vector.previous === "string") {
      const refusal = await refusalOf(commitPrevious(store, runtimeId, vector.previous));
      if (refusal) return { skip: "the previous document cannot be stored" };
    }
    return vector.guard === "boundary" ? boundary(vector, store, runtimeId) : rewrite(vector, store, runtimeId);
  },
};

const commitPrevious = (store: RuntimeStore, runtimeId: string, text: string): Promise<void> =>
  store.commitSessionSnapshot(runtimeId, { sessionSnapshot: Buffer.from(text) });

const incoming = (vector: Vector) => ({ sessionSnapshot: Buffer.from(vector.incoming ?? "") });

async function boundary(vector: Vector, store: RuntimeStore, runtimeId: string): Promise<Verdict> {
  const call = store.atomicApply(runtimeId, incoming(vector), receipt(1, 0n), [], undefined);
  return differences(verdictOn(vector, "atomic_apply", await refusalOf(call)));
}

async function rewrite(vector: Vector, store: RuntimeStore, runtimeId: string): Promise<Verdict> {
  const commit = readRewriteCommit(vector.commit ?? "");
  const call = store.commitSessionTranscriptRewriteSnapshot(runtimeId, incoming(vector), commit);
  return differences(verdictOn(vector, "commit_session_transcript_rewrite_snapshot", await refusalOf(call)));
}
