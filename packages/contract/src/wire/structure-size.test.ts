import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type DescMessage, create, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as admin from "../gen/bolthole/v1/admin_pb.js";
import { StoredInputStateSchema } from "../gen/bolthole/v1/input_pb.js";
import { OperationAuthorityStateSchema } from "../gen/bolthole/v1/operations_pb.js";
import { RunBoundaryReceiptSchema } from "../gen/bolthole/v1/receipt_pb.js";
import * as store from "../gen/bolthole/v1/store_pb.js";
import { emptyMessageBytes, structureBytes } from "./structure-size.js";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Returns the memory that what `make` returns holds. */
function memoryOf(make: () => unknown): number {
  const used = (): number => {
    collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = used();
  const made = make();
  const after = used();
  return made === undefined ? 0 : after - before;
}

/** The types of all messages that a request may have in it. */
const requests = new Set<DescMessage>();
const addTypes = (desc: DescMessage): void => {
  if (requests.has(desc)) return;
  requests.add(desc);
  for (const field of desc.fields) if (field.message) addTypes(field.message);
};
for (const { methods } of [store.RuntimeStoreService, admin.AdminService]) {
  for (const { input } of methods) addTypes(input);
}

const COUNT = 20_000;
/** What the measurement may find more. */
const TOLERANCE = 1.1;

test.each([...requests].map((desc) => [desc.name, desc] as const))(
  "a message %s needs no more than is counted",
  (_name, desc) => {
    const bytes = new Uint8Array();
    // The first objects of a type have more space than the later ones.
    for (let count = 0; count < 1000; count += 1) fromBinary(desc, bytes);
    const measured = memoryOf(() => Array.from({ length: COUNT }, () => fromBinary(desc, bytes)));
    expect(measured / COUNT).toBeLessThan((emptyMessageBytes(desc) + 8) * TOLERANCE);
  },
);

const serials = Array.from({ length: COUNT }, (_, serial) => serial);

test.each([
  [
    "a list of messages",
    StoredInputStateSchema,
    { history: serials.map(() => ({ timestamp: "2026-05-28", from: 1, to: 2 })) },
  ],
  [
    "a list of texts",
    RunBoundaryReceiptSchema,
    { contributingInputIds: serials.map((serial) => `the id ${String(serial)}`) },
  ],
  [
    "a map of messages",
    OperationAuthorityStateSchema,
    { operations: Object.fromEntries(serials.map((serial) => [`the id ${String(serial)}`, {}])) },
  ],
] as const)("the fields of %s need no more than is counted", (_name, desc: DescMessage, init) => {
  const bytes = toBinary(desc, create(desc, init as never));
  const measured = memoryOf(() => fromBinary(desc, bytes));
  expect(measured).toBeLessThan(bytes.length + structureBytes(desc, bytes) * TOLERANCE);
});

test("unknown fields are counted", () => {
  const desc = store.GetCommitRequestSchema;
  const bytes = Buffer.alloc(2 * COUNT);
  for (let at = 0; at < bytes.length; at += 2) bytes.writeUInt16BE((15 << 11) | 1, at);
  expect(memoryOf(() => fromBinary(desc, bytes))).toBeLessThan(structureBytes(desc, bytes) * TOLERANCE);
});
