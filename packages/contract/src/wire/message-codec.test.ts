import { create } from "@bufbuild/protobuf";
import {
  InputLifecycleStateSchema,
  InputTerminalOutcomeSchema,
  StoredInputStateSchema,
} from "../gen/bolthole/v1/input_pb.js";
import { PeerAddressSchema, PersistedOpsSnapshotSchema } from "../gen/bolthole/v1/operations_pb.js";
import { AtomicApplyRequestSchema } from "../gen/bolthole/v1/store_pb.js";
import { InvalidArgumentError, enumeration, list, message, same, union } from "./message-codec.js";
import { inputState, opsSnapshot } from "./records.js";
import { storeCodecs } from "./store-codecs.js";

/** Returns the error of a conversion that must fail. */
function failure(convert: () => unknown): InvalidArgumentError {
  try {
    convert();
  } catch (error) {
    if (error instanceof InvalidArgumentError) return error;
    throw error;
  }
  throw new Error("the conversion did not fail");
}

const receipt = { runId: "r", boundary: 2 };

test("an error names the field with the path from the request", () => {
  const request = create(AtomicApplyRequestSchema, {
    runtimeId: "rt",
    receipt,
    inputUpdates: [
      { currentState: 1 },
      {
        currentState: 1,
        history: [
          { fromState: 1, toState: 2 },
          { fromState: 99 as 1, toState: 2 },
        ],
      },
    ],
  });
  const error = failure(() => storeCodecs.atomicApply.decodeRequest(request));
  expect(error.field).toBe("input_updates[1].history[1].from_state");
  expect(error.message).toMatch(
    /^input_updates\[1]\.history\[1]\.from_state: expected one of INPUT_LIFECYCLE_STATE_ACCEPTED, .*, found 99$/,
  );
});

test("the path includes the keys of maps and the cases of oneofs", () => {
  const state = {
    status: 1,
    kind: 1,
    operationSource: { source: { case: "backendPeer" as const, value: { peerId: "p" } } },
  };
  const snapshot = create(PersistedOpsSnapshotSchema, {
    authorityState: { operations: { "op-1": state } },
    cursors: {},
  });
  expect(failure(() => opsSnapshot.toModel(snapshot))).toMatchObject({
    field: "authority_state.operations[op-1].operation_source.backend_peer.address",
    expected: "a value",
    actual: "none",
  });
});

test("a oneof without a case is refused with the cases that it allows", () => {
  const row = create(StoredInputStateSchema, { currentState: 6, terminalOutcome: {} });
  expect(failure(() => inputState.toModel(row))).toMatchObject({
    field: "terminal_outcome",
    expected: "one of consumed, superseded, coalesced, abandoned",
    actual: "none",
  });
});

test("a text that is not in the enum is refused with the same path in the client", () => {
  const row = { ...inputState.toModel(create(StoredInputStateSchema, { currentState: 1 })), currentState: "asleep" };
  const request = { runtimeId: "rt", state: row } as never;
  expect(failure(() => storeCodecs.persistInputState.encodeRequest(request))).toMatchObject({
    field: "state.current_state",
    expected: expect.stringMatching(/^one of "accepted", .*"abandoned"$/) as unknown,
    actual: '"asleep"',
  });
});

test("a member that the model must have is not replaced by a zero value", () => {
  const row = { ...inputState.toModel(create(StoredInputStateSchema, { currentState: 1 })), attemptCount: undefined };
  expect(failure(() => inputState.toWire(row as never))).toMatchObject({
    field: "attempt_count",
    expected: "an integer from 0 to 4294967295",
    actual: "none",
  });
});

test("a table that does not fit its message or enum is refused at load time", () => {
  const states = ["accepted", "queued"] as const;
  expect(() => enumeration(InputLifecycleStateSchema, states)).toThrow(
    "bolthole.v1.InputLifecycleState has values without a text",
  );
  expect(() => enumeration(InputLifecycleStateSchema, ["asleep"])).toThrow(
    "bolthole.v1.InputLifecycleState has no value asleep",
  );
  expect(() => message(PeerAddressSchema, { transport: same, endpoint: same, port: same } as never)).toThrow(
    "bolthole.v1.PeerAddress has no member port",
  );
  expect(() => union(InputTerminalOutcomeSchema, "outcome", { vanished: {} } as never)).toThrow(
    "bolthole.v1.InputTerminalOutcome has no member vanished",
  );
});

test("an error of another class is rethrown unchanged", () => {
  const broken = {
    toModel: (): never => {
      throw new RangeError("a fault");
    },
    toWire: (): never => {
      throw new RangeError("a fault");
    },
  };
  expect(() => list(broken).toModel([broken as never])).toThrow(new RangeError("a fault"));
});
