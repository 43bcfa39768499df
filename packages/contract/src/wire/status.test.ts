import fc from "fast-check";
import { STORE_ERROR_REASONS, type StoreErrorReason } from "../error-reasons.js";
import { StoreError } from "../store-error.js";
import { STATUS_DETAILS_KEY, fromWireStatus, toWireStatus } from "./status.js";

/** Texts of characters that take most in a trailer: one byte in three, and three or four bytes in nine or twelve. */
const TEXT = fc.oneof(
  fc.string({ unit: fc.constantFrom("%", '"', " ", "é", "語", "😀", "\n", "a"), maxLength: 3000 }),
  fc.constantFrom("語".repeat(5000), "😀".repeat(5000), "%".repeat(9000), "\ud800".repeat(9000), ""),
);
const FAILURE = fc.record({
  reason: fc.constantFrom(...(Object.keys(STORE_ERROR_REASONS) as StoreErrorReason[])),
  text: TEXT,
  runtimeId: TEXT,
  record: TEXT,
  expected: TEXT,
  actual: TEXT,
});

/** The bytes of the other trailers and headers of a response, which are short. */
const OTHERS = 512;

test("the trailers of every refusal fit into 8 KiB, whatever its texts are", () => {
  let longest = 0;
  fc.assert(
    fc.property(FAILURE, ({ reason, text, ...subject }) => {
      const failure = new StoreError("WriteFailed", reason, text, {
        ...subject,
        identical: false,
        requestIdTimes: { horizonMs: 1e12, storeTimeMs: 1e12, latestMs: 1e12 },
      });
      const { message, details } = toWireStatus(failure);
      const trailers = [
        ["grpc-message", encodeURI(message)],
        [STATUS_DETAILS_KEY, Buffer.from(details).toString("base64")],
      ];
      const bytes = trailers.flat().join("").length + OTHERS;
      longest = Math.max(longest, bytes);
      expect(bytes).toBeLessThan(8192);
      expect(details.length).toBeLessThan(4096);
      expect(fromWireStatus(details)).toMatchObject({ reason, applied: failure.applied, retry: failure.retry });
    }),
    { numRuns: 300 },
  );
  // Some of the refusals were as long as they can be.
  expect(longest).toBeGreaterThan(6000);
});
