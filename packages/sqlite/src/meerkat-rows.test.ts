import { emptyContents, partsOf } from "@bolthole/contract";
import { encodeLifecycleRecord } from "@bolthole/contract/wire";
import { type MeerkatSingles, ToMeerkat } from "./meerkat-rows.js";

const RECORD = Buffer.from(encodeLifecycleRecord({ runtimeState: "idle", binding: { fenceToken: 7n } }));
const JSON_RECORD = /"runtime_state":"idle"/;
/** Field 100, which no version of the record has, with the number 1. */
const UNKNOWN_FIELD = Buffer.of(0xa0, 0x06, 0x01);

async function exported(
  lifecycle: Uint8Array,
): Promise<{ readonly conversion: ToMeerkat; readonly singles: MeerkatSingles }> {
  const conversion = new ToMeerkat();
  for await (const row of conversion.rows(partsOf({ ...emptyContents("rt"), lifecycle }))) throw new Error(row.table);
  return { singles: await conversion.singles(), conversion };
}

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
])(
  "a lifecycle record with an unknown field %s is refused, and nothing of it is exported",
  async (_where, lifecycle) => {
    const {
      singles,
      conversion: { refused, isEmpty },
    } = await exported(lifecycle);
    expect(refused).toEqual([
      { record: "machine lifecycle record", reason: expect.stringContaining("no members for") as string },
    ]);
    expect([singles.lifecycle, isEmpty]).toEqual([undefined, true]);
  },
);

test.each([
  ["with a binding", RECORD],
  ["without a binding", RECORD.subarray(0, RECORD.indexOf(0x1a))],
])("a lifecycle record %s and without unknown fields is exported", async (_what, lifecycle) => {
  const { singles, conversion } = await exported(lifecycle);
  expect(conversion.refused).toEqual([]);
  expect(singles.lifecycle?.toString()).toMatch(JSON_RECORD);
});
