import { emptyContents } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { toMeerkat } from "./meerkat-rows.js";

const RECORD = Buffer.from(encodeLifecycleRecord({ runtimeState: "idle", binding: { fenceToken: 7n } }));
const JSON_RECORD = /"runtime_state":"idle"/;
/** Field 100, which no version of the record has, with the number 1. */
const UNKNOWN_FIELD = Buffer.of(0xa0, 0x06, 0x01);

const exported = (lifecycle: Uint8Array): ReturnType<typeof toMeerkat> =>
  toMeerkat({ ...emptyContents("rt"), lifecycle });

/** Returns the record with the field inside its last member, the binding. */
function withFieldInBinding(): Buffer {
  const at = RECORD.indexOf(0x1a);
  const binding = Buffer.concat([RECORD.subarray(at + 2), UNKNOWN_FIELD]);
  return Buffer.concat([RECORD.subarray(0, at), Buffer.of(0x1a, binding.length), binding]);
}

test.each([
  ["before the known fields", Buffer.concat([UNKNOWN_FIELD, RECORD])],
  ["after the known fields", Buffer.concat([RECORD, UNKNOWN_FIELD])],
  ["in the binding", withFieldInBinding()],
])("a lifecycle record with an unknown field %s is refused, and nothing of it is exported", (_where, lifecycle) => {
  const { taken, refused, isEmpty } = exported(lifecycle);
  expect(refused).toEqual([
    { record: "machine lifecycle record", reason: expect.stringContaining("no members for") as string },
  ]);
  expect([taken.lifecycle, isEmpty]).toEqual([undefined, true]);
});

test.each([
  ["with a binding", RECORD],
  ["without a binding", RECORD.subarray(0, RECORD.indexOf(0x1a))],
])("a lifecycle record %s and without unknown fields is exported", (_what, lifecycle) => {
  const { taken, refused } = exported(lifecycle);
  expect(refused).toEqual([]);
  expect(taken.lifecycle?.toString()).toMatch(JSON_RECORD);
});
