import fc from "fast-check";

import { uuidFromBytes } from "../shapes/scalar.js";
import { bytesOf, mismatch, stableResult, testVectors } from "../testing/vectors.js";
import { readReceipt, writeReceipt } from "./receipt.js";

testVectors("receipts.jsonl", "receipts are read and written as in the reference", (vector) => {
  const pass = (source: Uint8Array | string) => writeReceipt(readReceipt(source)).toString();
  return mismatch(vector, "reencoded", () => stableResult(pass(bytesOf(vector)), pass));
});

test("a receipt is the same after writing and reading", () => {
  const uuid = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(uuidFromBytes);
  const receipt = fc.record({
    runId: uuid,
    boundary: fc.constantFrom("immediate", "run_start", "run_checkpoint"),
    contributingInputIds: fc.array(uuid),
    messageCount: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    sequence: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    conversationDigest: fc.string({ unit: "binary" }),
  });
  fc.assert(
    fc.property(receipt, (value) => {
      expect(readReceipt(writeReceipt(value))).toEqual(value);
    }),
  );
});
