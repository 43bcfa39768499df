import { Buffer } from "node:buffer";
import { type MachineLifecycle, type RuntimeStore, StoreError, loadMachineLifecycle } from "@bolthole/contract";
import {
  canonicalRawJson,
  readInputState,
  readMachineLifecycle,
  readOpsSnapshot,
  readReceipt,
  readRewriteCommit,
  writeInputState,
  writeMachineLifecycle,
  writeOpsSnapshot,
  writeReceipt,
} from "@bolthole/json";
import { receipt } from "../fixtures.js";
import type { Difference } from "./report.js";
import { scalars } from "./scalar-family.js";
import { isSameText, lifecycleOf } from "./trace.js";
import {
  type Family,
  type Vector,
  type Verdict,
  compared,
  differences,
  inputOf,
  isPositional,
  judge,
  reading,
} from "./vector.js";

/** Documents that a store accepts or refuses as sessions. An accepted document is loaded unchanged. */
const sessions: Family = {
  needs: ["transcriptRules"],
  async play(vector, store, runtimeId) {
    const document = inputOf(vector);
    const refusal = await refusalOf(store.commitSessionSnapshot(runtimeId, { sessionSnapshot: document }));
    const loaded = await store.loadSessionSnapshot(runtimeId);
    const expected = refusal ? undefined : document;
    const isSame = expected && loaded ? expected.equals(loaded) : expected === loaded;
    return differences(
      judgeRefusal(vector, "commit_session_snapshot", refusal),
      isSame ? undefined : { op: "load_session_snapshot", expected: expected?.toString(), found: loaded },
    );
  },
};

/** The guards of the two calls that have one. */
const guards: Family = {
  needs: ["transcriptRules"],
  async play(vector, store, runtimeId) {
    if (vector.guard === "append") return { skip: "no store call uses only the append guard" };
    if (typeof vector.previous === "string") {
      const refusal = await refusalOf(
        store.commitSessionSnapshot(runtimeId, { sessionSnapshot: Buffer.from(vector.previous) }),
      );
      if (refusal) return { skip: "the previous document cannot be stored" };
    }
    return vector.guard === "boundary"
      ? playBoundaryGuard(vector, store, runtimeId)
      : playRewriteGuard(vector, store, runtimeId);
  },
};

const incoming = (vector: Vector) => ({ sessionSnapshot: Buffer.from(vector.incoming ?? "") });

async function playBoundaryGuard(vector: Vector, store: RuntimeStore, runtimeId: string): Promise<Verdict> {
  const call = store.atomicApply(runtimeId, incoming(vector), receipt(1, 0n), [], undefined);
  return differences(judgeRefusal(vector, "atomic_apply", await refusalOf(call)));
}

async function playRewriteGuard(vector: Vector, store: RuntimeStore, runtimeId: string): Promise<Verdict> {
  const commit = readRewriteCommit(vector.commit ?? "");
  const call = store.commitSessionTranscriptRewriteSnapshot(runtimeId, incoming(vector), commit);
  return differences(judgeRefusal(vector, "commit_session_transcript_rewrite_snapshot", await refusalOf(call)));
}

/** Returns the store error of a call that is refused; undefined when the call succeeds. */
async function refusalOf(call: Promise<unknown>): Promise<StoreError | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    if (error instanceof StoreError) return error;
    throw error;
  }
}

function judgeRefusal(vector: Vector, op: string, refusal: StoreError | undefined): Difference | undefined {
  const found = refusal?.message ?? "accepted";
  if ("hangs" in vector.expect) {
    // The reference never returns; a store must refuse (contract 10.9).
    return refusal?.message.includes("transcript history state is malformed: ") === true
      ? undefined
      : { op, expected: "a malformed history", found };
  }
  const expected = expectedMessage(vector);
  if (expected === undefined) return refusal && vector.quirk !== true ? { op, expected: "accepted", found } : undefined;
  if (vector.quirk === true) return undefined;
  const isSame = refusal && (isPositional(vector) || isSameText(expected, refusal.message));
  return isSame === true ? undefined : { op, expected, found };
}

/** Returns the message with which a store reports the error of a decoder or a guard (contract 10.8). */
function expectedMessage({ guard, clock, expect: { err } }: Vector): string | undefined {
  // A message without a time always gets the same time, so that a document continues itself (contract 7.8).
  if (err === undefined || clock === true) return undefined;
  if (typeof err === "string") return `Store write failed: ${err}`;
  const isConflict = guard === "rewrite" && err.variant === "TranscriptRevisionConflict";
  return isConflict
    ? `Transcript revision conflict: expected ${String(err.expected)}, actual ${String(err.actual)}`
    : `Store write failed: ${err.text}`;
}

const inputStates: Family = {
  needs: [],
  async play(vector, store, runtimeId) {
    const read = reading(vector, readInputState);
    const difference = judge(vector, "reencoded", read, inputText);
    if (difference || "refusal" in read) return differences(difference);
    return differences(await storeInputState(vector, store, runtimeId, read.value));
  },
};

type InputState = ReturnType<typeof readInputState>;
const inputText = (state: InputState): string => writeInputState(state).toString();

async function storeInputState(
  { authorize }: Vector,
  store: RuntimeStore,
  runtimeId: string,
  state: InputState,
): Promise<Difference | undefined> {
  const refusal = await refusalOf(store.persistInputState(runtimeId, state));
  if (authorize?.err !== undefined) {
    const isRejected = refusal?.reason === "RECORD_REJECTED";
    return compared("persist", authorize.err, isRejected ? refusal.text : refusal?.message);
  }
  if (refusal !== undefined) return { op: "persist", expected: "stored", found: refusal.message };
  const loaded = await store.loadInputState(runtimeId, state.inputId);
  const [listed] = await store.loadInputStates(runtimeId);
  // The payload is also compared alone, because the writer would turn it into canonical JSON.
  return (
    compared("load_input_state", inputText(state), loaded && inputText(loaded)) ??
    compared("load_input_state", state.persistedInput, loaded?.persistedInput) ??
    compared("load_input_states", inputText(state), listed && inputText(listed))
  );
}

const lifecycleRecords: Family = {
  needs: [],
  async play(vector, store, runtimeId) {
    if (vector.op === "encode") return playEncode(vector, store, runtimeId);
    const read = reading(vector, readMachineLifecycle);
    const difference = judge(vector, "runtime_state", read, ({ runtimeState }) => runtimeState);
    if (difference || "refusal" in read) return differences(difference);
    return differences(await storeLifecycle(store, runtimeId, read.value));
  },
};

const lifecycleText = (lifecycle: MachineLifecycle): string => writeMachineLifecycle(lifecycle).toString();

async function playEncode(vector: Vector, store: RuntimeStore, runtimeId: string): Promise<Difference[]> {
  const facts = vector.input as Readonly<Record<string, unknown>>;
  const value = lifecycleOf(facts, facts["runtime_state"]);
  const encoded = compared("encode", vector.expect.ok?.["encoded"], lifecycleText(value));
  return differences(encoded ?? (await storeLifecycle(store, runtimeId, value)));
}

async function storeLifecycle(
  store: RuntimeStore,
  runtimeId: string,
  value: MachineLifecycle,
): Promise<Difference | undefined> {
  await store.commitMachineLifecycle(runtimeId, value, []);
  const loaded = await loadMachineLifecycle(store, runtimeId);
  return compared("load_machine_lifecycle_record", lifecycleText(value), loaded && lifecycleText(loaded));
}

const receipts: Family = {
  needs: [],
  async play(vector, store, runtimeId) {
    const read = reading(vector, readReceipt);
    const difference = judge(vector, "reencoded", read, receiptText);
    if (difference || "refusal" in read) return differences(difference);
    const { value } = read;
    await store.atomicApply(runtimeId, undefined, value, [], undefined);
    const loaded = await store.loadBoundaryReceipt(runtimeId, value.runId, value.sequence);
    return differences(compared("load_boundary_receipt", receiptText(value), loaded && receiptText(loaded)));
  },
};

const receiptText = (value: Parameters<typeof writeReceipt>[0]): string => writeReceipt(value).toString();

const opsSnapshots: Family = {
  needs: [],
  async play(vector, store, runtimeId) {
    const read = reading(vector, readOpsSnapshot);
    const difference = judge(vector, "sorted", read, opsText);
    if (difference || "refusal" in read) return differences(difference);
    await store.persistOpsLifecycle(runtimeId, read.value);
    const loaded = await store.loadOpsLifecycle(runtimeId);
    return differences(compared("load_ops_lifecycle", opsText(read.value), loaded && opsText(loaded)));
  },
};

/** Returns the written form with the members of every object sorted, because the reference's order is random. */
const opsText = (snapshot: Parameters<typeof writeOpsSnapshot>[0]): string =>
  canonicalRawJson(writeOpsSnapshot(snapshot).toString());

/** The families by the names of their files, without `.jsonl`. */
export const FAMILIES: Readonly<Record<string, Family>> = {
  sessions,
  guards,
  inputs: inputStates,
  lifecycle: lifecycleRecords,
  receipts,
  ops: opsSnapshots,
  scalars,
};
