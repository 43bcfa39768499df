import { crc32 } from "node:zlib";
import type { OpsDelta, PersistedOpsSnapshot, RuntimeId, Versioned, VersionedStore } from "@bolthole/contract";
import { readFailed, writeFailed } from "@bolthole/contract";
import { readOpsSnapshot, writeOpsSnapshot } from "@bolthole/json";
import { repeatWhileStale } from "../commit/preparation.js";
import { decodeValue } from "../commit/row.js";
import { type CheckedDocument, commitOverDocument, crc32Refusal } from "../documents/document-commit.js";
import { type Incoming, incomingOps, opsArguments, opsDeltaArguments } from "../documents/incoming.js";
import { decodeOpsFacts, encodeOpsFacts, isInlineOps, opsKey, storedOps } from "../documents/ops-facts.js";
import { type StoredDocument, copiedChunks, loadDocument } from "../documents/stored-document.js";
import { type StoreContext, versionOf } from "../store-context.js";
import { checkRuntimeId, checkSize, checkStoredRuntimeId, invalid, shaped } from "../validate.js";
import { nextIteration } from "../yield-budget.js";
import { replacement } from "./records.js";

/*
 * Operation snapshots. A small one is a row, which a commit replaces without reading anything. The JSON of a larger one is a
 * document: it is checked and staged outside the writer, and may be sent as a patch or an upload.
 */

type OpsOperations = Pick<
  VersionedStore,
  "persistOpsLifecycle" | "loadOpsLifecycle" | "loadOpsLifecycleJson" | "deleteOpsLifecycle"
>;

const METHOD = "PersistOpsLifecycle";
/** A longer snapshot is decoded in an iteration of the event loop of its own. */
const UNDIVIDED_BYTES = 64 * 1024;

export const opsOperations = (context: StoreContext): OpsOperations => ({
  async persistOpsLifecycle(request) {
    const runtimeId = checkRuntimeId(request.runtimeId, context.limits);
    const delta = deltaOf(request, context);
    // A value and its canonical JSON are the same argument.
    const args = {
      snapshot: request.snapshot && "opsSnapshot" in delta ? await opsArguments(delta.opsSnapshot) : [],
      opsDelta: request.snapshot ? [] : await opsDeltaArguments(delta, context),
    };
    const key = opsKey(runtimeId);
    if ("opsSnapshot" in delta && isInlineOps(delta.opsSnapshot.length)) {
      const { opsSnapshot } = delta;
      if (!request.snapshot) await context.opsChecker.check(incomingOps(context, runtimeId, delta, undefined), FIELD);
      return context.committer.commit(replacement(METHOD, request, args, key, opsSnapshot));
    }
    const isPatch = "patch" in delta;
    const target = {
      key,
      queue: context.operations,
      // Whatever is stored, damaged or not, a whole snapshot replaces it.
      load: isPatch ? storedOps : () => Promise.resolve(undefined),
    };
    return commitOverDocument(context, target, { method: METHOD, request, args }, async (stored) => {
      const incoming = incomingOps(context, runtimeId, delta, stored);
      const index = request.snapshot ? undefined : await context.opsChecker.check(incoming, FIELD);
      const document = await checkedOps(incoming, runtimeId, !isPatch);
      const committed = (sequence: number): void => {
        if (index) context.opsChecker.keepIndex(runtimeId, sequence, index);
      };
      return { document: { ...document, committed } };
    });
  },

  async loadOpsLifecycle(request) {
    const runtimeId = checkStoredRuntimeId(request.runtimeId, readFailed);
    return repeatWhileStale(
      async () => {
        const stored = await storedOps(context, runtimeId);
        return stored && loadTyped(context, stored);
      },
      () => readFailed("BUSY", "other writers changed the operation snapshot during every attempt; try again"),
    );
  },

  async loadOpsLifecycleJson(request) {
    const runtimeId = checkStoredRuntimeId(request.runtimeId, readFailed);
    const loaded = await loadDocument(context, opsKey(runtimeId), decodeOpsFacts);
    if (!loaded) return undefined;
    const { version, length, chunks } = loaded;
    return { version, length, chunks: context.reusesChunkBuffers ? chunks : copiedChunks(chunks) };
  },

  async deleteOpsLifecycle(request) {
    const runtimeId = checkStoredRuntimeId(request.runtimeId, writeFailed);
    return context.committer.commit(replacement("DeleteOpsLifecycle", request, {}, opsKey(runtimeId), undefined));
  },
});

const FIELD = "ops_delta";

/** Returns the delta of a request. A value becomes its canonical JSON. */
function deltaOf(
  { snapshot, opsDelta }: Parameters<VersionedStore["persistOpsLifecycle"]>[0],
  { limits }: StoreContext,
): OpsDelta {
  if (snapshot && opsDelta) throw invalid(writeFailed, FIELD, "none beside snapshot");
  if (!snapshot) {
    if (!opsDelta) throw invalid(writeFailed, "snapshot", "a value, or one in ops_delta", "none");
    return opsDelta;
  }
  const opsSnapshot = shaped("snapshot", writeFailed, () => writeOpsSnapshot(snapshot));
  const { length } = opsSnapshot;
  if (length > limits.typedOpsSnapshotBytes) {
    const sizes = `${String(length)} bytes are more than the limit of ${String(limits.typedOpsSnapshotBytes)}`;
    throw writeFailed("TOO_LARGE", `snapshot: ${sizes} for a message; send its JSON in ops_delta`, {
      record: "snapshot",
      expected: `at most ${String(limits.typedOpsSnapshotBytes)} bytes`,
      actual: `${String(length)} bytes`,
    });
  }
  checkSize(length, limits.operationSnapshotBytes, "snapshot", writeFailed);
  return { opsSnapshot };
}

/** Returns a checked snapshot in the form in which its row has it. */
async function checkedOps(incoming: Incoming, runtimeId: RuntimeId, replacesAny: boolean): Promise<CheckedDocument> {
  const document = { incoming, replacesAny, valueOf: encodeOpsFacts };
  if (!isInlineOps(incoming.length)) return document;
  const inline = Buffer.from(await incoming.bytes());
  const actual = crc32(inline);
  if (incoming.crc32 !== undefined && incoming.crc32 !== actual) {
    throw crc32Refusal(runtimeId, actual, incoming.crc32);
  }
  return { ...document, inline };
}

async function loadTyped(
  context: StoreContext,
  { runtimeId, row, facts, bytes }: StoredDocument,
): Promise<Versioned<PersistedOpsSnapshot>> {
  const limit = context.limits.typedOpsSnapshotBytes;
  if (facts.length > limit) {
    const text =
      `operation snapshot: ${String(facts.length)} bytes are more than the limit of ${String(limit)} for a message; ` +
      "load its JSON with LoadOpsLifecycleJson";
    throw readFailed("TOO_LARGE", text, {
      runtimeId,
      record: "operation snapshot",
      expected: `at most ${String(limit)} bytes`,
      actual: `${String(facts.length)} bytes`,
    });
  }
  const json = facts.inline ?? (await bytes());
  // Decoding takes about 10 ms for each MiB, so each of several loads is decoded in an iteration of its own.
  if (json.length > UNDIVIDED_BYTES) await nextIteration();
  return { value: decodeValue(opsKey(runtimeId), json, readOpsSnapshot), version: versionOf(context, row) };
}
