import { StoreError } from "@bolthole/contract";
import { Admission } from "./handler.js";

/** Returns the error of a refused request, or undefined when it is admitted. */
function refusal(enter: () => unknown): StoreError | undefined {
  try {
    enter();
  } catch (error) {
    if (error instanceof StoreError) return error;
    throw error;
  }
  return undefined;
}

const never = new AbortController().signal;

test("a request above a limit is refused as BUSY, and admitted when others have ended", () => {
  const admission = new Admission({ requests: 2, bytes: 100, requestBytes: 80 });
  const leave = admission.enter(60);
  expect(refusal(() => admission.enter(41))).toMatchObject({ reason: "BUSY", retry: "same_request" });
  admission.enter(40);
  expect(refusal(() => admission.enter(0))).toMatchObject({ reason: "BUSY" });
  leave();
  expect([admission.requests, admission.bytes]).toEqual([1, 40]);
  admission.enter(60);
});

test("a request above the limit of one request is refused as TOO_LARGE, and does not count", () => {
  const admission = new Admission({ requests: 2, bytes: 100, requestBytes: 80 });
  expect(refusal(() => admission.enter(81))).toMatchObject({
    reason: "TOO_LARGE",
    subject: { record: "request", expected: "at most 80 bytes", actual: "81 bytes" },
  });
  admission.enter(80);
  expect([admission.requests, admission.bytes]).toEqual([1, 80]);
});

test("a drain admits no request, and resolves when none is in flight", async () => {
  const admission = new Admission({ requests: 9, bytes: 100, requestBytes: 80 });
  const leave = admission.enter(1);
  const drained = admission.drain(never);
  expect(refusal(() => admission.enter(1))).toMatchObject({ reason: "SHUTTING_DOWN", applied: "no" });
  leave();
  expect(await drained).toBe(true);
});

test("a drain that is cut short resolves to false", async () => {
  const admission = new Admission({ requests: 9, bytes: 100, requestBytes: 80 });
  admission.enter(1);
  const cutShort = new AbortController();
  const drained = admission.drain(cutShort.signal);
  cutShort.abort();
  expect(await drained).toBe(false);
});
