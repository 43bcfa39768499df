import { create, toBinary } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { ImportRuntimeRequestSchema } from "../gen/bolthole/v1/admin_pb.js";
import { AtomicApplyRequestSchema } from "../gen/bolthole/v1/store_pb.js";
import { type Pause, STEP_BYTES, decodeMessage, decodeMessageInSlices, decodedBytes } from "./sliced-decoding.js";
import { storeCodecs } from "./store-codecs.js";

describe("a request that is decoded in slices", () => {
  const { atomicApply } = storeCodecs;
  const desc = AtomicApplyRequestSchema;
  const rowOf = (serial: number): object => ({
    inputId: `row ${String(serial)}`,
    currentState: 1 + (serial % 9),
    createdAt: "2026-05-28T15:31:27Z",
    history: [{ timestamp: "t", fromState: 1, toState: 2 }],
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

  const inSlices = async (bytes: Uint8Array, pause: Pause = () => Promise.resolve()): Promise<unknown> =>
    atomicApply.decodeLongRequest(await decodeMessageInSlices(desc, bytes, pause), pause);

  test("is the same as one that is decoded at once, whatever the order of its fields", async () => {
    const unknownField = Buffer.of(0xfa, 0x7f, 1, 7);
    await fc.assert(
      fc.asyncProperty(fc.array(parts), fc.boolean(), async (inits, hasUnknown) => {
        const messages = inits.map((init) => toBinary(desc, create(desc, init as never)));
        const complete = toBinary(desc, create(desc, { runtimeId: "r", receipt: { boundary: 1 } }));
        const bytes = Buffer.concat([...messages, ...(hasUnknown ? [unknownField] : []), complete]);
        const expected = atomicApply.decodeRequest(decodeMessage(desc, bytes));
        expect(await inSlices(bytes)).toEqual(expected);
        expect(await decodeMessageInSlices(desc, bytes, () => Promise.resolve())).toEqual(decodeMessage(desc, bytes));
      }),
    );
  });

  test("is the same with long messages in it, in lists, in a oneof, and in parts", async () => {
    const history = Array.from({ length: 3000 }, (_, serial) => ({
      timestamp: String(serial),
      fromState: 1,
      toState: 2,
    }));
    const receipt = {
      boundary: 1,
      contributingInputIds: Array.from({ length: 3000 }, (_, serial) => `id ${String(serial)}`),
    };
    const apply = [{ inputUpdates: [rowOf(0), { ...rowOf(1), history }, rowOf(2)] }, { receipt }, { receipt }];
    const imported = [{ part: { part: { case: "input", value: { ...rowOf(1), history } } } }];
    for (const [schema, inits] of [
      [desc, apply],
      [ImportRuntimeRequestSchema, [...imported, ...imported]],
    ] as const) {
      const bytes = Buffer.concat(inits.map((init) => toBinary(schema, create(schema, init as never))));
      expect(bytes.length).toBeGreaterThan(3 * STEP_BYTES);
      let pauses = 0;
      const pause = (): undefined => void (pauses += 1);
      expect(await decodeMessageInSlices(schema, bytes, pause)).toEqual(decodeMessage(schema, bytes));
      expect(pauses).toBeGreaterThanOrEqual(bytes.length / STEP_BYTES);
    }
  });

  test("names the row that is invalid", async () => {
    const init = { runtimeId: "r", receipt: { boundary: 1 }, inputUpdates: [rowOf(0), rowOf(1), { currentState: 77 }] };
    const bytes = toBinary(desc, create(desc, init as never));
    await expect(inSlices(bytes)).rejects.toMatchObject({ field: "input_updates[2].current_state" });
  });

  test("is refused with the name of the message when it ends early, at every place", async () => {
    const history = Array.from({ length: 1500 }, () => ({ timestamp: "t", fromState: 1, toState: 2 }));
    const bytes = toBinary(desc, create(desc, { inputUpdates: [{ ...rowOf(0), history }] }));
    for (const end of [1, 2, 100, bytes.length - 1]) {
      await expect(inSlices(bytes.subarray(0, end))).rejects.toMatchObject({
        field: "request",
        expected: "a bolthole.v1.AtomicApplyRequest message",
      });
    }
  });

  test("is refused when a field has the wire type of another kind, which would not be counted", async () => {
    // protobuf-es reads a row here, whatever the wire type says.
    const row = Buffer.of(desc.field.inputUpdates.number << 3, 0);
    const bytes = Buffer.alloc(2 * 50_000, row);
    expect(decodeMessage(desc, bytes).inputUpdates).toHaveLength(50_000);
    const expected = { field: "request", expected: "a bolthole.v1.AtomicApplyRequest message" };
    await expect(decodeMessageInSlices(desc, bytes, () => undefined)).rejects.toMatchObject(expected);
    expect(() => decodedBytes(desc, bytes)).toThrow(expect.objectContaining(expected) as Error);
  });

  test("takes memory before its objects are made", async () => {
    // Two bytes for each empty row.
    const empty = Buffer.alloc(2 * 1_000_000);
    const { number } = desc.field.inputUpdates;
    for (let at = 0; at < empty.length; at += 2) empty[at] = (number << 3) | 2;
    let taken = 0;
    let pauses = 0;
    const limit = 1 << 20;
    const take = (bytes: number): void => {
      taken += bytes;
      if (taken > limit) throw new Error("no memory");
    };
    const pause = (): undefined => void (pauses += 1);
    await expect(decodeMessageInSlices(desc, empty, pause, take)).rejects.toThrow("no memory");
    // One step more than the limit allows.
    expect(pauses).toBeLessThanOrEqual(2);
    expect(decodedBytes(desc, empty)).toBeGreaterThan(100 * 1_000_000);
  });
});
