import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { StoredInputState } from "@bolthole/json/model";
import { writeInputState, writeReceipt } from "@bolthole/json";
import * as pb from "../gen/bolthole/v1/store_pb.js";
import { MachineLifecycleRecordSchema } from "../gen/bolthole/v1/lifecycle_pb.js";
import { StoredInputStateSchema } from "../gen/bolthole/v1/input_pb.js";
import { RunBoundaryReceiptSchema } from "../gen/bolthole/v1/receipt_pb.js";
import { encodeLifecycleRecord } from "./lifecycle-record.js";
import { storeCodecs } from "./store-codecs.js";

const STATE: StoredInputState = {
  inputId: "0198f01a-0000-7000-8000-000000000001",
  currentState: "queued",
  policy: {
    version: 1n,
    decision: {
      applyMode: "stage_run_start",
      wakeMode: "wake_if_idle",
      queueMode: "fifo",
      consumePoint: "on_run_complete",
      drainPolicy: "queue_next_turn",
      routingDisposition: "queue",
      recordTranscript: false,
      emitOperatorContent: true,
      policyVersion: 3n,
    },
  },
  attemptCount: 1,
  recoveryCount: 0,
  history: [],
  idempotencyKey: "request 1",
  createdAt: "2026-05-28T15:31:27Z",
  updatedAt: "2026-05-28T15:31:27Z",
};
const STATE_JSON = writeInputState(STATE).toString();
const RECEIPT = {
  runId: "0198f0a0-0000-7000-8000-0000000000c1",
  boundary: "run_start",
  contributingInputIds: [],
  messageCount: 1n,
  sequence: 2n ** 64n - 1n,
} as const;
const LIFECYCLE = encodeLifecycleRecord({ runtimeState: "idle", binding: { fenceToken: 7n } });
/** Field 100, which no version of the record has, before the known fields. */
const WITH_UNKNOWN = Buffer.concat([Buffer.of(0xa0, 0x06, 0x01), LIFECYCLE]);

const persist = (state: object) =>
  storeCodecs.persistInputState.decodeRequest(
    create(pb.PersistInputStateRequestSchema, { runtimeId: "rt", state: create(StoredInputStateSchema, state) }),
  );

test("a row, a receipt and a commit may be sent as their JSON", () => {
  expect(persist({ stateJson: STATE_JSON }).state).toEqual(STATE);
  const receiptJson = writeReceipt(RECEIPT).toString();
  const { receipt, inputUpdates } = storeCodecs.atomicApply.decodeRequest(
    create(pb.AtomicApplyRequestSchema, {
      runtimeId: "rt",
      receipt: create(RunBoundaryReceiptSchema, { receiptJson }),
      inputUpdates: [create(StoredInputStateSchema, { stateJson: STATE_JSON })],
    }),
  );
  expect([receipt, inputUpdates]).toEqual([RECEIPT, [STATE]]);
});

test("JSON beside other fields, and JSON that is no row, are refused with the name of the field", () => {
  expect(() => persist({ stateJson: STATE_JSON, inputId: STATE.inputId })).toThrow(
    "state.input_id: expected no value beside state_json",
  );
  const unknownState = STATE_JSON.replace('"queued"', '"paused"');
  expect(() => persist({ stateJson: unknownState })).toThrow(/^state\.state_json\.current_state: /);
  expect(() => persist({ stateJson: "{" })).toThrow(/^state\.state_json: /);
});

test("a response has the JSON only when the request asks for it, and a client reads both forms", () => {
  const found = { value: STATE, version: "e.1" };
  const encode = (form: pb.RecordForm) =>
    create(
      pb.LoadInputStateResponseSchema,
      storeCodecs.loadInputState.encodeResponse(found, () => create(pb.LoadInputStateRequestSchema, { form })),
    );
  const json = encode(pb.RecordForm.JSON);
  expect(json.state?.stateJson).toBe(STATE_JSON);
  expect(json.state?.inputId).toBe("");
  expect(encode(pb.RecordForm.UNSPECIFIED).state?.stateJson).toBeUndefined();
  for (const form of [pb.RecordForm.JSON, pb.RecordForm.UNSPECIFIED]) {
    expect(storeCodecs.loadInputState.decodeResponse(encode(form))).toEqual(found);
  }
  expect(() => encode(pb.RecordForm.BYTES)).toThrow("form: expected a form that this record has, found BYTES");
});

test("a lifecycle record keeps its exact bytes, and may be sent and loaded as JSON", () => {
  const commit = (record: object) =>
    storeCodecs.commitMachineLifecycle.decodeRequest(
      create(pb.CommitMachineLifecycleRequestSchema, { runtimeId: "rt", ...record }),
    ).record;
  expect(Buffer.from(commit({ recordBytes: WITH_UNKNOWN })).equals(WITH_UNKNOWN)).toBe(true);
  const recordJson = '{"record_version":1,"runtime_state":"idle","binding":{"fence_token":7}}';
  expect(Buffer.from(commit({ recordJson })).equals(Buffer.from(LIFECYCLE))).toBe(true);
  const message = fromBinary(MachineLifecycleRecordSchema, LIFECYCLE);
  expect(Buffer.from(commit({ record: message })).equals(Buffer.from(LIFECYCLE))).toBe(true);
  for (const record of [{}, { recordJson, recordBytes: LIFECYCLE }]) {
    expect(() => commit(record)).toThrow("exactly one of record, record_bytes and record_json");
  }
  expect(() => commit({ recordJson: '{"record_version":1,"runtime_state":7}' })).toThrow(
    /^record_json\.runtime_state: /,
  );

  const load = (form: pb.RecordForm) =>
    create(
      pb.LoadMachineLifecycleRecordResponseSchema,
      storeCodecs.loadMachineLifecycleRecord.encodeResponse({ value: WITH_UNKNOWN, version: "e.1" }, () =>
        create(pb.LoadMachineLifecycleRecordRequestSchema, { form }),
      ),
    );
  expect(Buffer.from(load(pb.RecordForm.BYTES).recordBytes ?? []).equals(WITH_UNKNOWN)).toBe(true);
  expect(JSON.parse(load(pb.RecordForm.JSON).recordJson ?? "")).toMatchObject({ runtime_state: "idle" });
  const typed = load(pb.RecordForm.UNSPECIFIED);
  expect([typed.record?.runtimeState, typed.recordBytes, typed.recordJson]).toEqual([2, undefined, undefined]);
});

test("an absent flag of a policy is true, as in the JSON", () => {
  const wire = storeCodecs.persistInputState.encodeRequest({ runtimeId: "rt", state: STATE });
  const message = create(pb.PersistInputStateRequestSchema, wire);
  const decision = message.state?.policy?.decision;
  expect([decision?.recordTranscript, decision?.emitOperatorContent]).toEqual([false, true]);
  if (decision) Object.assign(decision, { recordTranscript: undefined, emitOperatorContent: undefined });
  const sent = fromBinary(pb.PersistInputStateRequestSchema, toBinary(pb.PersistInputStateRequestSchema, message));
  const decoded = storeCodecs.persistInputState.decodeRequest(sent).state?.policy?.decision;
  expect([decoded?.recordTranscript, decoded?.emitOperatorContent]).toEqual([true, true]);
});
