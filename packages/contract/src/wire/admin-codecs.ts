import { type MessageInitShape, create } from "@bufbuild/protobuf";
import { writeOpsSnapshot } from "@bolthole/json";
import * as pb from "../gen/bolthole/v1/admin_pb.js";
import {
  type ExportedPart,
  IMPORT_RESULTS,
  type ImportRuntime,
  type RuntimePart,
  type RuntimeTransfer,
} from "../runtime-transfer.js";
import {
  FINDING_CODES,
  type Finding,
  type FindingCode,
  type StoreCounts,
  type CompactionEvent,
  type CompactionResult,
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
  optional,
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

/** Returns the messages of a part: one for each row. */
function* messagesOf(part: RuntimePart): Generator<pb.RuntimePart> {
  const message = (one: pb.RuntimePart["part"]): pb.RuntimePart => ({
    $typeName: "bolthole.v1.RuntimePart",
    part: one,
  });
  switch (part.kind) {
    case "session": {
      const profile = sessionProfile.toWire(part.profile);
      yield message({ case: "snapshot", value: create(pb.SnapshotPartSchema, { profile, chunk: part.chunk }) });
      break;
    }
    case "lifecycle":
      yield message({ case: "lifecycle", value: lifecycleRecord.toWire(part.record) });
      break;
    case "ops":
      yield message({ case: "opsJson", value: create(pb.OpsPartSchema, { chunk: part.chunk }) });
      break;
    case "inputs":
      for (const input of part.inputs) yield message({ case: "input", value: inputState.toWire(input) });
      break;
    case "receipts":
      for (const one of part.receipts) yield message({ case: "receipt", value: receipt.toWire(one) });
  }
}

/** Reads the parts of a runtime from messages. Rows are numbered, so that an error can name one. */
class PartReader {
  private inputs = 0;
  private receipts = 0;

  read(holder: pb.RuntimePart | undefined): RuntimePart {
    const { part } = requireField(holder, "part");
    switch (part.case) {
      case "snapshot": {
        const profile = at("part.snapshot.profile", () => sessionProfile.toModel(part.value.profile));
        return { kind: "session", profile, chunk: part.value.chunk };
      }
      case "lifecycle":
        return { kind: "lifecycle", record: lifecycleRecord.toModel(part.value) };
      case "ops":
        return { kind: "ops", chunk: writeOpsSnapshot(at("part.ops", () => opsSnapshot.toModel(part.value))) };
      case "opsJson":
        return { kind: "ops", chunk: part.value.chunk };
      case "input": {
        const field = `inputs[${String(this.inputs++)}]`;
        return { kind: "inputs", inputs: [at(field, () => inputState.toModel(part.value))] };
      }
      case "receipt": {
        const field = `receipts[${String(this.receipts++)}]`;
        return { kind: "receipts", receipts: [at(field, () => receipt.toModel(part.value))] };
      }
      case undefined:
        throw new InvalidArgumentError("part", "a record", "none");
    }
  }
}

/** Reads an export. */
async function* exportedParts(messages: AsyncIterable<pb.ExportRuntimeResponse>): AsyncGenerator<ExportedPart, void> {
  const reader = new PartReader();
  for await (const { part, finding: found } of messages) {
    if (found) yield { kind: "finding", finding: at("finding", () => finding.toModel(found)) };
    else yield reader.read(part);
  }
}

/** Reads the messages of an import after the first. */
async function* importedParts(messages: AsyncIterable<pb.ImportRuntimeRequest>): AsyncGenerator<RuntimePart, void> {
  const reader = new PartReader();
  for await (const { part } of messages) yield reader.read(part);
}

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

const compactionResult: Codec<pb.CompactionResult, CompactionResult> = message(pb.CompactionResultSchema, {
  bytesBefore: roundedNumber,
  bytesAfter: roundedNumber,
  damaged: roundedNumber,
  counts: optional(counts),
});

const compactionEvent: Codec<pb.CompactResponse, CompactionEvent> = {
  toModel: ({ event }) => {
    switch (event.case) {
      case "bytesRead":
        return { bytesRead: roundedNumber.toModel(event.value) };
      case "result":
        return { result: at("result", () => compactionResult.toModel(event.value)) };
      case undefined:
        throw new InvalidArgumentError("event", "an event that this version knows", "none");
    }
  },
  toWire: (event) =>
    create(pb.CompactResponseSchema, {
      event:
        "result" in event
          ? { case: "result", value: compactionResult.toWire(event.result) }
          : { case: "bytesRead", value: roundedNumber.toWire(event.bytesRead) },
    }),
};

/** Returns a finding in its wire form, for the status of a daemon. */
export const encodeFinding = finding.toWire;

const importStart = ({
  runtimeId: id,
  overwrite,
  dryRun,
}: ImportRuntime): MessageInitShape<typeof pb.ImportRuntimeRequestSchema> => ({
  start: { runtimeId: id, overwrite, dryRun },
});

type DaemonStatus = MessageInitShape<typeof pb.GetStatusResponseSchema>;

/** The methods behind the RPCs of `AdminService`. */
interface AdminMethods extends Pick<RuntimeTransfer, "exportRuntime" | "importRuntime">, HorizonControl {
  getStatus(request: NoArguments): Promise<DaemonStatus>;
  backup(request: NoArguments): AsyncIterable<Uint8Array>;
  verify(request: NoArguments): AsyncIterable<VerifyEvent>;
  compact(request: NoArguments): AsyncIterable<CompactionEvent>;
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
  exportRuntime: stream(
    rpc.exportRuntime,
    { runtimeId, salvage: flag },
    {
      async decodeResponse(messages) {
        const { first, all } = await withFirst(messages);
        return first && exportedParts(all);
      },
      async *encodeResponse(parts) {
        for await (const part of parts ?? []) {
          if (part.kind === "finding") yield { finding: finding.toWire(part.finding) };
          else for (const message of messagesOf(part)) yield { part: message };
        }
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
        return {
          runtimeId: requireField(start.runtimeId, "start.runtime_id"),
          parts: importedParts(rest),
          overwrite: start.overwrite,
          dryRun: start.dryRun,
        };
      },
      encodeStart: importStart,
      async *encodeRequest(request) {
        yield importStart(request);
        for await (const part of request.parts) for (const message of messagesOf(part)) yield { part: message };
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
  compact: stream(
    rpc.compact,
    {},
    {
      async *decodeResponse(messages) {
        for await (const message of messages) yield compactionEvent.toModel(message);
      },
      async *encodeResponse(events) {
        for await (const event of events) yield compactionEvent.toWire(event);
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
