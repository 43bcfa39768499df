import fc from "fast-check";
import { type StoredResponse, WRITTEN, decodeResponse, encodeResponse } from "./outcome.js";
import { UnknownFormError } from "./row.js";

/** A commit counts up from 1. An external row has a sequence below zero that depends on its content. */
const sequence = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.maxSafeNat(), fc.integer({ min: -(2 ** 48), max: -1 }));

/** An arbitrary for each member: the compiler names a member that has none. */
const members: { readonly [Member in keyof Required<StoredResponse>]: fc.Arbitrary<StoredResponse[Member]> } = {
  inputs: fc.option(fc.record({ before: sequence, after: sequence }), { nil: undefined }),
  keptSequences: fc.array(fc.oneof(fc.constant(WRITTEN), sequence), { maxLength: 50 }),
  deletedRuntime: fc.option(
    fc.record({
      inputStates: fc.nat(),
      receipts: fc.nat(),
      hadSessionSnapshot: fc.boolean(),
      hadMachineLifecycle: fc.boolean(),
      hadOpsLifecycle: fc.boolean(),
    }),
    { nil: undefined },
  ),
};
const response: fc.Arbitrary<StoredResponse> = fc.record(members);

test("a stored response is read as it was written", () => {
  fc.assert(
    fc.property(response, (one) => {
      fc.pre(one.inputs === undefined || Number.isSafeInteger(2 * (one.inputs.after - one.inputs.before)));
      fc.pre(one.keptSequences.every((value) => Number.isSafeInteger(4 * value)));
      expect(decodeResponse(encodeResponse(one))).toEqual(one);
    }),
  );
});

test("rows that were kept from few commits take few bytes", () => {
  const keptSequences = Array.from({ length: 4096 }, (_, row) => 1_000_000 + Math.floor(row / 512));
  const value = encodeResponse({ inputs: { before: 1_000_007, after: 1_000_008 }, keptSequences });
  expect(value.length).toBeLessThan(64);
  const allDifferent = keptSequences.map((one, row) => one + row);
  expect(encodeResponse({ keptSequences: allDifferent }).length).toBeLessThan(3 * 4096);
});

test("a response that was cut off is not read", () => {
  const value = encodeResponse({ inputs: { before: 300, after: 400 }, keptSequences: [WRITTEN, 3] });
  for (let end = 1; end < value.length; end += 1) {
    expect(() => decodeResponse(value.subarray(0, end))).toThrow(RangeError);
  }
  expect(() => decodeResponse(Uint8Array.of(2, 1, 2, 0))).toThrow(RangeError);
});

test("a response with a flag of a later version is not read", () => {
  for (const flags of [8, 9, 128]) expect(() => decodeResponse(Uint8Array.of(flags))).toThrow(UnknownFormError);
  expect(() => decodeResponse(Uint8Array.of())).toThrow(UnknownFormError);
});
