import { type DescMessage, type MessageShape, create, isFieldSet } from "@bufbuild/protobuf";
import {
  JsonError,
  readInputState,
  readMachineLifecycleRecord,
  readReceipt,
  readRewriteCommit,
  writeInputState,
  writeMachineLifecycle,
  writeReceipt,
} from "@bolthole/json";
import type * as model from "@bolthole/json/model";
import * as input from "../gen/bolthole/v1/input_pb.js";
import * as receipts from "../gen/bolthole/v1/receipt_pb.js";
import * as session from "../gen/bolthole/v1/session_pb.js";
import { writeFailed } from "../store-error.js";
import { decodeLifecycleRecord, encodeStoredLifecycleRecord } from "./lifecycle-record.js";
import { InvalidArgumentError, expectation } from "./invalid-argument.js";
import { type Codec, at } from "./message-codec.js";
import * as members from "./records.js";

/*
 * The JSON form of records. Each of these messages has one field with the whole record as JSON text, as the reference writes it. A
 * caller that has this JSON sends it unchanged: no member is lost on the way, and the store decides about every value.
 */

/**
 * Returns a codec that accepts the record as JSON in one field of the message, and as its members otherwise. It writes the
 * members.
 */
function alsoAsJson<D extends DescMessage, Model>(
  desc: D,
  codec: Codec<MessageShape<D>, Model>,
  jsonField: string,
  read: (text: string) => Model,
): Codec<MessageShape<D>, Model> {
  const field = desc.fields.find(({ name }) => name === jsonField);
  if (!field) throw new TypeError(`${desc.typeName} has no field ${jsonField}`);
  const { localName } = field;
  return {
    toModel(wire) {
      const text = (wire as unknown as Readonly<Record<string, string | undefined>>)[localName];
      if (text === undefined) return codec.toModel(wire);
      const other = desc.fields.find((one) => one !== field && isFieldSet(wire, one));
      if (other) throw new InvalidArgumentError(other.name, `no value beside ${jsonField}`);
      return at(jsonField, () => fromJson(read, text));
    },
    toWire: codec.toWire,
    refuseUnknown: codec.refuseUnknown,
  };
}

/** Reads JSON of the caller. Throws an InvalidArgumentError that names the member, or RECORD_REJECTED for a rule of the contract. */
function fromJson<T>(read: (text: string) => T, text: string): T {
  try {
    return read(text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    if (error.isRule) throw writeFailed("RECORD_REJECTED", error.message, { cause: error });
    throw error.problems
      .map(({ path, reason }) => new InvalidArgumentError(path, ...expectation(reason)))
      .reduce((all, one) => all.and(one));
  }
}

/** An input row, from its members or its JSON. */
export const inputState: Codec<input.StoredInputState, model.StoredInputState> = alsoAsJson(
  input.StoredInputStateSchema,
  members.inputState,
  "state_json",
  readInputState,
);

/** A receipt, from its members or its JSON. */
export const receipt: Codec<receipts.RunBoundaryReceipt, model.RunBoundaryReceipt> = alsoAsJson(
  receipts.RunBoundaryReceiptSchema,
  members.receipt,
  "receipt_json",
  readReceipt,
);

/** A rewrite commit, from its members or its JSON. */
export const rewriteCommit: Codec<session.TranscriptRewriteCommit, model.TranscriptRewriteCommit> = alsoAsJson(
  session.TranscriptRewriteCommitSchema,
  members.rewriteCommit,
  "commit_json",
  readRewriteCommit,
);

/** Returns an input row as its JSON. */
export const inputStateAsJson = (state: model.StoredInputState): input.StoredInputState =>
  create(input.StoredInputStateSchema, { stateJson: writeInputState(state).toString("utf8") });

/** Returns a receipt as its JSON. */
export const receiptAsJson = (one: model.RunBoundaryReceipt): receipts.RunBoundaryReceipt =>
  create(receipts.RunBoundaryReceiptSchema, { receiptJson: writeReceipt(one).toString("utf8") });

/** Returns the serialised lifecycle record that its JSON describes. Throws an InvalidArgumentError. */
export const lifecycleFromJson = (text: string): Uint8Array =>
  encodeStoredLifecycleRecord(fromJson(readMachineLifecycleRecord, text));

/** Returns a serialised lifecycle record as its JSON. Throws a read failure for a version other than 1 and for an unknown state. */
export const lifecycleAsJson = (record: Uint8Array): string =>
  writeMachineLifecycle(decodeLifecycleRecord(record)).toString("utf8");
