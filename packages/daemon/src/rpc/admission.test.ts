import { StoreError } from "@bolthole/contract";
import { ADMINISTRATION_RESERVE, Admission } from "./admission.js";

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

test("a request above the limit is refused as BUSY, and admitted when others have ended", () => {
  const admission = new Admission(2);
  const leave = admission.enter("short");
  admission.enter("short");
  expect(refusal(() => admission.enter("short"))).toMatchObject({ reason: "BUSY", retry: "same_request" });
  leave();
  expect(admission.requests).toBe(1);
  admission.enter("short");
});

test("long calls leave places for short ones", () => {
  const admission = new Admission(8);
  const leaves = Array.from({ length: 6 }, () => admission.enter("long"));
  expect(refusal(() => admission.enter("long"))).toMatchObject({
    reason: "BUSY",
    subject: { expected: "at most 6 uploads and loads" },
  });
  admission.enter("short");
  admission.enter("short");
  expect(refusal(() => admission.enter("short"))).toMatchObject({ reason: "BUSY" });
  leaves[0]?.();
  admission.enter("long");
  expect(new Admission(1).enter("long")).toBeInstanceOf(Function);
});

test("the operator is admitted above the limit", () => {
  const admission = new Admission(1);
  admission.enter("short");
  for (let count = 0; count < ADMINISTRATION_RESERVE; count += 1) admission.enter("administration");
  expect(refusal(() => admission.enter("administration"))).toMatchObject({ reason: "BUSY" });
});

test("a drain admits no request, and resolves when none is in flight", async () => {
  const admission = new Admission(9);
  const leave = admission.enter("short");
  const drained = admission.drain(never);
  expect(refusal(() => admission.enter("short"))).toMatchObject({ reason: "SHUTTING_DOWN", applied: "no" });
  leave();
  expect(await drained).toBe(true);
});

test("a drain that is cut short resolves to false", async () => {
  const admission = new Admission(9);
  admission.enter("short");
  const cutShort = new AbortController();
  const drained = admission.drain(cutShort.signal);
  cutShort.abort();
  expect(await drained).toBe(false);
});

test("a drain that was cut short before it began does not wait", async () => {
  const admission = new Admission(9);
  const leave = admission.enter("short");
  const cutShort = AbortSignal.abort();
  expect(
    await Promise.race([admission.drain(cutShort), new Promise((resolve) => setImmediate(resolve, "waits"))]),
  ).toBe(false);
  leave();
  expect(await admission.drain(cutShort)).toBe(true);
});
