import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type MessageInitShape, create, toBinary } from "@bufbuild/protobuf";
import { Client, type ServiceError, credentials } from "@grpc/grpc-js";
import { type BoltholeStore, connect } from "@bolthole/client";
import { DaemonProcess } from "@bolthole/conformance/process";
import { RuntimeStoreService, STATUS_DETAILS_KEY, fromWireStatus } from "@bolthole/contract/wire";
import { MAIN } from "../testing/daemons.js";

const rpc = RuntimeStoreService.method;
type MethodName = keyof typeof rpc;

let folder: string;
let daemon: DaemonProcess;
let client: Client;
let store: BoltholeStore;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bolthole-bad-"));
  daemon = await new DaemonProcess({
    main: MAIN,
    data: join(folder, "data"),
    args: ["--max-input-row-size", "1MiB"],
  }).start();
  client = clientOf(daemon);
  store = await connect(daemon.target);
});

afterAll(async () => {
  client.close();
  await store.close();
  await daemon.stop();
  rmSync(folder, { recursive: true, force: true });
});

const clientOf = ({ target }: DaemonProcess): Client =>
  new Client(target, credentials.createInsecure(), {
    "grpc.default_authority": "localhost",
    "grpc.max_send_message_length": -1,
  });

/** Sends these bytes as a request and returns the refusal. */
function refusalOf(method: MethodName, bytes: Uint8Array, to = client): Promise<Refusal> {
  return new Promise((resolve, reject) => {
    const path = `/${RuntimeStoreService.typeName}/${rpc[method].name}`;
    const unchanged = (buffer: Buffer): Buffer => buffer;
    to.makeUnaryRequest(path, unchanged, unchanged, Buffer.from(bytes), (error: ServiceError | null) => {
      if (!error) {
        reject(new Error("the request was not refused"));
        return;
      }
      const [details] = error.metadata.get(STATUS_DETAILS_KEY);
      const carried = details instanceof Buffer ? fromWireStatus(details) : undefined;
      resolve({ code: error.code, text: error.details, reason: carried?.reason, record: carried?.subject.record });
    });
  });
}

interface Refusal {
  readonly code: number;
  readonly text: string;
  readonly reason: string | undefined;
  readonly record: string | undefined;
}

const message = <M extends MethodName>(method: M, init: MessageInitShape<(typeof rpc)[M]["input"]>): Uint8Array =>
  toBinary(rpc[method].input, create(rpc[method].input, init as object));

const INPUT_ID = "0198f0a0-0000-7000-8000-0000000000bb";
const NOW = "2026-05-28T15:31:27Z";
const row = { inputId: INPUT_ID, currentState: 1, createdAt: NOW, updatedAt: NOW };
const receipt = { runId: INPUT_ID, boundary: 2, messageCount: 0n, sequence: 0n };
const runtimeId = "rt";

test.each<[string, MethodName, Uint8Array, Partial<Refusal>]>([
  [
    "bytes that are not a message",
    "loadInputState",
    Buffer.from("ffffffff", "hex"),
    { code: 3, reason: "INVALID_ARGUMENT", record: "request" },
  ],
  [
    "text that is not UTF-8",
    "loadInputState",
    Buffer.from("0a02c328", "hex"),
    { code: 3, reason: "INVALID_ARGUMENT", record: "request" },
  ],
  [
    "a missing runtime id",
    "persistInputState",
    message("persistInputState", { state: row }),
    { code: 3, reason: "INVALID_ARGUMENT", record: "runtime_id" },
  ],
  [
    "a missing row",
    "persistInputState",
    message("persistInputState", { runtimeId }),
    { code: 3, reason: "INVALID_ARGUMENT", record: "state" },
  ],
  [
    "an unspecified state",
    "persistInputState",
    message("persistInputState", { runtimeId, state: { ...row, currentState: 0 } }),
    { code: 3, reason: "INVALID_ARGUMENT", record: "state.current_state" },
  ],
  [
    "an unknown state",
    "persistInputState",
    message("persistInputState", { runtimeId, state: { ...row, currentState: 99 as 0 } }),
    { code: 3, reason: "INVALID_ARGUMENT", record: "state.current_state" },
  ],
  [
    "a wrong UUID in a change",
    "persistInputState",
    message("persistInputState", { runtimeId, state: { ...row, inputId: "1" } }),
    { code: 3, reason: "INVALID_ARGUMENT", record: "state.input_id" },
  ],
  [
    "a wrong UUID in a load",
    "loadInputState",
    message("loadInputState", { runtimeId, inputId: "1" }),
    { code: 3, reason: "INVALID_ARGUMENT", record: "input_id" },
  ],
  [
    "text that is not an instant",
    "persistInputState",
    message("persistInputState", { runtimeId, state: { ...row, createdAt: "today" } }),
    { code: 3, reason: "INVALID_ARGUMENT", record: "state.created_at" },
  ],
  [
    "a payload that is not JSON",
    "persistInputState",
    message("persistInputState", { runtimeId, state: { ...row, persistedInputJson: "{" } }),
    { code: 3, reason: "INVALID_ARGUMENT", record: "state.persisted_input_json" },
  ],
  [
    "a runtime id above the limit",
    "persistInputState",
    message("persistInputState", { runtimeId: "x".repeat(8193), state: row }),
    { code: 3, reason: "TOO_LARGE", record: "runtime_id" },
  ],
  [
    "a row above the limit",
    "persistInputState",
    message("persistInputState", { runtimeId, state: { ...row, idempotencyKey: "x".repeat(1 << 20) } }),
    { code: 3, reason: "TOO_LARGE", record: "state" },
  ],
  [
    "a document that is not JSON",
    "commitSessionSnapshot",
    message("commitSessionSnapshot", {
      runtimeId,
      sessionDelta: { content: { case: "sessionJson", value: "no" } },
    }),
    { code: 3, reason: "INVALID_ARGUMENT", record: "session_delta" },
  ],
  [
    "a session without content",
    "commitSessionSnapshot",
    message("commitSessionSnapshot", { runtimeId, sessionDelta: {} }),
    { code: 3, reason: "INVALID_ARGUMENT", record: "session_delta.content" },
  ],
  [
    "a lifecycle record of another version",
    "commitMachineLifecycle",
    message("commitMachineLifecycle", { runtimeId, record: { recordVersion: 2, runtimeState: 2 } }),
    { code: 9, reason: "UNSUPPORTED_RECORD_VERSION", record: "record.record_version" },
  ],
  [
    "a lifecycle record without a state",
    "commitMachineLifecycle",
    message("commitMachineLifecycle", { runtimeId, record: { recordVersion: 1 } }),
    { code: 3, reason: "INVALID_ARGUMENT", record: "record.runtime_state" },
  ],
  [
    "a batch with one bad row",
    "atomicApply",
    message("atomicApply", {
      runtimeId,
      receipt,
      inputUpdates: [row, { ...row, inputId: "0198f0a0-0000-7000-8000-0000000000cc", updatedAt: "" }],
    }),
    { code: 3, reason: "INVALID_ARGUMENT", record: "input_updates[1].updated_at" },
  ],
  [
    "a row that contradicts itself",
    "atomicApply",
    message("atomicApply", { runtimeId, receipt, inputUpdates: [{ ...row, currentState: 6 }] }),
    { code: 9, reason: "RECORD_REJECTED", record: "input_updates[0]" },
  ],
  [
    "a batch of too many rows",
    "atomicApply",
    message("atomicApply", { runtimeId, receipt, inputUpdates: Array.from({ length: 4097 }, () => row) }),
    { code: 3, reason: "TOO_LARGE", record: "input_updates" },
  ],
  [
    "an expected digest of the wrong size",
    "clearSessionSnapshotIfCurrent",
    message("clearSessionSnapshotIfCurrent", {
      runtimeId,
      expected: { case: "sha256", value: Buffer.alloc(31) },
    }),
    { code: 3, reason: "INVALID_ARGUMENT", record: "sha256" },
  ],
  [
    "a request id of another version",
    "persistInputState",
    message("persistInputState", {
      runtimeId,
      state: row,
      requestId: "2f1c1c52-0a34-4f0e-9c43-3c58a9d0e111",
    }),
    { code: 3, reason: "INVALID_ARGUMENT", record: "request_id" },
  ],
  [
    "a page size above the limit",
    "listRuntimes",
    message("listRuntimes", { pageSize: 1001 }),
    { code: 3, reason: "TOO_LARGE", record: "page_size" },
  ],
])("%s is refused with the name of the field, and nothing is stored", async (_name, method, bytes, expected) => {
  expect(await refusalOf(method, bytes)).toMatchObject(expected);
  expect(await store.versioned.listRuntimes({ pageSize: 0, pageToken: "" })).toMatchObject({ runtimes: [] });
});

test("a refusal names all fields that are missing", async () => {
  const empty = await refusalOf("persistInputState", message("persistInputState", { state: {} }));
  expect(empty).toMatchObject({ reason: "INVALID_ARGUMENT", record: "runtime_id" });
  expect(empty.text).toContain("; state.current_state: expected one of INPUT_LIFECYCLE_STATE_ACCEPTED");
  const noTexts = message("persistInputState", { runtimeId, state: { currentState: 1, persistedInputJson: "{}" } });
  const { text, record } = await refusalOf("persistInputState", noTexts);
  expect(record).toBe("state.input_id");
  for (const field of ["created_at", "updated_at", "persisted_input_json.input_type"]) expect(text).toContain(field);
  const json = message("persistInputState", { runtimeId, state: { stateJson: '{"attempt_count":1}' } });
  expect((await refusalOf("persistInputState", json)).text).toBe(
    "Store write failed: " +
      ["input_id", "current_state", "created_at", "updated_at"]
        .map((field) => `state.state_json.${field}: expected a value, found none`)
        .join("; "),
  );
});

test("a lifecycle record without a version says what to set", async () => {
  const bytes = message("commitMachineLifecycle", { runtimeId, record: { runtimeState: 2 } });
  expect(await refusalOf("commitMachineLifecycle", bytes)).toMatchObject({
    reason: "UNSUPPORTED_RECORD_VERSION",
    text: "Store write failed: unsupported machine lifecycle store record version 0: set record_version to 1",
  });
});

test("a message above the limit is refused, and the daemon continues to serve", async () => {
  expect(await refusalOf("commitSessionSnapshot", Buffer.alloc((32 << 20) + 1))).toMatchObject({
    code: 3,
    reason: "TOO_LARGE",
  });
  expect((await store.versioned.getServerInfo({})).limits.requestBytes).toBe(32 << 20);
});

test("a request above the limit is refused, also when an input row may be longer", async () => {
  const data = join(folder, "small-requests");
  const other = await new DaemonProcess({ main: MAIN, data, args: ["--max-request-size", "1MiB"] }).start();
  const to = clientOf(other);
  try {
    const refused = { code: 3, reason: "TOO_LARGE", record: "request" };
    expect(await refusalOf("commitSessionSnapshot", Buffer.alloc((1 << 20) + 1), to)).toMatchObject(refused);
  } finally {
    to.close();
    await other.stop();
  }
});

test("a long value in a refusal is truncated at a character, and the status stays small", async () => {
  const long = "é".repeat(4000);
  const refused = await refusalOf("loadInputState", message("loadInputState", { runtimeId, inputId: long }));
  expect(refused).toMatchObject({ code: 3, reason: "INVALID_ARGUMENT" });
  expect(Buffer.byteLength(refused.text)).toBeLessThanOrEqual(2048);
});

/** Returns a message with so many occurrences of a field of two bytes: an empty message, or a field that its type does not have. */
function manyFields(number: number, wireType: number, count: number): Buffer {
  const tag =
    number < 16 ? Buffer.of((number << 3) | wireType) : Buffer.of(((number & 15) << 3) | wireType | 128, number >> 4);
  return Buffer.alloc(count * (tag.length + 1), Buffer.concat([tag, Buffer.of(0)]));
}

describe("a request of many small fields is refused before its objects are made", () => {
  const MILLION = 1_000_000;
  const { inputUpdates } = rpc.atomicApply.input.field;

  test.each<[string, MethodName, Buffer]>([
    ["empty messages in a list", "atomicApply", manyFields(inputUpdates.number, 2, 10 * MILLION)],
    ["fields that the type of the message does not have", "atomicApply", manyFields(100, 0, 8 * MILLION)],
    ["rows with the wire type of a number", "atomicApply", manyFields(inputUpdates.number, 0, 10 * MILLION)],
    ["such fields of a call with a stream of responses", "loadInputStates", manyFields(100, 0, 8 * MILLION)],
    ["texts that replace each other", "loadInputState", manyFields(1, 2, 10 * MILLION)],
  ])("%s", async (_name, method, bytes) => {
    const { reason, record } = await refusalOf(method, bytes);
    expect([["TOO_LARGE", "INVALID_ARGUMENT"].includes(reason ?? ""), record]).toEqual([true, "request"]);
  });

  test("in a short request, too, when many of them come at once", async () => {
    // Each would be 30,000 objects.
    const bytes = manyFields(inputUpdates.number, 2, 30_000);
    const refusals = await Promise.all(Array.from({ length: 40 }, () => refusalOf("atomicApply", bytes)));
    const reasons = new Set(refusals.map(({ reason }) => reason));
    reasons.delete("BUSY");
    expect([...reasons]).toEqual(["INVALID_ARGUMENT"]);
  });
});
