import {
  type DescField,
  type DescMessage,
  type Message,
  ScalarType,
  create,
  fromBinary,
  toBinary,
} from "@bufbuild/protobuf";
import * as fc from "fast-check";
import {
  InputAbandonCause,
  type InputAbandoned,
  type PolicyDecision,
  StoredInputStateSchema,
} from "../gen/bolthole/v1/input_pb.js";
import { PersistedOpsSnapshotSchema } from "../gen/bolthole/v1/operations_pb.js";
import { RunBoundaryReceiptSchema } from "../gen/bolthole/v1/receipt_pb.js";
import { type SessionDelta, TranscriptRewriteCommitSchema } from "../gen/bolthole/v1/session_pb.js";
import { type ExpectedVersion, RecordKind } from "../gen/bolthole/v1/store_pb.js";
import { InvalidArgumentError } from "./message-codec.js";
import type { UnaryCodec } from "./method-codec.js";
import { inputState, opsSnapshot, receipt, rewriteCommit } from "./records.js";
import { storeCodecs } from "./store-codecs.js";

const numbers = fc.nat({ max: 2 ** 31 - 1 });
const largest = fc.constant(2n ** 64n - 1n);
const scalars = new Map<ScalarType, fc.Arbitrary<unknown>>([
  [ScalarType.STRING, fc.string({ maxLength: 8 })],
  [ScalarType.BYTES, fc.uint8Array({ maxLength: 8 })],
  [ScalarType.BOOL, fc.boolean()],
  [ScalarType.UINT32, numbers],
  [ScalarType.FIXED32, numbers],
  [ScalarType.UINT64, fc.oneof({ weight: 9, arbitrary: numbers.map(BigInt) }, { weight: 1, arbitrary: largest })],
]);

function singular(field: Pick<DescField, "enum" | "message" | "scalar" | "toString">): fc.Arbitrary<unknown> {
  if (field.message) return messages(field.message);
  if (field.enum) return fc.constantFrom(...field.enum.values.slice(1).map(({ number }) => number));
  const values = field.scalar && scalars.get(field.scalar);
  if (!values) throw new Error(`${String(field)} has a type without generated values`);
  return values;
}

function fieldValues(field: DescField): fc.Arbitrary<unknown> {
  if (field.fieldKind === "list") return fc.array(singular(field), { maxLength: 3 });
  if (field.fieldKind === "map") return fc.dictionary(fc.string({ maxLength: 8 }), singular(field), { maxKeys: 3 });
  return field.proto.proto3Optional ? fc.option(singular(field), { nil: undefined }) : singular(field);
}

/** A codec of any message type. */
interface AnyCodec {
  readonly toModel: (wire: never) => unknown;
  readonly toWire: (model: never) => Message;
}

/** Changes a generated message where the model keeps less than the message type allows. */
const adjustments: Readonly<Record<string, (message: never) => object>> = {
  "bolthole.v1.InputAbandoned": ({ cause, attempts }: InputAbandoned) => ({
    cause,
    attempts: cause === InputAbandonCause.MAX_ATTEMPTS_EXHAUSTED ? attempts : 0,
  }),
  "bolthole.v1.PolicyDecision": ({
    recordTranscript = true,
    emitOperatorContent = true,
    ...others
  }: PolicyDecision) => ({
    ...others,
    recordTranscript,
    emitOperatorContent,
  }),
  "bolthole.v1.ExpectedVersion": ({ record, inputId = "", expected }: ExpectedVersion) => ({
    record,
    expected: expected.case === "absent" ? { case: "absent", value: true } : expected,
    ...(record === RecordKind.INPUT_STATE && { inputId }),
  }),
  // A document that came as text is sent on as bytes.
  "bolthole.v1.SessionDelta": ({ content, profile }: SessionDelta) => ({
    profile,
    content: content.case === "sessionJson" ? { case: "uploadId", value: content.value } : content,
  }),
};

/** The fields in which a record has another form than its members, and the fields that ask for one. */
const OTHER_FORMS = ["state_json", "receipt_json", "commit_json", "record_bytes", "record_json", "form"];

/** Messages of a type with all fields that are not declared optional. */
function messages(desc: DescMessage): fc.Arbitrary<Message> {
  const members = desc.members
    .filter(({ name }) => !OTHER_FORMS.includes(name))
    .map((member): [string, fc.Arbitrary<unknown>] => [
      member.localName,
      member.kind === "field"
        ? fieldValues(member)
        : fc.oneof(...member.fields.map((field) => singular(field).map((value) => ({ case: field.localName, value })))),
    ]);
  return fc.record(Object.fromEntries(members)).map((init) => {
    const adjusted = adjustments[desc.typeName]?.(init as never) ?? init;
    return create(desc, adjusted as never);
  });
}

/** Expects that a message is the same after both conversions, through bytes. Messages that are refused do not count. */
function expectRoundTrip(desc: DescMessage, { toModel, toWire }: AnyCodec): void {
  let accepted = 0;
  fc.assert(
    fc.property(messages(desc), (message) => {
      let model: unknown;
      try {
        model = toModel(fromBinary(desc, toBinary(desc, message)) as never);
      } catch (error) {
        if (error instanceof InvalidArgumentError) return;
        throw error;
      }
      accepted += 1;
      expect(fromBinary(desc, toBinary(desc, toWire(model as never)))).toEqual(message);
    }),
    { numRuns: 60 },
  );
  expect(accepted).toBeGreaterThan(0);
}

test.each<[DescMessage, AnyCodec]>([
  [RunBoundaryReceiptSchema, receipt],
  [StoredInputStateSchema, inputState],
  [PersistedOpsSnapshotSchema, opsSnapshot],
  [TranscriptRewriteCommitSchema, rewriteCommit],
])("%s keeps every field in both directions", (desc, codec) => {
  expectRoundTrip(desc, codec);
});

const withOneRequest = Object.entries(storeCodecs).filter(([, { kind }]) => kind !== "upload");

test.each(withOneRequest)("the request of %s keeps every field in both directions", (_name, codec) => {
  const { method, decodeRequest, encodeRequest } = codec as UnaryCodec<unknown, unknown>;
  expectRoundTrip(method.input, { toModel: decodeRequest, toWire: encodeRequest as AnyCodec["toWire"] });
});
