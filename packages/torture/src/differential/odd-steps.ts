import type { InputStatePiece, StoredInputState } from "@bolthole/contract";
import { boundaryReceipt, inputRow, prose } from "../load/records.js";
import type { Random } from "../random.js";
import { chooseShape } from "./document-shape.js";
import { type Step, type StepContext, attemptAll, writeStep } from "./step.js";

/** The runtime whose session is opaque: bytes of any kind. */
const OPAQUE = "opaque";
const MOST_OPAQUE_BYTES = 120_000;
/** A row of this size is above the limit of the stores. */
const LONG_ROW_BYTES = 70_000;

const WEIGHTS = { lateUpload: 3, unusedUpload: 2, horizon: 2, sameReceipt: 4, opaque: 8, wrongRow: 2 };

/** Makes a step that a well-behaved caller makes seldom or never. */
export function oddStep(context: StepContext): Promise<Step> {
  return STEPS[context.random.weighted(WEIGHTS)](context);
}

const STEPS: Readonly<Record<keyof typeof WEIGHTS, (context: StepContext) => Promise<Step>>> = {
  /** Uploads rows, writes another row, and then uses the upload, which must be refused. */
  lateUpload({ random, ids, runtimes }) {
    const state = runtimes.pick();
    const { runtimeId } = state;
    const [requestId, nonce] = [ids.next(), ids.next()];
    const [row, uploaded] = [inputRow(random, ids.next(), nonce), inputRow(random, ids.next(), nonce)];
    const step = writeStep(
      "a late upload",
      { runtimeIds: [runtimeId], requestIds: [requestId, nonce] },
      async ({ facade }) => {
        const inputUploadId = await facade.uploadInputStates({ runtimeId, rowCount: 1, parts: onePart(uploaded) });
        const applied = await facade.persistInputState({ runtimeId, requestId, state: row });
        const late = { runtimeId, requestId: nonce, state: undefined, inputUploadId };
        await attemptAll([() => facade.persistInputState(late)]);
        return applied;
      },
      {
        applied: (version) => {
          state.addInputs([row.inputId]);
          state.noteVersion(`input ${row.inputId}`, version);
          return Promise.resolve();
        },
      },
    );
    return Promise.resolve(step);
  },

  /** Uploads rows that nothing will use. */
  unusedUpload({ random, ids, runtimes }) {
    const { runtimeId } = runtimes.pick();
    const row = inputRow(random, ids.next(), "unused");
    const step = writeStep("an unused upload", { runtimeIds: [runtimeId] }, async ({ facade }) => {
      await facade.uploadInputStates({ runtimeId, rowCount: 1, parts: onePart(row) });
      return undefined;
    });
    return Promise.resolve(step);
  },

  /** Moves the horizon to a recent time, or to one that is too late. */
  async horizon({ random, ids, reference }) {
    const { requestIdTimes } = await reference().getServerInfo({});
    const latestMs = requestIdTimes?.latestMs ?? 0;
    const horizonMs = random.oneIn(4) ? latestMs + 1 : Math.max(0, ids.trueTimeMs - random.below(7_200_000));
    return writeStep("setHorizon", {}, async ({ facade }) => {
      await facade.setHorizon({ horizonMs });
      return undefined;
    });
  },

  /** Sends a boundary again, with the stored receipt or another one, under a new request id. */
  async sameReceipt({ random, ids, runtimes, reference }) {
    const { runtimeId, receipts } = runtimes.pick();
    const { runId, sequence } = receipts[random.below(receipts.length)] ?? { runId: ids.next(), sequence: 1n };
    const stored = await reference().loadBoundaryReceipt({ runtimeId, runId, sequence });
    const isSame = random.oneIn(2);
    const receipt = (isSame ? stored?.value : undefined) ?? boundaryReceipt(runId, sequence, [], 0, ids.next());
    const request = { runtimeId, requestId: ids.next(), receipt, inputUpdates: [] };
    return writeStep(
      "a receipt that exists",
      { runtimeIds: [runtimeId], requestIds: [request.requestId] },
      ({ facade }) => facade.atomicApply({ ...request, sessionDelta: undefined, sessionStoreKey: undefined }),
    );
  },

  /** Stores an opaque session: the stored one with a change, or other bytes. */
  opaque({ random, ids, runtimes }) {
    const requestId = ids.next();
    const base = runtimes.sessions.get(OPAQUE);
    const bytes = base && random.below(4) > 0 ? changed(random, base.bytes) : opaqueBytes(random);
    const request = {
      runtimeId: OPAQUE,
      requestId,
      sessionDelta: { sessionSnapshot: bytes, profile: "opaque" as const },
    };
    const step = writeStep(
      "an opaque session",
      { runtimeIds: [OPAQUE], requestIds: [requestId] },
      ({ facade }) => facade.commitSessionSnapshot(request),
      {
        disguise: { shape: chooseShape(random, base) },
        applied: (version, document) => {
          runtimes.noteSession(OPAQUE, { version, bytes: document ?? bytes });
          return Promise.resolve();
        },
      },
    );
    return Promise.resolve(step);
  },

  /** Sends a row that is too long, or one with a wrong member. */
  wrongRow({ random, ids, runtimes }) {
    const { runtimeId } = runtimes.pick();
    const requestId = ids.next();
    const row = inputRow(random, ids.next(), requestId);
    const wrong = random.oneIn(2)
      ? { ...row, idempotencyKey: "x".repeat(LONG_ROW_BYTES) }
      : { ...row, createdAt: "yesterday" };
    const step = writeStep("a wrong row", { runtimeIds: [runtimeId], requestIds: [requestId] }, ({ facade }) =>
      facade.persistInputState({ runtimeId, requestId, state: wrong }),
    );
    return Promise.resolve(step);
  },
};

const onePart = (row: StoredInputState): AsyncIterable<readonly StoredInputState[] | InputStatePiece> => ({
  // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, the row is in memory
  async *[Symbol.asyncIterator]() {
    yield [row];
  },
});

/** Returns bytes with an insertion, and without some bytes after it. */
function changed(random: Random, bytes: Buffer): Buffer {
  const at = random.below(bytes.length + 1);
  const inserted = Buffer.from(prose(random, 1 + random.below(300)));
  return Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at + random.below(200))]);
}

function opaqueBytes(random: Random): Buffer {
  const bytes = Buffer.alloc(random.below(MOST_OPAQUE_BYTES));
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = random.below(256);
  return bytes;
}
