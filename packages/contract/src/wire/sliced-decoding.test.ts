import { create, toBinary } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { AtomicApplyRequestSchema } from "../gen/bolthole/v1/store_pb.js";
import { decodeMessage } from "./sliced-decoding.js";
import { storeCodecs } from "./store-codecs.js";

describe("a request that is decoded in slices", () => {
  const { atomicApply } = storeCodecs;
  const desc = AtomicApplyRequestSchema;
  const rowOf = (serial: number): object => ({
    inputId: `row ${String(serial)}`,
    currentState: 1 + (serial % 9),
    createdAt: "2026-05-28T15:31:27Z",
    history: [{ timestamp: "t", from: 1, to: 2 }],
  });
  /** Bytes of one or a few fields of a request. A request is a sequence of such parts, in any order. */
  const parts = fc.oneof(
    fc.nat(20).map((serial) => ({ inputUpdates: [rowOf(serial)] })),
    fc.string({ maxLength: 5 }).map((runtimeId) => ({ runtimeId })),
    fc.string({ maxLength: 5 }).map((requestId) => ({ requestId })),
    fc.nat(20).map((serial) => ({ expectedVersions: [versionOf(serial)] })),
    fc.string({ maxLength: 5 }).map((conversationDigest) => ({ receipt: { boundary: 1, conversationDigest } })),
  );
  const versionOf = (serial: number): object => ({
    record: 1,
    expected: { case: "version", value: String(serial) },
  });

  test("is the same as one that is decoded at once, whatever the order of its fields", async () => {
    const unknownField = Buffer.of(0xfa, 0x7f, 1, 7);
    await fc.assert(
      fc.asyncProperty(fc.array(parts), fc.boolean(), async (inits, hasUnknown) => {
        const messages = inits.map((init) => toBinary(desc, create(desc, init as never)));
        const complete = toBinary(desc, create(desc, { runtimeId: "r", receipt: { boundary: 1 } }));
        const bytes = Buffer.concat([...messages, ...(hasUnknown ? [unknownField] : []), complete]);
        const expected = atomicApply.decodeRequest(decodeMessage(desc, bytes));
        expect(await atomicApply.decodeLongRequest(bytes, () => Promise.resolve())).toEqual(expected);
      }),
    );
  });

  test("names the row that is invalid", async () => {
    const init = { runtimeId: "r", receipt: { boundary: 1 }, inputUpdates: [rowOf(0), rowOf(1), { currentState: 77 }] };
    const bytes = toBinary(desc, create(desc, init as never));
    await expect(atomicApply.decodeLongRequest(bytes, () => undefined)).rejects.toMatchObject({
      field: "input_updates[2].current_state",
    });
  });

  test("is refused with the name of the message when a row is no message", async () => {
    const bytes = Buffer.concat([
      toBinary(desc, create(desc, { runtimeId: "r", receipt: { boundary: 1 } })),
      // A row whose first field has more bytes than the row.
      toBinary(desc, create(desc, { inputUpdates: [rowOf(0) as never] })).subarray(0, -1),
    ]);
    await expect(atomicApply.decodeLongRequest(bytes, () => undefined)).rejects.toMatchObject({
      field: "request",
      expected: "a bolthole.v1.AtomicApplyRequest message",
    });
  });

  test("pauses after each row", async () => {
    let pauses = 0;
    const bytes = toBinary(
      desc,
      create(desc, {
        runtimeId: "r",
        receipt: { boundary: 1 },
        inputUpdates: Array.from({ length: 30 }, (_, serial) => rowOf(serial)),
      }),
    );
    await atomicApply.decodeLongRequest(bytes, () => {
      pauses += 1;
      return undefined;
    });
    expect(pauses).toBe(30);
  });
});
