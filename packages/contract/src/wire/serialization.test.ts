import { create, fromBinary } from "@bufbuild/protobuf";
import {
  LoadAuthOauthFlowSnapshotResponseSchema,
  LoadSessionSnapshotResponseSchema,
  UploadSessionSnapshotRequestSchema,
} from "../gen/bolthole/v1/store_pb.js";
import { toBytes } from "./serialization.js";

const long = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 251));
const info = { version: "7", length: 5_000_000_000n };

test.each([
  ["no bytes", Buffer.of()],
  ["few bytes", long.subarray(0, 100)],
  ["many bytes", long],
])("a message with %s is read as it was", (_name, chunk) => {
  const message = create(LoadSessionSnapshotResponseSchema, { info, chunk });
  expect(fromBinary(LoadSessionSnapshotResponseSchema, toBytes(LoadSessionSnapshotResponseSchema, message))).toEqual(
    message,
  );
});

test("long bytes of a field that may be absent, and of one among several, are read as they were", () => {
  const optional = create(LoadAuthOauthFlowSnapshotResponseSchema, { snapshot: long, version: "7" });
  const read = fromBinary(
    LoadAuthOauthFlowSnapshotResponseSchema,
    toBytes(LoadAuthOauthFlowSnapshotResponseSchema, optional),
  );
  expect(read).toEqual(optional);
  const one = create(UploadSessionSnapshotRequestSchema, { part: { case: "chunk", value: long } });
  expect(fromBinary(UploadSessionSnapshotRequestSchema, toBytes(UploadSessionSnapshotRequestSchema, one))).toEqual(one);
});

test("a message with long bytes is written into the memory that is given for it", () => {
  const memory = Buffer.alloc(long.length + 100);
  const message = create(LoadSessionSnapshotResponseSchema, { chunk: long });
  const bytes = toBytes(LoadSessionSnapshotResponseSchema, message, (length) => memory.subarray(0, length));
  expect(bytes.buffer).toBe(memory.buffer);
  expect(fromBinary(LoadSessionSnapshotResponseSchema, bytes)).toEqual(message);
});
