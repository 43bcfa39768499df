import { create, fromBinary } from "@bufbuild/protobuf";
import { InvalidArgumentError } from "./message-codec.js";
import {
  AtomicApplyRequestSchema,
  LoadAuthOauthFlowSnapshotResponseSchema,
  LoadSessionSnapshotResponseSchema,
  UploadSessionSnapshotRequestSchema,
} from "../gen/bolthole/v1/store_pb.js";
import { encodeMessage, toBytes } from "./method-codec.js";

const long = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 251));
const info = { version: "7", length: 5_000_000_000n };

test.each([
  ["no bytes", Buffer.of()],
  ["few bytes", long.subarray(0, 100)],
  ["many bytes", long],
])("a message with %s survives serialisation", (_name, chunk) => {
  const message = create(LoadSessionSnapshotResponseSchema, { info, chunk });
  expect(fromBinary(LoadSessionSnapshotResponseSchema, toBytes(LoadSessionSnapshotResponseSchema, message))).toEqual(
    message,
  );
});

test("long bytes of an optional field and of a oneof survive serialisation", () => {
  const optional = create(LoadAuthOauthFlowSnapshotResponseSchema, { snapshot: long, version: "7" });
  const read = fromBinary(
    LoadAuthOauthFlowSnapshotResponseSchema,
    toBytes(LoadAuthOauthFlowSnapshotResponseSchema, optional),
  );
  expect(read).toEqual(optional);
  const one = create(UploadSessionSnapshotRequestSchema, { part: { case: "chunk", value: long } });
  expect(fromBinary(UploadSessionSnapshotRequestSchema, toBytes(UploadSessionSnapshotRequestSchema, one))).toEqual(one);
});

test("a message with long bytes is written into the memory of the caller", () => {
  const memory = Buffer.alloc(long.length + 100);
  const message = create(LoadSessionSnapshotResponseSchema, { chunk: long });
  const bytes = toBytes(LoadSessionSnapshotResponseSchema, message, (length) => memory.subarray(0, length));
  expect(bytes.buffer).toBe(memory.buffer);
  expect(fromBinary(LoadSessionSnapshotResponseSchema, bytes)).toEqual(message);
});

test("a lone surrogate is refused with the path of its field", () => {
  const row = { inputId: "i", persistedInputJson: "\ud800" };
  const request = { runtimeId: "rt", inputUpdates: [{ inputId: "i" }, row] };
  expect(() => encodeMessage(AtomicApplyRequestSchema, request)).toThrow(
    new InvalidArgumentError("input_updates[1].persisted_input_json", "well-formed Unicode", "a lone surrogate"),
  );
});

test("a value that its field cannot hold is refused with the name of the field", () => {
  const request = { receipt: { sequence: -1n } };
  expect(() => encodeMessage(AtomicApplyRequestSchema, request)).toThrow(
    /^receipt\.sequence: expected a bigint from 0 to 18446744073709551615, found -1n$/,
  );
});
