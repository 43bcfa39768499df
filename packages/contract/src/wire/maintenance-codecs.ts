import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { AdminService, type BackupResponseSchema, type VerifyResponseSchema } from "../gen/bolthole/v1/admin_pb.js";
import { FINDING_CODES, type Finding, type FindingCode, type VerifyEvent } from "../store-maintenance.js";
import type { NoArguments } from "../versioned-store.js";
import { stream } from "./codec.js";
import { InvalidArgumentError } from "./invalid-argument.js";

const noArguments = { decodeRequest: () => ({}), encodeRequest: (_request: NoArguments) => ({}) };

/** How a store is copied and checked as a whole. */
export const maintenanceCodecs = {
  backup: stream(AdminService.method.backup, {
    ...noArguments,
    async *decodeResponse(messages): AsyncGenerator<Uint8Array> {
      for await (const { chunk } of messages) yield chunk;
    },
    async *encodeResponse(
      chunks: AsyncIterable<Uint8Array>,
    ): AsyncGenerator<MessageInitShape<typeof BackupResponseSchema>> {
      for await (const chunk of chunks) yield { chunk };
    },
  }),
  verify: stream(AdminService.method.verify, {
    ...noArguments,
    async *decodeResponse(messages): AsyncGenerator<VerifyEvent> {
      for await (const { event } of messages) yield toEvent(event);
    },
    async *encodeResponse(
      events: AsyncIterable<VerifyEvent>,
    ): AsyncGenerator<MessageInitShape<typeof VerifyResponseSchema>> {
      for await (const event of events) yield { event: fromEvent(event) };
    },
  }),
};

type WireEvent = MessageShape<typeof VerifyResponseSchema>["event"];
type WireFinding = Extract<WireEvent, { case: "finding" }>["value"];

function toEvent(event: WireEvent): VerifyEvent {
  switch (event.case) {
    case "finding":
      return { finding: toFinding(event.value) };
    case "bytesRead":
      return { bytesRead: Number(event.value) };
    case "counts": {
      const { runtimes, rows, outcomes } = event.value;
      return { counts: { runtimes: Number(runtimes), rows: Number(rows), outcomes: Number(outcomes) } };
    }
    case undefined:
      throw new InvalidArgumentError("event", "an event that this version knows", "none");
  }
}

export function toFinding({ code, runtimeId, record, text }: WireFinding): Finding {
  if (!(code in FINDING_CODES)) throw new InvalidArgumentError("finding.code", "a code that this version knows", code);
  return { code: code as FindingCode, runtimeId, record: record || undefined, text };
}

export const fromFinding = ({ code, runtimeId, record = "", text }: Finding): Omit<WireFinding, "$typeName"> => ({
  code,
  record,
  text,
  ...(runtimeId !== undefined && { runtimeId }),
});

function fromEvent(event: VerifyEvent): NonNullable<MessageInitShape<typeof VerifyResponseSchema>["event"]> {
  if ("finding" in event) return { case: "finding", value: fromFinding(event.finding) };
  if ("bytesRead" in event) return { case: "bytesRead", value: BigInt(event.bytesRead) };
  const { runtimes, rows, outcomes } = event.counts;
  return {
    case: "counts",
    value: { runtimes: BigInt(runtimes), rows: BigInt(rows), outcomes: BigInt(outcomes) },
  };
}
