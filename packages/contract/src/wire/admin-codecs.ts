import { setImmediate } from "node:timers/promises";
import { type MessageInitShape, create } from "@bufbuild/protobuf";
import { writeOpsSnapshot } from "@bolthole/json";
import type { RunBoundaryReceipt, RuntimeId, SessionProfile, StoredInputState } from "@bolthole/json/model";
import * as pb from "../gen/bolthole/v1/admin_pb.js";
import {
  type ExportedRuntime,
  IMPORT_RESULTS,
  type ImportRuntime,
  type RuntimeContents,
  type RuntimeTransfer,
} from "../runtime-transfer.js";
import {
  FINDING_CODES,
  type Finding,
  type FindingCode,
  type StoreCounts,
  type VerifyEvent,
} from "../store-maintenance.js";
import type { HorizonControl } from "../request-ids.js";
import type { NoArguments } from "../versioned-store.js";
import { lifecycleRecord } from "./lifecycle-record.js";
import {
  type Codec,
  InvalidArgumentError,
  at,
  enumeration,
  flag,
  message,
  requireField,
  required,
  roundedNumber,
  same,
} from "./message-codec.js";
import { type ServiceCodecs, stream, unary, upload } from "./method-codec.js";
import { inputState, receipt } from "./json-form.js";
import { opsSnapshot } from "./records.js";
import { requestIdTimes } from "./request-id-times.js";
import { sessionProfile } from "./session-change.js";
import { withFirst } from "./streams.js";

const CHUNK_BYTES = 1 << 20;

/** Writes a runtime in parts: one for each record, and one for each 1 MiB of its two snapshots. */
function* writeParts(contents: RuntimeContents): Generator<pb.RuntimePart> {
  const { session, lifecycle, ops, inputs, receipts } = contents;
  const part = (one: pb.RuntimePart["part"]): pb.RuntimePart => ({ $typeName: "bolthole.v1.RuntimePart", part: one });
  if (session) {
    const profile = sessionProfile.toWire(session.profile);
    for (const chunk of chunksOf(session.snapshot)) {
      yield part({ case: "snapshot", value: create(pb.SnapshotPartSchema, { profile, chunk }) });
    }
  }
  if (lifecycle) yield part({ case: "lifecycle", value: lifecycleRecord.toWire(lifecycle) });
  for (const chunk of ops ? chunksOf(ops) : []) {
    yield part({ case: "opsJson", value: create(pb.OpsPartSchema, { chunk }) });
  }
  for (const input of inputs) yield part({ case: "input", value: inputState.toWire(input) });
  for (const one of receipts) yield part({ case: "receipt", value: receipt.toWire(one) });
}

/** Yields the parts of a document. An empty one has one part without bytes, because no part means that there is none. */
function* chunksOf(document: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start === 0 || start < document.length; start += CHUNK_BYTES) {
    yield document.subarray(start, start + CHUNK_BYTES);
  }
}

/** A message of an export, or a message of an import after the first. */
interface PartMessage {
  readonly part?: pb.RuntimePart | undefined;
  readonly finding?: pb.Finding | undefined;
}

/** Reads a runtime from the parts and findings of `messages`. */
async function readParts(runtimeId: RuntimeId, messages: AsyncIterable<PartMessage>): Promise<ExportedRuntime> {
  let lifecycle: RuntimeContents["lifecycle"];
  const ops: Uint8Array[] = [];
  let profile: SessionProfile | undefined;
  const chunks: Uint8Array[] = [];
  const inputs: StoredInputState[] = [];
  const receipts: RunBoundaryReceipt[] = [];
  const findings: Finding[] = [];
  for await (const { part: holder, finding: found } of messages) {
    if (found) {
      findings.push(at("finding", () => finding.toModel(found)));
      continue;
    }
    const { part } = requireField(holder, "part");
    switch (part.case) {
      case "snapshot":
        profile = at("part.snapshot.profile", () => sessionProfile.toModel(part.value.profile));
        chunks.push(part.value.chunk);
        break;
      case "lifecycle":
        lifecycle = lifecycleRecord.toModel(part.value);
        break;
      case "ops":
        ops.push(writeOpsSnapshot(at("part.ops", () => opsSnapshot.toModel(part.value))));
        break;
      case "opsJson":
        ops.push(part.value.chunk);
        break;
      case "input":
        inputs.push(at(`inputs[${inputs.length}]`, () => inputState.toModel(part.value)));
        break;
      case "receipt":
        receipts.push(at(`receipts[${receipts.length}]`, () => receipt.toModel(part.value)));
        break;
      case undefined:
        throw new InvalidArgumentError("part", "a record", "none");
    }
  }
  const session = profile && { snapshot: (await joined(chunks)) ?? NO_BYTES, profile };
  return { runtimeId, session, lifecycle, ops: await joined(ops), inputs, receipts, findings };
}

/** How many bytes are copied before the event loop may run: a millisecond or two. */
const YIELD_BYTES = 2 << 20;

/** Returns the chunks as one document, and undefined without chunks. Drops each chunk when it has been copied. */
async function joined(chunks: Uint8Array[]): Promise<Uint8Array | undefined> {
  if (chunks.length === 0) return undefined;
  const document = Buffer.allocUnsafeSlow(chunks.reduce((total, { length }) => total + length, 0));
  let at = 0;
  let copied = 0;
  for (const [index, chunk] of chunks.entries()) {
    document.set(chunk, at);
    at += chunk.length;
    copied += chunk.length;
    chunks[index] = NO_BYTES;
    if (copied < YIELD_BYTES) continue;
    copied = 0;
    await setImmediate();
  }
  return document;
}

const NO_BYTES = Buffer.of();

const runtimeId = required<string, string>(same);
const importResult = enumeration(pb.ImportResultSchema, IMPORT_RESULTS);

const counts: Codec<pb.StoreCounts, StoreCounts> = message(pb.StoreCountsSchema, {
  runtimes: roundedNumber,
  rows: roundedNumber,
  outcomes: roundedNumber,
});

const finding: Codec<pb.Finding, Finding> = {
  toModel: ({ code, runtimeId, record, text }) => {
    if (!(code in FINDING_CODES)) throw new InvalidArgumentError("code", "a code that this version knows", code);
    return { code: code as FindingCode, runtimeId, record: record || undefined, text };
  },
  toWire: ({ code, runtimeId, record = "", text }) =>
    create(pb.FindingSchema, { code, record, text, ...(runtimeId !== undefined && { runtimeId }) }),
};

const verifyEvent: Codec<pb.VerifyResponse, VerifyEvent> = {
  toModel: ({ event }) => {
    switch (event.case) {
      case "finding":
        return { finding: at("finding", () => finding.toModel(event.value)) };
      case "bytesRead":
        return { bytesRead: roundedNumber.toModel(event.value) };
      case "counts":
        return { counts: counts.toModel(event.value) };
      case undefined:
        throw new InvalidArgumentError("event", "an event that this version knows", "none");
    }
  },
  toWire: (event) => create(pb.VerifyResponseSchema, { event: eventOf(event) }),
};

function eventOf(event: VerifyEvent): pb.VerifyResponse["event"] {
  if ("finding" in event) return { case: "finding", value: finding.toWire(event.finding) };
  if ("bytesRead" in event) return { case: "bytesRead", value: roundedNumber.toWire(event.bytesRead) };
  return { case: "counts", value: counts.toWire(event.counts) };
}

/** Returns a finding in its wire form, for the status of a daemon. */
export const encodeFinding = finding.toWire;

const importStart = ({
  contents,
  overwrite,
  dryRun,
}: ImportRuntime): MessageInitShape<typeof pb.ImportRuntimeRequestSchema> => ({
  start: { runtimeId: contents.runtimeId, overwrite, dryRun },
});

type DaemonStatus = MessageInitShape<typeof pb.GetStatusResponseSchema>;

/** The methods behind the RPCs of `AdminService`. */
interface AdminMethods extends Pick<RuntimeTransfer, "exportRuntime" | "importRuntime">, HorizonControl {
  getStatus(request: NoArguments): Promise<DaemonStatus>;
  backup(request: NoArguments): AsyncIterable<Uint8Array>;
  verify(request: NoArguments): AsyncIterable<VerifyEvent>;
}

type Rpcs = typeof pb.AdminService.method;
const rpc: Rpcs = pb.AdminService.method;

/** The codecs of `AdminService`: one for each RPC, under its name. A missing or additional one is a compile error. */
export const adminCodecs = {
  getStatus: unary(
    rpc.getStatus,
    {},
    {
      toModel: (status) => status,
      toWire: (status) => create(pb.GetStatusResponseSchema, status),
    },
  ),
  /** Returns contents with an empty `runtimeId`, because the messages do not have it. The caller sets it. */
  exportRuntime: stream(
    rpc.exportRuntime,
    { runtimeId, salvage: flag },
    {
      async decodeResponse(messages) {
        const { first, all } = await withFirst(messages);
        return first && readParts("", all);
      },
      async *encodeResponse(contents) {
        if (!contents) return;
        // A runtime may have thousands of parts. The promise lets the event loop run other work between two of them.
        for (const part of writeParts(contents)) yield await Promise.resolve({ part });
        for (const one of contents.findings) yield await Promise.resolve({ finding: finding.toWire(one) });
      },
    },
  ),
  importRuntime: upload(
    rpc.importRuntime,
    {
      async decodeRequest(messages) {
        const iterator = messages[Symbol.asyncIterator]();
        const first = await iterator.next();
        const start = requireField(first.done === true ? undefined : first.value.start, "start");
        const rest = { [Symbol.asyncIterator]: () => iterator };
        const contents: RuntimeContents = await readParts(requireField(start.runtimeId, "start.runtime_id"), rest);
        return { contents, overwrite: start.overwrite, dryRun: start.dryRun };
      },
      encodeStart: importStart,
      async *encodeRequest(request) {
        const { contents } = request;
        yield importStart(request);
        for (const part of writeParts(contents)) yield await Promise.resolve({ part });
      },
    },
    {
      toModel: ({ result }) => at("result", () => importResult.toModel(result)),
      toWire: (result) => create(pb.ImportRuntimeResponseSchema, { result: importResult.toWire(result) }),
    },
  ),
  backup: stream(
    rpc.backup,
    {},
    {
      async *decodeResponse(messages) {
        for await (const { chunk } of messages) yield chunk;
      },
      async *encodeResponse(chunks) {
        for await (const chunk of chunks) yield { chunk };
      },
    },
  ),
  verify: stream(
    rpc.verify,
    {},
    {
      async *decodeResponse(messages) {
        for await (const message of messages) yield verifyEvent.toModel(message);
      },
      async *encodeResponse(events) {
        for await (const event of events) yield verifyEvent.toWire(event);
      },
    },
  ),
  setHorizon: unary(
    rpc.setHorizon,
    { horizonMs: required(roundedNumber) },
    {
      toModel: (response) => requestIdTimes.toModel(requireField(response.requestIdTimes, "request_id_times")),
      toWire: (times) => create(pb.SetHorizonResponseSchema, { requestIdTimes: requestIdTimes.toWire(times) }),
    },
  ),
} as const satisfies ServiceCodecs<AdminMethods, Rpcs>;
