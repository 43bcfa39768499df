import { create } from "@bufbuild/protobuf";
import * as pb from "../gen/bolthole/v1/store_pb.js";
import type { Versioned } from "../versioned-store.js";
import { lifecycleFromJson } from "./json-form.js";
import { lifecycleRecord } from "./lifecycle-record.js";
import { type Codec, InvalidArgumentError, at } from "./message-codec.js";

/** The field `record` alone; `lifecycleOf` reads the other fields as well. */
export const lifecycleRecordOrNone: Codec<pb.CommitMachineLifecycleRequest["record"], Uint8Array> = {
  toModel: () => NO_RECORD,
  toWire: lifecycleRecord.toWire,
};
const NO_RECORD = new Uint8Array();

/** Returns the lifecycle record in one of three fields of a message. Throws an InvalidArgumentError unless exactly one is set. */
export const lifecycleOf = ({
  record,
  recordBytes,
  recordJson,
}: Pick<pb.CommitMachineLifecycleRequest, "record" | "recordBytes" | "recordJson">): Uint8Array => {
  const given = [record, recordBytes, recordJson].filter((one) => one !== undefined).length;
  if (given !== 1) {
    throw new InvalidArgumentError("record", "exactly one of record, record_bytes and record_json", String(given));
  }
  if (record) return lifecycleRecord.toModel(record);
  return recordBytes ?? at("record_json", () => lifecycleFromJson(recordJson ?? ""));
};
/** The response of a load of the lifecycle record. It is written as the typed message. */
export const loadedLifecycle: Codec<pb.LoadMachineLifecycleRecordResponse, Versioned<Uint8Array> | undefined> = {
  toModel: (wire) => {
    const isStored = wire.record ?? wire.recordBytes ?? wire.recordJson;
    return isStored === undefined ? undefined : { value: lifecycleOf(wire), version: wire.version };
  },
  toWire: (found) =>
    create(
      pb.LoadMachineLifecycleRecordResponseSchema,
      found && { record: lifecycleRecord.toWire(found.value), version: found.version },
    ),
};
