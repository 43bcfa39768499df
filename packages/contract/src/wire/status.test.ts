import { fromBinary } from "@bufbuild/protobuf";
import { type Duration, anyIs, anyUnpack, durationMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { STORE_ERROR_REASONS, type StoreErrorReason } from "../error-reasons.js";
import { RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../gen/google/rpc/status_pb.js";
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

test.each(Object.keys(STORE_ERROR_REASONS) as StoreErrorReason[])(
  "%s has RetryInfo only when the same request may succeed after a pause",
  (reason) => {
    const { details } = toWireStatus(new StoreError("WriteFailed", reason, "refused"));
    const status = fromBinary(StatusSchema, details);
    const pauses = status.details
      .filter((any) => anyIs(any, RetryInfoSchema))
      .map((any) => durationMs(anyUnpack(any, RetryInfoSchema)?.retryDelay as Duration));
    const passes: readonly StoreErrorReason[] = ["BUSY", "DISK_FULL", "QUOTA", "SHUTTING_DOWN"];
    expect(pauses).toEqual(passes.includes(reason) ? [expect.any(Number)] : []);
    for (const pause of pauses) {
      expect(pause).toBeGreaterThan(0);
      expect(STORE_ERROR_REASONS[reason]).toMatchObject({ applied: "no", retry: "same_request" });
    }
  },
);

test("no reason that refuses for ever has the status of one that passes", () => {
  const reasons = Object.values(STORE_ERROR_REASONS);
  const passing = new Set<string>(reasons.filter((facts) => "retryAfterMs" in facts).map(({ status }) => status));
  expect(reasons.filter(({ retry, status }) => retry === "never" && passing.has(status))).toEqual([]);
});
